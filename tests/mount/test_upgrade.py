# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Another program takes over a live mount, and no process that uses it sees an error; or it cannot,
and the one before goes on."""
import fcntl
import json
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import time

import handlers
import lying
import processes
import pytest
import trees
import upgrading
from dying import PATIENT, Reader, die, is_brought
from upgrading import program_of, upgraded


@pytest.fixture
def newer(lacunafs, scratch):
    return upgrading.newer(lacunafs, scratch)


def goes_on(m, log, path="a"):
    """The program that mounted it serves, in the keeper and in each worker."""
    old = str(m.program.path)
    assert program_of(m.pid) == program_of(m.worker()) == old
    die(m)
    assert program_of(m.worker()) == old
    assert (m / path).read_bytes()
    assert upgrading.LINE not in log


@pytest.mark.sanitize
def test_what_is_open_goes_on(mount, scratch, newer):
    """Also in workers that come later: they are forks of the new keeper."""
    root = scratch / "source"
    for name in ("a", "b", "c"):
        trees.put(root / "d" / name, name.encode() * 200000)
    program = root / "sleep"
    program.write_bytes(pathlib.Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    trees.put(root / "watched", b"w" * 9000)
    names = [f"n{n:04}" for n in range(1000)]
    for name in names:
        trees.put(root / "many" / name, b"")
    m = mount(root, "-o", "keeper=auto")
    held = open(m / "d" / "a", "rb")
    gone = open(m / "d" / "b", "rb")
    os.unlink(m / "d" / "b")
    written = open(m / "d" / "new", "w+b", buffering=0)
    written.write(b"1" * 8192)
    mapped = mmap.mmap(written.fileno(), 8192)
    os.rename(m / "d", m / "e")
    fcntl.flock(held, fcntl.LOCK_EX)
    where = subprocess.Popen(["sh", "-c", "read x; cat c; pwd"], cwd=m / "e", text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    runs = subprocess.Popen([m / "sleep", "60"])
    handler = handlers.Handler(m, name="n")
    assert handler.mark(handlers.FILE, m / "watched") == 0
    seen = []
    with os.scandir(m / "many") as listing:
        for n, entry in enumerate(listing):
            seen.append(entry.name)
            if n == 300:
                upgraded(m, newer)
    assert sorted(seen) == names
    for n in range(2):
        assert held.read(1000) == b"a" * 1000
        assert gone.read(1000) == b"b" * 1000
        mapped[n] = 65 + n
        assert os.pread(written.fileno(), 3, 0)[:n + 1] == b"AB"[:n + 1]
        assert runs.poll() is None
        with open(m / "e" / "a", "rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert sorted(os.listdir(m / "e")) == ["a", "c", "new"]
        assert [h["state"] for h in m.status()["handlers"]] == ["attached"]
        die(m)
        assert program_of(m.worker()) == str(newer)
    is_brought(m / "watched", handler)
    with where:
        out, _ = where.communicate("\n")
    assert out == "c" * 200000 + f"{m / 'e'}\n"
    assert held.read() == b"a" * 198000 and gone.read() == b"b" * 198000
    runs.kill(), runs.wait(), mapped.close()
    for f in (held, gone, written):
        f.close()


@pytest.mark.sanitize
def test_who_waits_is_answered(mount, serve, scratch, newer):
    """To another program, and back; the words of the mount are the same in any directory."""
    root = scratch / "source"
    trees.put(root / "slow", b"s" * 300000)
    server = serve(root, index="python")
    secret = scratch / "token"
    secret.write_text("t0k3n\n")
    m = mount(server.url, "-o", f"keeper=auto,{PATIENT}", "--token-file", "token", "--header", "X-A: b c",
              "-o", "listing_ttl=7s,noatime")
    os.listdir(m.path)
    server.lie("/slow", lying.delay(2), methods=("GET",))
    readers = [Reader(lambda: (m / "slow").read_bytes()) for _ in range(3)]
    assert processes.wait_until(lambda: server.asked("/slow", "GET"))
    upgraded(m, newer)
    assert {r.answer() for r in readers} == {b"s" * 300000}
    upgraded(m, m.program.path)
    assert m.status()["takeovers"] == 2
    shown = pathlib.Path(f"/proc/{m.pid}/cmdline").read_bytes()
    assert str(m.path).encode() in shown and b"t0k3n" not in shown and b"X-A" not in shown
    last = server.requests[-1]
    assert last.headers["x-a"] == "b c" and last.headers["authorization"] == "Bearer t0k3n"


def test_an_ordinary_user_upgrades_and_others_do_not(mount, serve, tree, newer, nobody):
    m = mount(serve(tree).url, "-o", "keeper=auto", user=nobody)
    upgraded(m, newer)
    mine = mount(tree, "-o", "keeper=auto")
    for other, user, why in ((mine, nobody, "only the mount's owner and root"),
                             (m, None, "only the user who mounted it")):
        done = upgrading.upgrade(other, newer, user)
        assert done.returncode == 1 and why in done.stderr, done.stderr
    assert program_of(m.pid) == str(newer)
    goes_on(mine, mine.log(), "big")


@pytest.mark.parametrize("how, why", [
    ("abort()", "ended by signal 6"),
    ('fputs("lacunafs: no \\"way\\"\\n", stderr); return 1', "refuses: no 'way'"),
    ("close(0); for (int n = 3; n < 99; n++) close(n); pause()", "the new program refuses"),
])
def test_a_program_that_does_not_start(mount, scratch, how, why):
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    worker = m.worker()
    false = upgrading.false_program(scratch, how)
    assert why in upgrading.asked_by(false, m)["error"]
    assert m.worker() == worker
    goes_on(m, m.log())


def asked_through(s):
    s.sendall(b'{"verb":"upgrade"}\n')
    return json.loads(s.makefile().readline())


def test_a_script_is_no_program(mount, scratch):
    """Its interpreter is what asks, and what would be started."""
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(upgrading.address(m))
        assert "the new program refuses" in asked_through(s)["error"]
    goes_on(m, m.log())


def test_the_program_of_one_who_is_gone(mount, scratch):
    """Its process id may be somebody else's."""
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    with socket.socket(socket.AF_UNIX) as s:
        where = upgrading.address(m)
        child = os.fork()
        if child == 0:
            s.connect(where)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert "its process " in asked_through(s)["error"]
    goes_on(m, m.log())


