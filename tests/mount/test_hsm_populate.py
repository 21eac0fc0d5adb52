# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A handler written for fanotify that brings all data of a mount, with `lacunafs hsm`."""
import signal
import subprocess

import pytest

import processes
import trees
from hsm_programs import programs

__all__ = ["programs"]  # a fixture


class Populate:
    """The handler `populate` of a mount, until leave()."""

    def __init__(self, lacunafs, programs, source, point, user=None, pause=0):
        self.log = lacunafs.scratch / "populate.log"
        with open(self.log, "wb") as log:
            self.process = lacunafs.start("hsm", "--", programs["populate"], source, point,
                                          pause, user=user, stdout=log, stderr=log)
        assert processes.wait_until(lambda: "ready\n" in self.log.read_text()), self.log.read_text()

    def leave(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(20)

    def events(self):
        return [line.split() for line in self.log.read_text().splitlines()
                if line[0] == "/"]


def make_stubs(scratch, user=None):
    """A tree, and one of the same names and sizes with other bytes: what comes from where shows."""
    truth, stubs = scratch / "truth", scratch / "stubs"
    for i, size in enumerate([0, 1, 4096, 5000, 65536, 200_000, 3 << 20]):
        trees.put(truth / "sizes" / f"f{size}", trees.noise(i, size))
        trees.put(stubs / "sizes" / f"f{size}", b"x" * size)
    trees.put(truth / "with space \\ é", b"hello\n" * 1000)
    trees.put(stubs / "with space \\ é", b"x" * 6000)
    for path in (truth, stubs):
        path.chmod(0o755)
    return truth, stubs


def as_user(user, *argv):
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    return subprocess.run([*become, *map(str, argv)], capture_output=True, timeout=60)


@pytest.mark.sanitize
@pytest.mark.parametrize("who", ["root", "nobody"])
def test_populate(request, lacunafs, mount, programs, scratch, who):
    """A handler brings all that is read; a file that it brought whole costs it nothing more."""
    user = request.getfixturevalue("nobody") if who == "nobody" else None
    if user:
        lacunafs.give(user)
    truth, stubs = make_stubs(scratch)
    m = mount(stubs, user=user)
    handler = Populate(lacunafs, programs, truth, m.path, user)
    done = as_user(user, "diff", "-r", truth, m.path)
    assert (done.returncode, done.stdout) == (0, b""), done.stdout + done.stderr
    assert any(line.startswith("whole ") for line in handler.log.read_text().splitlines())
    def events():  # of this file: that of the last one may not be in the log yet
        return [e for e in handler.events() if e[0] == "/sizes/f4096"]
    before = events()
    assert as_user(user, "cmp", truth / "sizes" / "f4096", m / "sizes/f4096").returncode == 0
    assert before and events() == before, "asked for a file that it excepted"
    assert handler.leave() == 0
    # The handler has left: what it brought is the file's
    done = as_user(user, "diff", "-r", truth, m.path)
    assert (done.returncode, done.stdout) == (0, b""), done.stdout + done.stderr


def test_deny_everything(lacunafs, mount, programs, scratch):
    """What the handler cannot find is an error, never zeros."""
    truth, stubs = make_stubs(scratch)
    (truth / "sizes" / "f200000").unlink()
    m = mount(stubs)
    handler = Populate(lacunafs, programs, truth, m.path)
    with pytest.raises(OSError) as e:
        (m / "sizes" / "f200000").read_bytes()
    assert e.value.errno == 5
    assert handler.leave() == 0


def test_killed(lacunafs, mount, programs, scratch):
    """A handler that is killed is lost: who reads waits for one of its name."""
    truth, stubs = make_stubs(scratch)
    m = mount(stubs)
    handler = Populate(lacunafs, programs, truth, m.path)
    assert (m / "sizes" / "f4096").read_bytes() == (truth / "sizes" / "f4096").read_bytes()
    assert handler.leave(signal.SIGKILL) == -9
    reader = subprocess.Popen(["cmp", truth / "sizes/f5000", m / "sizes/f5000"])
    with pytest.raises(subprocess.TimeoutExpired):
        reader.wait(1)
    second = Populate(lacunafs, programs, truth, m.path)
    assert reader.wait(20) == 0
    assert second.leave() == 0


PYTHON = """
import ctypes, os, signal, struct, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # but between two events
libc = ctypes.CDLL(sys.argv[3], use_errno=True)
group = libc.fanotify_init(8 | 1, os.O_RDWR)
assert group >= 0, os.strerror(ctypes.get_errno())
r = libc.fanotify_mark(group, 1 | 0x10, ctypes.c_uint64(0x100000), -100, sys.argv[2].encode())
assert r == 0, os.strerror(ctypes.get_errno())
print("ready", flush=True)
while True:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        event = os.read(group, 48)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    except KeyboardInterrupt:
        break
    length, version, _, head, mask, fd, pid = struct.unpack_from("=IBBHQii", event)
    kind, _, size, _, offset, count = struct.unpack_from("=BBHIQQ", event, head)
    path = os.readlink(f"/proc/self/fd/{fd}")
    assert os.fstat(fd).st_ino == os.stat(path).st_ino
    with open(sys.argv[1] + path[len(sys.argv[2]):], "rb") as f:
        os.pwrite(fd, os.pread(f.fileno(), count, offset), offset)
    assert libc.write(group, struct.pack("=iI", fd, 1), 8) == 8
    os.close(fd)
"""


@pytest.mark.parametrize("library", ["libc.so.6", ""])
def test_python(lacunafs, mount, scratch, library):
    """A handler that calls libc by ctypes, by name or whatever is loaded."""
    truth, stubs = make_stubs(scratch)
    m = mount(stubs)
    script = scratch / "handler.py"
    script.write_text(PYTHON if library else PYTHON.replace("sys.argv[3]", "None"))
    handler = lacunafs.start("hsm", "--", "/usr/bin/python3", script, truth, m.path, library,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert handler.stdout.readline() == "ready\n", handler.communicate()
    done = as_user(None, "diff", "-r", truth / "sizes", m / "sizes")
    assert (done.returncode, done.stdout) == (0, b""), done.stdout + done.stderr
    handler.send_signal(signal.SIGINT)
    assert handler.communicate(timeout=20)[1] == "" and handler.returncode == 0
    assert (m / "with space \\ é").read_bytes() == (stubs / "with space \\ é").read_bytes()


@pytest.mark.sanitize
def test_given_up(lacunafs, mount, programs, scratch):
    """A handler that was too slow for the mount goes on, as with the kernel: it is asked again."""
    truth, stubs = make_stubs(scratch)
    m = mount(stubs, "-o", "handler_timeout=1s")
    handler = Populate(lacunafs, programs, truth, m.path, pause=3)
    assert as_user(None, "cmp", truth / "sizes/f5000", m / "sizes/f5000").returncode == 0
    assert [e[0] for e in handler.events()].count("/sizes/f5000") >= 2
    assert as_user(None, "cmp", truth / "sizes/f65536", m / "sizes/f65536").returncode == 0
    assert handler.leave() == 0


def test_unmounted(lacunafs, mount, programs, scratch):
    """As the kernel's: the marks are gone, and the handler waits for ever, or for what else it
    marks."""
    truth, stubs = make_stubs(scratch)
    m = mount(stubs)
    handler = Populate(lacunafs, programs, truth, m.path)
    assert (m / "sizes" / "f4096").read_bytes() == (truth / "sizes" / "f4096").read_bytes()
    m.umount()
    with pytest.raises(subprocess.TimeoutExpired):
        handler.process.wait(1)
    assert handler.leave() == 0
