# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Signals to who waits: one that is caught ends no wait, whatever is waited for; one that kills
does, also after one that was caught."""
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time

import pytest

import lying
import processes
import trees

# libc's calls, since Python's own try again. Each name is cold, and takes longer than seven signals.
CALLS = """
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
caught = [0]
def tick(*_): caught[0] += 1
signal.signal(signal.SIGALRM, tick)
signal.siginterrupt(signal.SIGALRM, sys.argv[2] == "0")
top, buf = os.fsencode(sys.argv[1]), ctypes.create_string_buffer(4096)
def call(name, *args):
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    n = getattr(libc, name)(*args)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(name, "ok" if n >= 0 else errno.errorcode[ctypes.get_errno()])
    return n
call("access", top + b"/a/x", 0)
fd = call("open", top + b"/b/x", os.O_RDONLY)
call("read", fd, buf, 4096)
call("getdents64", os.open(top + b"/c", os.O_RDONLY | os.O_DIRECTORY), buf, 4096)
call("rename", top + b"/d/x", top + b"/d/y")
call("unlink", top + b"/e/x")
call("chmod", top + b"/f/x", 0o600)
call("truncate", top + b"/g/x", 100)
call("link", top + b"/h/x", top + b"/i/y")
call("rmdir", top + b"/j")
call("pwrite", os.open(top + b"/k/x", os.O_WRONLY), buf, 1, 70000)
print("signals", "each" if caught[0] >= 11 else caught[0])
"""
ANSWERS = {"rmdir": "ENOTEMPTY"}


@pytest.fixture
def cold(scratch):
    for name in "abcdefghijk":
        trees.put(scratch / "cold" / name / "x", trees.noise(7, 200_000))
    return scratch / "cold"


def slow_names(server, seconds):
    """Each listing, each HEAD and each byte takes a while."""
    server.lie("/?/*", lying.delay(seconds))


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.sanitize
def test_a_caught_signal_ends_no_wait(mount, serve, cold, restart):
    server = serve(cold, index="python")
    m = mount(server.url)
    slow_names(server, 0.15)
    done = subprocess.run([sys.executable, "-c", CALLS, m.path, str(int(restart))],
                          capture_output=True, text=True, check=False)
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert done.returncode == 0 and lines.pop("signals") == "each", done.stderr
    assert lines == {name: ANSWERS.get(name, "ok") for name in lines} and len(lines) == 11


WAITS = """
import ctypes, mmap, os, signal, sys
libc = ctypes.CDLL(None)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.1)
path = os.fsencode(sys.argv[2])
page = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
what = sys.argv[1]
flags = os.O_DIRECTORY if what == "list" else os.O_RDWR
fd = -1 if what == "stat" else os.open(path, flags | (os.O_DIRECT if "direct" in what else 0))
os.write(1, b"!")
if what == "stat": libc.access(path, 0)
elif what == "list": libc.getdents64(fd, ctypes.c_void_p(address), 4096)
elif "read" in what: libc.pread(fd, ctypes.c_void_p(address), 4096, ctypes.c_long(65536))
elif "write" in what: libc.pwrite(fd, ctypes.c_void_p(address), 512, ctypes.c_long(66048))
os._exit(3)
"""


@contextlib.contextmanager
def waiting(what, path, *prefix):
    """A process that waits, and has caught a signal since."""
    argv = [*prefix, sys.executable, "-c", WAITS, what, path]
    with processes.Child(argv, stdout=subprocess.PIPE) as child:
        assert child.stdout.read(1) == b"!"
        time.sleep(0.4)
        assert child.poll() is None
        try:
            yield child
        finally:
            child.kill()


def ends(child, number=signal.SIGKILL):
    """Seconds from the signal to the end."""
    before = time.monotonic()
    child.send_signal(number)
    assert child.wait(60) == -number
    return time.monotonic() - before


def test_kill_in_the_second_wait_of_a_lookup(mount, serve, cold):
    """The kernel asks once to interrupt a request, and that was while the listing was waited for."""
    server = serve(cold, index="python")
    m = mount(server.url, "-o", "wait_timeout=60s,stall_timeout=60s")
    server.lie("/a/", lying.delay(0.6))
    server.lie("/a/x", lying.stall(), methods=("HEAD",))
    server.lie("/a/x", lying.delay(3600), methods=("HEAD",))
    with waiting("stat", m / "a" / "x") as child:
        assert processes.wait_until(lambda: server.asked("/a/x"), 20)
        time.sleep(0.3)
        assert child.poll() is None and ends(child) < 5


HIDE = 'mount --make-private /proc && mount -t proc -o hidepid=2 none /proc && exec "$@"'


@pytest.fixture
def shared(scratch):
    """A directory whose mounts are seen in other mount namespaces, and theirs in ours."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a mount namespace")
    path = scratch / "shared"
    path.mkdir()
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "--make-shared", path], check=True)
    yield path
    subprocess.run(["umount", "-R", path], check=True)


