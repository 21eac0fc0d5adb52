# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Other users of the machine: a mount of theirs that only looks like one of ours, files that they
put where ours are looked for, and names that would steer a terminal."""
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

UNSAFE = ("\x1b", "\x9b", "\u202e", "\u2066", "\x07")

# As uid 65534: a mount of our type, and a control socket that answers with what it is told
FAKE = r"""
import array, os, socket, subprocess, sys, time
point, directory, answer = sys.argv[1:]
a, b = socket.socketpair()
subprocess.run(["fusermount3", "-o", "subtype=lacunafs,fsname=http://\x1b[31mRED", "--", point],
               env={"_FUSE_COMMFD": str(b.fileno()), "PATH": os.environ["PATH"]},
               pass_fds=[b.fileno()], check=True)
fuse = array.array("i", a.recvmsg(1, 64)[1][0][2])[0]
device = next(l.split()[2] for l in open("/proc/self/mountinfo") if f" {point} " in l)
with socket.socket(socket.AF_UNIX) as s:
    s.bind(f"{directory}/{device}")
    s.listen(10)
    print("up", flush=True)
    held = []
    while True:
        c, _ = s.accept()
        held.append(c)
        if answer == "silence":
            continue
        try:
            with open(answer, "rb") as f:
                c.sendall(f.read())
        except OSError:
            pass
        c.close()
"""


@pytest.fixture
def fake(nobody, scratch):
    """fake(answer) → the mount point of another user's daemon that answers so; None: never."""
    undo = []

    def start(answer):
        point = scratch / f"fake{len(undo)}"
        point.mkdir()
        directory = tempfile.mkdtemp(prefix=f"lacunafs-{nobody}.", dir="/tmp")
        for made in (point, directory):
            os.chown(made, nobody, nobody)
        said = scratch / f"answer{len(undo)}"
        said.write_bytes(answer or b"")
        daemon = subprocess.Popen(
            ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups",
             sys.executable, "-c", FAKE, point, directory, said if answer else "silence"],
            stdout=subprocess.PIPE, text=True, cwd="/")
        undo.append((daemon, point, directory))
        assert daemon.stdout.readline() == "up\n"
        return point

    yield start
    for daemon, point, directory in undo:
        daemon.kill()
        daemon.communicate()
        subprocess.run(["umount", "-l", point], capture_output=True)
        shutil.rmtree(directory)


def odd(text):
    return json.dumps(
        {"version": text, "source": text, "mountpoint": text, "pid": -1, "kind": text,
         "transfers": [{"url": text, "waiters": [{"comm": text, "pid": 1}] * 5}, 1, None, []] * 20,
         "handlers": [5, None, {"name": text, "state": text}], "network": text, "store": [],
         "waiting_for_listings": [[], 2], "passthrough": {"reason": text}, "bar": ["a", {}]},
        ensure_ascii=False).encode() + b"\n"


@pytest.mark.sanitize
@pytest.mark.parametrize("answer, why", [
    (b'{"a":' * 300_000 + b"1" + b"}" * 300_000 + b"\n", "makes no sense"),
    (b'{"transfers":' + b"[" * 1_000_000, "breaks off"),
    (b" " * (5 << 20), "breaks off"),
    (b'{"error":5}\n', "refused"),
    (b'{"error":{}}\n', "refused"),
    (b'{"a":"\xf0"}\n', "makes no sense"),
    (None, "does not answer"),
], ids=["deep", "cut", "long", "number", "object", "bytes", "silent"])
def test_anothers_daemon_says_anything(lacunafs, fake, answer, why):
    """Root's status neither dies of it, nor waits for long."""
    point = fake(answer)
    began = time.monotonic()
    done = lacunafs.run("status", point)
    assert done.returncode == 1 and done.stdout == "", done
    assert done.stderr.startswith(f"lacunafs: {point}: ") and why in done.stderr
    assert time.monotonic() - began < 10  # 10 s is what our own daemon is given


@pytest.mark.sanitize
def test_anothers_daemon_steers_no_terminal(lacunafs, fake):
    point = fake(odd("".join(UNSAFE) + "name"))
    for verb in (["status", point], ["status", "--json", point]):
        done = lacunafs.run(*verb)
        assert done.returncode == 0 and done.stderr == "", done
        assert "name" in done.stdout
        assert not [c for c in UNSAFE if c in done.stdout]
    assert json.loads(done.stdout)["source"] == "".join(UNSAFE) + "name"


MEMBERS = {
    "status": ["version", "source", "mountpoint", "pid", "uptime_s", "network", "store", "error",
               "passthrough", "inodes", "handlers", "transfers", "waiting_for_listings"],
    "handlers": ["handlers", "error", "source"],
    "trace": ["time", "path", "comm", "operation", "verdict", "errno", "microseconds", "pid"]}


