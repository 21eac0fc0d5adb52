# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The daemon has no descriptor left: whatever anybody calls waits for one, and nobody hears of it."""
import concurrent.futures
import contextlib
import errno
import os
import pathlib
import resource
import signal
import stat
import subprocess
import sys
import time

import pytest

import faults
import trees

BYTES = trees.noise(3, 200_000)
MIB = 1 << 20
LOCAL = b"made here" * 1000


def used_by(m):
    return {int(n) for n in os.listdir(f"/proc/{m.worker()}/fd")}


def settled(look):
    """What it gives three times running."""
    seen = [look()]
    while len(seen) < 3 or len({frozenset(s) for s in seen[-3:]}) > 1:
        time.sleep(0.05)
        seen.append(look())
    return seen[-1]


@contextlib.contextmanager
def short(m, slots=0):
    """Of the numbers that the daemon may use so many are free."""
    used = settled(lambda: used_by(m))
    limit = [n for n in range(len(used) + slots + 1) if n not in used][slots]
    before = resource.prlimit(m.worker(), resource.RLIMIT_NOFILE)
    resource.prlimit(m.worker(), resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(m.worker(), resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def opened(path, flags):
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


CALLS = {} # by name: what is called in a directory of its own (prepared()), and what it gives


def gives(expected, name=None):
    def add(call):
        CALLS[name or call.__name__.strip("_")] = (call, expected)
        return call
    return add


@gives(BYTES)
def read(d):
    return (d / "remote").read_bytes()


@gives(BYTES + b"x")
def append(d):
    with open(d / "remote", "ab") as f:
        f.write(b"x")
    return (d / "remote").read_bytes()


@gives(LOCAL)
def create(d):
    (d / "new").write_bytes(LOCAL)
    return (d / "new").read_bytes()


@gives((0, len(LOCAL)))
def nameless(d):
    with opened(d, os.O_TMPFILE | os.O_RDWR) as fd:
        os.write(fd, LOCAL)
        return os.fstat(fd).st_nlink, os.fstat(fd).st_size


@gives(2)
def mkdir(d):
    (d / "new").mkdir()
    return (d / "new").stat().st_nlink


@gives(True)
def mkfifo(d):
    os.mkfifo(d / "new")
    return stat.S_ISFIFO((d / "new").stat().st_mode)


@gives("to")
def symlink(d):
    os.symlink("to", d / "new")
    return os.readlink(d / "new")


@gives("there")
def readlink(d):
    return os.readlink(d / "way")


@gives((2, LOCAL))
def link(d):
    os.link(d / "local", d / "new")
    return (d / "local").stat().st_nlink, (d / "new").read_bytes()


@gives((2, BYTES))
def link_remote(d):
    os.link(d / "remote", d / "new")
    return (d / "remote").stat().st_nlink, (d / "new").read_bytes()


def renaming(old, new):
    def call(d):
        os.rename(d / old, d / new)
        return (d / old).exists(), (d / new).read_bytes()
    return call


gives((False, LOCAL), "rename")(renaming("local", "new"))
gives((False, LOCAL), "rename over")(renaming("local", "other"))
gives((False, BYTES), "rename of a remote file")(renaming("remote", "new"))
gives((False, LOCAL), "rename over a remote file")(renaming("local", "remote"))


def removing(name, remove=os.unlink):
    def call(d):
        remove(d / name)
        return (d / name).exists()
    return call


gives(False, "unlink")(removing("local"))
gives(False, "unlink of a remote file")(removing("remote"))
gives(False, "rmdir")(removing("empty", os.rmdir))


def changing(name, what, shown, *args):
    def call(d):
        what(d / name, *args)
        return shown(d / name)
    return call


def mode(path):
    return path.stat().st_mode & 0o7777


def mtime(path):
    return path.stat().st_mtime


for name, content in ("local", LOCAL), ("remote", BYTES):
    gives(0o640, f"chmod of {name}")(changing(name, os.chmod, mode, 0o640))
    gives(6, f"utime of {name}")(changing(name, os.utime, mtime, (5, 6)))
    gives(content[:70], f"truncate of {name}")(changing(name, os.truncate, pathlib.Path.read_bytes, 70))
    gives(b"", f"truncate of {name} to nothing")(
        changing(name, os.truncate, pathlib.Path.read_bytes, 0))
    gives(["user.new"], f"setxattr of {name}")(
        changing(name, os.setxattr, os.listxattr, "user.new", b"1", os.XATTR_CREATE))
gives(0o700, "chmod of a directory")(changing("sub", os.chmod, mode, 0o700))
gives([], "removexattr")(changing("other", os.removexattr, os.listxattr, "user.old"))
gives(b"0", "getxattr")(lambda d: os.getxattr(d / "other", "user.old"))
gives(["x", "y"], "readdir")(lambda d: sorted(os.listdir(d / "sub")))
gives({"x": 1, "y": len(BYTES)}, "readdirplus")(
    lambda d: {e.name: e.stat().st_size for e in os.scandir(d / "sub")})


@gives(LOCAL[:-1] + b"M")
def fsync(d):
    with opened(d / "local", os.O_RDWR) as fd:
        os.pwrite(fd, b"M", len(LOCAL) - 1)
        os.fsync(fd)
    return (d / "local").read_bytes()


@gives(None)
def fsync_directory(d):
    with opened(d, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


@gives((len(LOCAL), LOCAL))
def copy_file_range(d):
    with opened(d / "local", os.O_RDONLY) as a, opened(d / "other", os.O_RDWR) as b:
        n = os.copy_file_range(a, b, len(LOCAL))
    return n, (d / "other").read_bytes()


@gives(len(LOCAL))
def seek(d):
    with opened(d / "local", os.O_RDONLY) as fd:
        return os.lseek(fd, 0, os.SEEK_HOLE)


@gives(MIB)
def fallocate(d):
    with opened(d / "remote", os.O_RDWR) as fd:
        os.posix_fallocate(fd, 0, MIB)
    return (d / "remote").stat().st_size


@pytest.fixture
def prepared(mount, scratch):
    """Of each call a directory that has been listed; what is `local` or `other` was made here, and
    nothing of it was looked up since; nothing else was ever touched."""
    for name in CALLS:
        trees.put(scratch / "src" / name / "remote", BYTES)
        trees.put(scratch / "src" / name / "sub" / "y", BYTES)
        (scratch / "src" / name / "empty").mkdir()
    m = mount(scratch / "src", "-o", "wait_timeout=60s,passthrough=no")
    for name in CALLS:
        for one in ("local", "other"):
            (m / name / one).write_bytes(LOCAL)
        os.setxattr(m / name / "other", "user.old", b"0")
        os.symlink("there", m / name / "way")
        (m / name / "sub" / "x").write_bytes(b"x")
    m.umount()
    m = m.again()
    for name in CALLS:
        os.listdir(m / name)
    return m


def outcome(call, where):
    try:
        return call(where)
    except OSError as e:
        return e


def contents(top):
    """Of each file under it: nlink, mode, and what is in it."""
    found = {}
    for where, _, names in os.walk(top):
        for path in (pathlib.Path(where, name) for name in names):
            st = path.lstat()
            found[str(path.relative_to(top))] = (
                st.st_nlink, st.st_mode, path.read_bytes() if path.is_file() else None)
    return found


@pytest.mark.sanitize
def test_whatever_is_called_waits(prepared, scratch):
    """There is none at all for a while: nobody hears of it, and nothing is done twice."""
    m = prepared
    with concurrent.futures.ThreadPoolExecutor(len(CALLS)) as pool:
        with short(m):
            results = {name: pool.submit(outcome, call, m / name)
                       for name, (call, _) in CALLS.items()}
            time.sleep(0.4)
            waiting = [name for name, r in results.items() if not r.done()]
        got = {name: r.result() for name, r in results.items()}
    assert got == {name: expected for name, (_, expected) in CALLS.items()}
    assert len(waiting) > len(CALLS) / 2, waiting
    before = contents(m.path)
    m.umount()
    m = m.again()
    assert contents(m.path) == before


MAKER = """
import os, shutil, sys
top = sys.argv[1]
for n in range(int(sys.argv[2])):
    d = f"{top}/{n}"
    os.mkdir(d)
    for k in range(5):
        with open(f"{d}/{k}", "wb") as f:
            f.write(b"%d" % k * 5000)
            os.fsync(f.fileno())
        os.chmod(f"{d}/{k}", 0o600)
        os.setxattr(f"{d}/{k}", "user.k", b"%d" % k)
        shutil.copyfile(f"{d}/{k}", f"{d}/copy{k}")
        with open(f"{d}/{k}", "rb") as a, open(f"{d}/copy{k}", "r+b") as b:
            assert os.copy_file_range(a.fileno(), b.fileno(), 5000, 0, 5000) == 5000
        os.truncate(f"{d}/{k}", 100)
        os.rename(f"{d}/{k}", f"{d}/moved{k}")
    for e in os.scandir(d):
        assert e.stat().st_size == (100 if e.name.startswith("moved") else 10000), e.name
        assert e.name.startswith("copy") or os.getxattr(e.path, "user.k") == e.name[-1:].encode()
    for k in range(5):
        assert open(f"{d}/copy{k}", "rb").read() == b"%d" % k * 10000
        os.unlink(f"{d}/copy{k}")
"""


@pytest.mark.parametrize("slots", [3, 8])
def test_processes_share_a_few(mount, scratch, slots):
    trees.put(scratch / "src" / "f", BYTES)
    m = mount(scratch / "src", "-o", "wait_timeout=60s")
    workers = []
    with short(m, slots):
        for n in range(6):
            (m / f"w{n}").mkdir()
            workers.append(subprocess.Popen([sys.executable, "-c", MAKER, m / f"w{n}", "4"],
                                            stderr=subprocess.PIPE, text=True))
        errors = [w.communicate()[1] for w in workers]
    assert not any(errors), "\n".join(errors)
    expected = {f"w{n}/{k}/moved{j}" for n in range(6) for k in range(4) for j in range(5)}
    assert set(contents(m.path)) == expected | {"f"}


def test_who_waits_for_one_can_be_killed(mount, scratch):
    trees.put(scratch / "src" / "f", BYTES)
    m = mount(scratch / "src", "-o", "wait_timeout=60s")
    waits = "import os, sys; print('begins', flush=True); os.mkdir(sys.argv[1])"
    with short(m):
        one = subprocess.Popen([sys.executable, "-c", waits, m / "d"], stdout=subprocess.PIPE)
        one.stdout.readline()
        time.sleep(0.2)
        assert one.poll() is None
        began = time.monotonic()
        one.kill()
        one.wait()
        assert time.monotonic() - began < 10
    assert one.returncode == -signal.SIGKILL and not (m / "d").exists()
    one.stdout.close()


def test_a_wait_has_an_end(mount, scratch):
    """And nothing is removed by who could not look."""
    trees.put(scratch / "src" / "f", BYTES)
    m = mount(scratch / "src", "-o", "wait_timeout=1s,passthrough=no")
    (m / "here").write_bytes(LOCAL)
    for name in ("made", "gone"):
        (m / name).mkdir()
        (m / name / "file").write_bytes(LOCAL)
    m.umount()
    m = m.again()
    os.listdir(m.path)
    with short(m):
        calls = [lambda: os.mkdir(m / "d"), lambda: (m / "here").read_bytes(),
                 lambda: os.chmod(m / "f", 0o600), lambda: os.rmdir(m / "made"),
                 lambda: os.rename(m / "made", m / "gone")]
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            got = list(pool.map(lambda call: outcome(lambda _: call(), None), calls))
    got = [getattr(e, "errno", None) for e in got]
    # the one that the daemon keeps for a look at a caller may serve some of them
    for error, native in zip(got, (None, None, None, errno.ENOTEMPTY, errno.ENOTEMPTY)):
        assert error in (errno.EIO, native), got
    assert errno.EIO in got
    assert (m / "here").read_bytes() == LOCAL and (mode(m / "f") == 0o600) == (got[2] is None)
    for name in ("made", "gone"):
        assert (m / name / "file").read_bytes() == LOCAL
    assert (m / "d").exists() == (got[0] is None) and "Too many open files" in m.log()


def test_who_made_one_is_not_told(mount, scratch, faulty):
    """There is none left by the time that what was made is looked up, and the caller is killed: it is
    there, and shown."""
    trees.put(scratch / "src" / "f", BYTES)
    m = mount(scratch / "src", "-o", "wait_timeout=60s", env=faulty.env)
    (m / "top").mkdir()
    assert not (m / "top/d").exists()
    before = settled(lambda: used_by(m))
    faulty.set(faults.HOLD_MADE)
    one = subprocess.Popen([sys.executable, "-c", "import os, sys; os.mkdir(sys.argv[1])", m / "top/d"])
    while not faulty.seen():
        time.sleep(0.01)
    limits = resource.prlimit(m.worker(), resource.RLIMIT_NOFILE)
    resource.prlimit(m.worker(), resource.RLIMIT_NOFILE,
                     (min(set(range(len(before) + 1)) - before), limits[1]))
    faulty.clear()
    time.sleep(0.2)
    assert one.poll() is None
    one.kill()
    one.wait()
    resource.prlimit(m.worker(), resource.RLIMIT_NOFILE, limits)
    assert os.listdir(m / "top") == ["d"]
    while not (m / "top/d").is_dir(): # the kernel is told by a thread
        time.sleep(0.01)
    (m / "top/d").rmdir()
    (m / "top").rmdir()