def seconds_of(what, path, *prefix):
    """How long the call takes while signals come."""
    with waiting(what, path, *prefix) as child:
        before = time.monotonic()
        assert child.wait(60) == 3
        return time.monotonic() - before


def test_a_proc_that_hides_others(shared, mount, serve, cold):
    """A daemon of root's makes one of its own."""
    server = serve(cold)
    m = mount(server.url, "-o", "wait_timeout=60s,stall_timeout=60s,allow_other,filemode=0666",
              point=shared / "m", prefix=["unshare", "--mount", "--propagation", "unchanged", "sh", "-c",
                                        HIDE, "sh", "setpriv", "--bounding-set=-sys_ptrace"])
    other = ["setpriv", "--reuid=12345", "--clear-groups"]
    slow_names(server, 1)
    assert seconds_of("stat", m / "a" / "x", *other) > 0.2
    assert os.listdir(m / "b") == ["x"]
    server.lie("/b/*", lying.stall())
    with waiting("write", m / "b" / "x", *other) as child:
        assert ends(child) < 5


def test_a_caller_who_cannot_be_seen(lacunafs, serve, cold, scratch):
    """Of another pid namespace: who is not known to die waits on, wait_timeout at most."""
    server = serve(cold)
    point = scratch / "m"
    point.mkdir()
    argv = ["unshare", "--pid", "--fork", "--kill-child", lacunafs.path, "mount", "-f", server.url,
            point, "--store", scratch / "s", "-o", "wait_timeout=4s,stall_timeout=60s"]
    with processes.Child(argv, env=lacunafs.env, stderr=subprocess.DEVNULL) as daemon:
        assert processes.wait_until(lambda: os.path.ismount(point), 30)
        try:
            slow_names(server, 1)
            assert seconds_of("stat", point / "a" / "x") > 0.2
            assert os.listdir(point / "b") == ["x"]
            server.lie("/b/*", lying.stall())
            with waiting("direct read", point / "b" / "x") as child:
                assert ends(child) < 10
        finally:
            subprocess.run(["umount", point], check=True)
            assert daemon.wait(30) == 0


@pytest.mark.parametrize("name", ["small", "big"])
def test_one_call_has_one_deadline(mount, serve, scratch, name):
    """The kernel asks twice for what one read(2) waits for: read-ahead, then the page."""
    trees.put(scratch / "t" / "small", b"12345")
    trees.put(scratch / "t" / "big", bytes(4 << 20))
    server = serve(scratch / "t")
    m = mount(server.url, "-o", "wait_timeout=3s,stall_timeout=60s")
    server.lie(f"/{name}", lying.delay(3600))
    for _ in range(2):  # a second call has all of it again
        before = time.monotonic()
        with pytest.raises(OSError) as e:
            (m / name).read_bytes()
        assert e.value.errno == errno.EIO
        assert 2.5 < time.monotonic() - before < 5.5


def test_a_lookup_has_one_deadline(mount, serve, cold):
    """Its directory's listing, then its size."""
    server = serve(cold, index="python")
    m = mount(server.url, "-o", "wait_timeout=3s,stall_timeout=60s")
    server.lie("/a/", lying.delay(2))
    server.lie("/a/x", lying.delay(3600))
    before = time.monotonic()
    with pytest.raises(OSError) as e:
        os.stat(m / "a" / "x")
    assert e.value.errno == errno.EIO and time.monotonic() - before < 4.5


def test_kill_of_who_waits_for_the_lookup_of_another(mount, serve, cold):
    """The kernel holds the directory for that, and who makes a name there waits for it unkillably:
    its deadline bounds both."""
    server = serve(cold, index="python")
    m = mount(server.url, "-o", "wait_timeout=3s,stall_timeout=60s")
    assert os.listdir(m / "a") == ["x"]
    server.lie("/a/x", lying.delay(3600))
    with processes.Child(["stat", m / "a" / "x"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) as first:
        assert processes.wait_until(lambda: server.asked("/a/x"))
        second = subprocess.Popen(["touch", m / "a" / "new"])
        time.sleep(0.3)
        before = time.monotonic()
        second.kill()
        second.wait()
        assert time.monotonic() - before < 10 and first.wait() == 1