@pytest.mark.sanitize
@pytest.mark.parametrize("verb", MEMBERS)
def test_anothers_daemon_says_it_in_other_types(lacunafs, fake, scratch, verb):
    """The mount is found by its name: root may not look into it."""
    point = fake(b"not yet")
    said = scratch / "answer0"
    for value in (5, -(1 << 63), 1e300, True, None, "", {}, [], [[]], [5], [{}], {"path": []},
                  [{"name": 5, "pid": "x", "marks": []}]):
        said.write_text(json.dumps(dict.fromkeys(MEMBERS[verb], value)) + "\n")
        done = lacunafs.run(verb, point)
        assert done.returncode == 0 and done.stderr == "", (value, done)


def test_silent_user_is_waited_for_once(lacunafs, fake, scratch, tree):
    points = [fake(None) for _ in range(6)]
    began = time.monotonic()
    done = lacunafs.run("status")
    said = [line for line in done.stderr.splitlines() if any(str(p) in line for p in points)]
    assert len(said) == 6 and sum("not asked" in line for line in said) == 5, done.stderr
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("squatter", ["directory", "symlink", "file"])
def test_somebody_has_the_fallback_directory(lacunafs, mount, tree, scratch, squatter):
    """A user without a runtime directory: a directory of its own is made."""
    uid = pwd.getpwnam("games").pw_uid  # fusermount3 wants one that has a name
    taken = pathlib.Path(f"/tmp/lacunafs-{uid}")
    if squatter == "directory":
        taken.mkdir(mode=0o700)
    elif squatter == "symlink":
        taken.symlink_to("/etc")
    else:
        taken.touch()
    try:
        os.chown(taken, 4321, 4321, follow_symlinks=False)
        if not os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
            pytest.skip("/dev/fuse is closed to others (./check opens it while it runs)")
        env = {"XDG_RUNTIME_DIR": ""}
        m = mount(tree, user=uid, env=env)
        assert m.status()["pid"] == m.pid
        assert lacunafs.run("status", m.path).returncode == 0  # root finds it, too
        own = list(pathlib.Path("/tmp").glob(f"lacunafs-{uid}.*"))
        assert len(own) == 1 and own[0].stat().st_mode & 0o777 == 0o700
        other = mount(tree, user=uid, env=env)
        assert list(pathlib.Path("/tmp").glob(f"lacunafs-{uid}.*")) == own
        other.umount()
        m.umount()
    finally:
        for made in [taken, *pathlib.Path("/tmp").glob(f"lacunafs-{uid}.*")]:
            shutil.rmtree(made) if made.is_dir() and not made.is_symlink() else made.unlink()


@pytest.mark.parametrize("change", ["its owner", "its mode", "a directory's owner"])
def test_hsm_loads_no_strangers_library(lacunafs, scratch, change):
    """Beside the program only what its owner, the caller or root alone can change."""
    top = scratch / "built"
    for made in ("fuse", "lib/hsm"):
        (top / made).mkdir(parents=True)
    program = shutil.copy(lacunafs.path, top / "fuse" / "lacunafs")
    library = shutil.copy(lacunafs.path.parents[1] / "lib" / "hsm" / "lacunafs-hsm.so",
                          top / "lib" / "hsm")

    def run():
        return subprocess.run([program, "hsm", "--", "/bin/sh", "-c", "echo $LD_PRELOAD"],
                              capture_output=True, text=True, env=lacunafs.env)
    assert run().stdout.strip() == str(library)
    if change == "its owner":
        os.chown(library, 4321, 4321)
    elif change == "its mode":
        os.chmod(library, 0o666)
    else:
        os.chown(top / "lib", 4321, 4321)
    done = run()
    assert str(library) not in done.stdout
    if done.returncode:  # where none is installed
        assert "others may change it" in done.stderr


def test_names_in_the_log(mount, serve, scratch):
    """What a server calls its files is escaped in the log as on the terminal."""
    names = [f"a{c}b" for c in UNSAFE]
    root = scratch / "odd"
    root.mkdir()
    for name in names:
        (root / name).write_bytes(b"x" * 100000)
    server = serve(root)
    m = mount(server.url, "-o", "retries=0,wait_timeout=2s")
    listed = os.listdir(m.path)
    assert listed
    server.stop()
    for name in listed:
        with pytest.raises(OSError):
            (m / name).read_bytes()
    log = m.log()
    assert "a\\x1bb" in log or "a%1Bb" in log or "\\u202e" in log
    assert not [c for c in UNSAFE if c in log]
