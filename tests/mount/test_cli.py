# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The command line and its manual: they name the same things; and what only a terminal shows."""
import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import urllib.request

import pytest

import lying
import processes

MAN = pathlib.Path(__file__).resolve().parents[2] / "fuse" / "cli" / "lacunafs.1"
VERBS = ["mount", "umount", "upgrade", "status", "fill", "evict", "pin", "unpin", "refresh", "seal",
         "sync", "trace", "handlers", "metrics", "publish", "verify", "hsm"]


def help_of(lacunafs, *argv):
    done = lacunafs.run(*argv, "--help")
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout


def manual_section(verb):
    page = MAN.read_text(encoding="utf-8")
    return re.search(rf"^\.Ss Cm {verb}\n(.*?)(?=^\.S[sh])", page, re.M | re.S)[1]


def manual_flags(text):
    """Long and short options that have an entry of their own."""
    entries = " ".join(re.findall(r"^\.It (.*Fl.*)", text, re.M))
    return {f"-{name}" for name in re.findall(r"Fl (-?[a-zA-Z][a-z-]*)", entries)}


def help_flags(text):
    return set(re.findall(r"(?<![\w-])(--?[a-zA-Z][a-z-]*)", text))


@pytest.mark.parametrize("verb", VERBS)
def test_same_flags(lacunafs, verb):
    shown = help_flags("\n".join(line for line in help_of(lacunafs, verb).splitlines()
                                 if line.startswith("  ")))
    assert shown == manual_flags(manual_section(verb))


def test_same_options(lacunafs):
    shown = {name for line in help_of(lacunafs, "mount").splitlines() if line.startswith("    ")
             for name in re.findall(r"(?:^ +|  |, )([a-z_]+[0-9]*)(?==|  )", line)}
    entries = "\n".join(re.findall(r"^\.It (Cm .*)", manual_section("mount"), re.M))
    told = {name for name in re.findall(r"Cm ([a-z_]+[0-9]*)(?: Ns =|$)", entries, re.M)}
    assert shown == told and len(shown) >= 21


def test_same_defaults(lacunafs):
    shown = dict(re.findall(r"([a-z_]+)=([0-9]\w*|auto|yes)", help_of(lacunafs, "mount")))
    page = manual_section("mount")
    for names, text in re.findall(r"^\.It (Cm .*)\n((?:(?!\.It|\.El).*\n)*)", page, re.M):
        default = re.search(r"Default\n?(?:\.Cm )? ?([0-9]\w*|auto|yes)", text)
        for name in re.findall(r"Cm ([a-z_]+) Ns =", names):
            assert (default[1] if default else None) == shown.get(name), name


def test_same_verbs(lacunafs):
    assert set(re.findall(r"^  ([a-z]+) [A-Z\[]", help_of(lacunafs), re.M)) == set(VERBS)
    others = MAN.read_text(encoding="utf-8").split(".Ss Others")[1].split(".Sh")[0]
    assert {"--help", "--version"} <= manual_flags(others)


@pytest.mark.parametrize("argv", [(), *((v,) for v in VERBS)])
def test_help_is_short(lacunafs, argv):
    lines = help_of(lacunafs, *argv).splitlines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 80


def test_manual_is_clean():
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "error", MAN], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout
    assert max(map(len, MAN.read_text(encoding="utf-8").splitlines())) <= 80


@pytest.mark.parametrize("argv, status", [
    ([], 2), (["frobnicate"], 2), (["umount"], 2), (["fill"], 2), (["mount"], 2),
    (["status", "--watch=0"], 2), (["status", "--watch=x"], 2), (["umount", "--force", "/x"], 2),
    (["umount", "/nowhere"], 1), (["fill", "/nowhere"], 1), (["status", "/nowhere"], 1)])
def test_exit_status(lacunafs, argv, status):
    done = lacunafs.run(*argv)
    assert done.returncode == status and done.stdout == ""
    assert re.fullmatch(r"lacunafs: .+\n", done.stderr), done.stderr