@pytest.mark.parametrize("kind", ["--mount", "--map-root-user"])
def test_another_namespace(mount, scratch, newer, kind):
    """The same user id there may be somebody else."""
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    done = subprocess.run(["unshare", kind, newer, "upgrade", m.path], env=m.program.env, timeout=120,
                          capture_output=True, text=True)
    if "unshare: unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 1 and "another user or mount namespace" in done.stderr, done.stderr
    goes_on(m, m.log())


def test_a_keeper_in_a_pid_namespace(lacunafs, scratch, newer):
    """Which has another number for who asks than /proc has, or none."""
    point = scratch / "m"
    point.mkdir()
    trees.put(scratch / "source" / "a", b"a")
    argv = ["unshare", "--pid", "--fork", "--kill-child", lacunafs.path, "mount", "-f", scratch / "source",
            point, "--store", scratch / "s"]
    ready, told = os.pipe()
    with (processes.Child([*argv, f"--ready-fd={told}"], env=lacunafs.env, pass_fds=[told],
                          stderr=subprocess.DEVNULL) as outer, open(ready, "rb") as ready):
        os.close(told)
        assert ready.read(1)
        try:
            done = subprocess.run([newer, "upgrade", point], env=lacunafs.env, timeout=120,
                                  capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert program_of(processes.child_named(outer.pid, "lacunafs-keeper")) == str(newer)
            assert (point / "a").read_bytes() == b"a"
        finally:
            subprocess.run(["umount", point], check=True)
            assert outer.wait(30) == 0


def test_a_program_on_the_mount(mount, scratch, newer):
    """The keeper would wait for itself."""
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    (m / "newer").write_bytes(newer.read_bytes())
    (m / "newer").chmod(0o755)
    done = upgrading.upgrade(m, m / "newer")
    assert done.returncode == 1 and "lies on this mount" in done.stderr, done.stderr
    goes_on(m, m.log())


def test_another_layout_is_refused(mount, scratch, newer):
    """Before anything is given up."""
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    worker = m.worker()
    before = upgrading.layout_change(m)
    done = upgrading.upgrade(m, newer)
    assert done.returncode == 1 and "another layout" in done.stderr, done.stderr
    assert m.worker() == worker
    goes_on(m, m.log())
    upgrading.layout_change(m, before)
    upgraded(m, newer)


def test_a_worker_that_dies_soon_is_replaced_by_the_old_program(mount, scratch, newer):
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    held = open(m / "a", "rb")
    asked = Reader(lambda: upgrading.upgrade(m, newer))
    with upgrading.trial(m, newer) as worker:
        os.kill(worker, signal.SIGSEGV)
    done = asked.answer()
    assert done.returncode == 1
    assert "ended with signal 11, the old program goes on" in done.stderr, done.stderr
    assert held.read() == b"a"
    held.close()
    goes_on(m, "")
    upgraded(m, newer)


def test_a_keeper_that_cannot_go_on_starts_again(mount, scratch, newer):
    """Once it is executed there is no other: here it finds another layout for a moment."""
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    asked = Reader(lambda: upgrading.upgrade(m, newer))
    with upgrading.trial(m, newer):
        before = upgrading.layout_change(m)
    stacks = set()  # another with each exec

    def starts():
        if program_of(m.pid) == str(newer):
            maps = pathlib.Path(f"/proc/{m.pid}/maps").read_text().splitlines()
            stacks.update(line.split()[0] for line in maps if line.endswith("[stack]"))
        return len(stacks)
    assert processes.wait_until(lambda: starts() > 2)
    upgrading.layout_change(m, before)
    done = asked.answer()
    assert done.returncode == 0, done.stderr
    die(m)
    assert (m / "a").read_bytes() == b"a"


def test_one_upgrade_at_a_time(mount, scratch, newer):
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    asked = [Reader(lambda: upgrading.upgrade(m, newer)) for _ in range(4)]
    done = [a.answer() for a in asked]
    failed = [d.stderr for d in done if d.returncode]
    assert len(failed) < 4 and all("under way" in f or "hung up" in f for f in failed), failed
    assert program_of(m.pid) == str(newer)


def test_a_mount_that_ends_meanwhile(mount, scratch, newer):
    """The program that waits ends with it."""
    trees.put(scratch / "source" / "a", b"a")
    m = mount(scratch / "source", "-o", "keeper=auto")
    asked = Reader(lambda: upgrading.upgrade(m, newer))
    with upgrading.trial(m, newer) as worker:
        ends = Reader(m.umount)
        assert processes.wait_until(lambda: program_of(worker) is None, 30)
        time.sleep(2)  # the trial is over when the keeper looks again
    ends.answer()
    done = asked.answer()
    assert done.returncode == 1 and "the mount has ended" in done.stderr, done.stderr


def test_without_a_keeper(mount, tree, newer):
    m = mount(tree, "-o", "keeper=no")
    done = upgrading.upgrade(m, newer)
    assert done.returncode == 1 and "no keeper" in done.stderr, done.stderr


def test_the_option_of_keepers_alone(lacunafs, scratch):
    """What no keeper wrote is refused, whatever it is."""
    with open(scratch / "f", "wb") as f:
        f.write(struct.pack("<QIIII", 0x315245564f43414c, 2, 2, 1 << 31, 0) * 20)
    for what in ("", "x", "77", "-1", "0"):
        with open(scratch / "f", "rb") as f:
            done = subprocess.run([lacunafs.path, f"--resume={what}"], stdin=f, timeout=30,
                                  capture_output=True, text=True)
            assert done.returncode == 2 and done.stderr.startswith("lacunafs: "), done