def test_full_output_is_a_failure(lacunafs):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(lacunafs.argv("--help"), stdout=full, stderr=subprocess.PIPE,
                              env=lacunafs.env)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("closed", [(0,), (0, 1), (1, 2), (0, 1, 2)])
def test_streams_that_are_closed(mount, lacunafs, tree, scratch, closed):
    """As cron, or a service, may start it: no pipe of ours takes the number of one."""
    def close():
        for fd in closed:
            os.close(fd)
    (scratch / "m").mkdir()
    before = processes.children()
    status = subprocess.Popen(lacunafs.argv("mount", tree, scratch / "m", "--store",
                                            scratch / "s"), preexec_fn=close,
                              env=lacunafs.env).wait(60)
    try:
        assert status == 0
        assert os.listdir(scratch / "m") == os.listdir(tree)
        output = subprocess.Popen(lacunafs.argv("status", scratch / "m"), preexec_fn=close,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=lacunafs.env)
        text = output.communicate(timeout=60)[0]
        assert output.returncode == (1 if 1 in closed else 0) and bool(text) == (1 not in closed)
    finally:
        assert lacunafs.run("umount", scratch / "m").returncode == 0
        for pid in processes.children() - before:
            assert processes.reap(pid, 30) == 0


def control(m):
    st = os.stat(m.path)
    name = f"{os.major(st.st_dev)}:{os.minor(st.st_dev)}"
    for directory in ("/run/lacunafs", m.program.env["XDG_RUNTIME_DIR"] + "/lacunafs"):
        if os.path.exists(f"{directory}/{name}"):
            return f"{directory}/{name}"
    raise AssertionError("no control socket")


def ask(path, data, seconds=15):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(seconds)
        s.connect(path)
        s.sendall(data)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        return [json.loads(line) for line in answer.splitlines()]


@pytest.mark.sanitize
def test_control_socket(mount, serve, tree):
    m = mount(serve(tree).url)
    path = control(m)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert ask(path, b'{"verb": "status"}\n')[0]["pid"] == m.pid
    for bad in (b"\n", b"x\n", b"{}\n", b"[" * 100000 + b"\n", b'{"verb": "file", "ino": "5"}\n',
                b'{"verb": "file", "ino": 1, "bar": 1e9}\n', b"\xff\xfe\x00\n"):
        answers = ask(path, bad)
        assert len(answers) == 1 and list(answers[0]) == ["error"], bad[:80]
    ino = os.stat(m / "big").st_ino
    answer = ask(path, b'{"verb": "file", "ino": "%d", "bar": 10}\n' % ino)[0]
    assert answer["ino"] == str(ino) and len(answer["bar"]) == 10
    lines = ask(path, b'{"verb": "fill", "ino": ["%d", "12345"]}\n' % ino)
    of = {line["ino"]: line for line in lines if "ino" in line}
    size = (tree / "big").stat().st_size
    assert of[str(ino)]["bytes"] == size and "error" not in of[str(ino)]
    assert of["12345"]["errno"] == 2 and of["12345"]["error"]
    assert lines[-1]["bytes"] == size
    own = os.stat(path)
    m.umount()
    # the next mount of this machine may have the number by now, and its socket the inode number
    with contextlib.suppress(FileNotFoundError):
        now = os.stat(path)
        assert (now.st_ino, now.st_ctime_ns) != (own.st_ino, own.st_ctime_ns)


@pytest.mark.sanitize
def test_control_socket_with_rude_clients(mount, serve, tree):
    """More clients than may connect, none of whom says anything."""
    m = mount(serve(tree).url)
    path = control(m)
    rude = []
    for _ in range(40):
        rude.append(socket.socket(socket.AF_UNIX))
        rude[-1].connect(path)
    assert processes.wait_until(lambda: select.select(rude, [], [], 0)[0]), "no limit?"
    assert (m / "big").exists()
    for s in rude:
        s.close()

    def answered():
        try:
            return "pid" in ask(path, b'{"verb": "status"}\n')[0]
        except ConnectionError:  # refused, with its request unread, until the others are gone
            return False
    assert processes.wait_until(answered)
    m.umount()


@pytest.mark.parametrize("offline", [False, True])
def test_fill_what_was_made_here(mount, lacunafs, serve, tree, offline):
    """It is whole, and there is nothing to ask the source for: least of all for its root's page,
    which may well be of the same size."""
    server = serve(tree)
    page = len(urllib.request.urlopen(server.url).read())
    m = mount(server.url)
    (m / "new").mkdir()
    made = {"new/small": b"x", "new/page": b"p" * page, "new/big": b"b" * 300_000, "made": b""}
    for name, data in made.items():
        (m / name).write_bytes(data)
    for again in (False, True):
        if again:
            m.umount()
            if offline:
                server.stop()
            m = m.again()
        before = m.status()["network"]["bytes"]
        done = lacunafs.run("fill", m / "new", m / "made")
        assert done.returncode == 0 and done.stderr == "", done
        assert re.match(r"4 of 4 files, 29\d KiB, of which 0 B fetched ", done.stdout), done
        assert m.status()["network"]["bytes"] == before
        assert {name: (m / name).read_bytes() for name in made} == made
        assert m.status("new/page")["last_error"] is None


@pytest.mark.sanitize
def test_fill_is_given_up(mount, serve, tree):
    """A client that hangs up in the middle of a fill, and a mount that ends in one."""
    server = serve(tree)
    server.lie("/big", lying.stall(), ranges=True)
    m = mount(server.url, "-o", "retries=0")
    ino = os.stat(m / "big").st_ino
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(control(m))
            s.sendall(b'{"verb": "fill", "ino": ["%d"]}\n' % ino)
            s.settimeout(10)
            assert b"bytes" in s.recv(4096)
    assert processes.wait_until(
        lambda: not [w for t in m.status()["transfers"] for w in t["waiters"]])
    fill = m.program.start("fill", m / "big", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert processes.wait_until(
        lambda: [w for t in m.status()["transfers"] for w in t["waiters"]])
    os.kill(m.pid, signal.SIGTERM)
    out, err = fill.communicate(timeout=20)
    assert fill.returncode == 1 and err.count("\n") == 1, err
    assert processes.reap(m.pid, 30) == 0
    m.pid = None


def test_fill_is_interrupted(mount, serve, tree):
    server = serve(tree)
    server.lie("/big", lying.stall(), ranges=True)
    m = mount(server.url)
    fill = m.program.start("fill", m / "big", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert processes.wait_until(lambda: m.status()["transfers"])
    fill.send_signal(signal.SIGINT)
    out, err = fill.communicate(timeout=10)
    assert fill.returncode == 1 and out.startswith("interrupted: 0 of 1 files") and err == ""


def on_terminal(program, *argv, until, columns=70, rows=20):
    """What a terminal gets, up to SIGINT once `until` has been seen, and the exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        words = program.argv(*argv)
        subprocess.run(["stty", "cols", str(columns), "rows", str(rows)])
        os.execve(shutil.which(words[0]), words, {**program.env, "TERM": "xterm"})
    out, sent = b"", False
    try:
        while piece := os.read(fd, 4096):
            out += piece
            if not sent and until in out:
                sent = True
                os.kill(pid, signal.SIGINT)
    except OSError:
        pass
    os.close(fd)
    return out.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_watch_on_a_terminal(mount, serve, tree):
    m = mount(serve(tree).url)
    (m / "big").read_bytes()
    out, status = on_terminal(m.program, "status", "--watch", "0.2", m / "big", until=b"\x1b[J")
    assert status == 0
    assert out.count("\x1b[?25l") == 1 and out.rstrip().endswith("\x1b[?25h")
    assert "█" * 70 in out and "█" * 71 not in out


@pytest.mark.parametrize("spare", [-3, -1, 0, 1])
def test_watch_says_what_does_not_fit(mount, tree, spare):
    """As many lines as fit above the cursor, the last of which tells how many more
    there are; all of them where they fit."""
    m = mount(tree)
    whole = m.program.run("status", m.path).stdout.splitlines()
    out, status = on_terminal(m.program, "status", "--watch", "60", m.path, until=b"\x1b[J",
                              columns=200, rows=len(whole) + 1 + spare)
    assert status == 0
    picture = out.split("\x1b[J")[0].split("\x1b[?25l")[1].replace("\x1b[K", "")
    shown = picture.replace("\r", "").splitlines()
    assert len(shown) == len(whole) + min(spare, 0)
    if spare < 0:
        assert shown[-1] == f"... and {1 - spare} lines more: name one mount"
        assert "lines more" not in "".join(shown[:-1])
    else:
        assert "lines more" not in picture and shown[0] == whole[0]


def test_trace_ends_with_its_reader(mount, tree):
    """As of `lacunafs trace MOUNT | head -1`, while nothing more happens in the mount."""
    m = mount(tree)
    trace = m.program.start("trace", m.path, stdout=subprocess.PIPE)
    trace.stdout.close()
    assert trace.wait(60) in (0, 1, -signal.SIGPIPE)


def test_background_keeps_nothing_open(lacunafs, tree, scratch):
    """Who reads the output of `mount` to its end gets there."""
    (scratch / "m").mkdir()
    done = subprocess.run(lacunafs.argv("mount", tree, scratch / "m", "--store", scratch / "s"),
                          env=lacunafs.env, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert lacunafs.run("umount", scratch / "m").returncode == 0


def test_foreground(lacunafs, tree, scratch):
    (scratch / "m").mkdir()
    r, w = os.pipe()
    daemon = lacunafs.start("mount", "-f", tree, scratch / "m", "--store", scratch / "s",
                            f"--ready-fd={w}", pass_fds=[w], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    os.close(w)
    assert len(os.read(r, 1)) == 1
    assert os.listdir(scratch / "m")
    assert lacunafs.run("umount", scratch / "m").returncode == 0
    out, err = daemon.communicate(timeout=30)
    assert (daemon.returncode, out, err) == (0, "", "")


def test_arguments_hold_no_secret(lacunafs, serve, tree, scratch):
    server = serve(tree)
    (scratch / "m").mkdir()
    url = server.url.replace("://", "://joe:sesame@")
    assert lacunafs.run("mount", url, scratch / "m", "--store", scratch / "s", "--header",
                        "X-Key: sesame", "--header=X-Other: sesame").returncode == 0
    daemon = [p for p in processes.children()
              if processes.executable(p) == str(lacunafs.path)]
    words = pathlib.Path(f"/proc/{daemon[0]}/cmdline").read_bytes()
    assert b"mount" in words and b"sesame" not in words
    assert b"sesame" not in (scratch / "s" / "state" / "log").read_bytes()
    assert lacunafs.run("umount", scratch / "m").returncode == 0
    assert processes.reap(daemon[0], 30) == 0


def test_fill_misses_a_directory(mount, serve, tree):
    """A listing that cannot be had is not an empty directory."""
    server = serve(tree)
    server.lie("/sizes/", lying.status(500))
    m = mount(server.url, "-o", "retries=0")
    done = m.program.run("fill", m.path)
    assert done.returncode == 1
    assert re.fullmatch(rf"lacunafs: {m.path}/sizes: .+\n", done.stderr), done.stderr
    assert "1 failed" in done.stdout


@pytest.mark.parametrize("verb", ["fill", "evict", "refresh"])
def test_path_outside_a_mount(lacunafs, scratch, verb):
    """A path that is in no mount is an error, also where there is nothing to do: once, whatever is in it."""
    (scratch / "empty").mkdir()
    (scratch / "full").mkdir()
    for n in range(3):
        (scratch / "full" / f"f{n}").write_bytes(b"x")
    for name in ("empty", "full", "full/f0"):
        done = lacunafs.run(verb, scratch / name)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [f"lacunafs: {scratch / name}: not in a lacunafs mount"]
