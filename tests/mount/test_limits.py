# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The limits of the shell that mounts are none of who uses the mount."""
import concurrent.futures
import contextlib
import errno
import os
import pathlib

import pytest

import processes
import trees

MIB = 1 << 20


@pytest.fixture
def source(scratch):
    trees.put(scratch / "src" / "small", b"hello")
    with open(scratch / "src" / "film", "wb") as f:
        f.truncate(64 * MIB)
        f.seek(64 * MIB)
        f.write(b"film")
    return scratch / "src"


def under(*limits):
    """Commands of ulimit, which sets the hard limit too."""
    return ["bash", "-c", "; ".join([*limits, 'exec "$@"']), "bash"]


def end_of(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, 10, 64 * MIB)
    finally:
        os.close(fd)


def may_raise(user):
    """CAP_SYS_RESOURCE, which many containers have not."""
    status = pathlib.Path("/proc/self/status").read_text()
    return user is None and int(status.partition("CapEff:")[2].split()[0], 16) >> 24 & 1


@pytest.mark.sanitize
@pytest.mark.parametrize("privileged", [True, False])
def test_a_limit_of_file_sizes(request, mount, source, privileged):
    """Where it cannot be raised: an error of ours to who reads; the daemon outlives it."""
    user = None if privileged else request.getfixturevalue("nobody")
    m = mount(source, user=user, prefix=under("ulimit -c 0", "ulimit -f 16384"))
    seen = processes.apart(lambda: as_user(user, m.path))
    if may_raise(user):
        assert seen == [b"film", b"hello", None, None, b"hello"]
    else:
        assert seen[0] == errno.EIO and seen[1] == seen[4] == b"hello"
        assert seen[2] in (errno.EFBIG, errno.EACCES)
        # in passthrough the limit is the one of who writes
        assert seen[3] in (errno.EFBIG, errno.EACCES, None)
        assert "ulimit -f" in m.log() and "File too large" in m.log()


def as_user(uid, path):
    if uid is not None:
        os.setgid(uid)
        os.setuid(uid)
    return [attempt(lambda: end_of(path / "film")), attempt((path / "small").read_bytes),
            attempt(lambda: os.truncate(path / "film", 20 * MIB)),
            attempt(lambda: put_at(path / "new", 20 * MIB)),
            attempt(lambda: (path / "small").read_bytes()[:5])]


def put_at(path, offset):
    with open(path, "wb", buffering=0) as f:
        os.pwrite(f.fileno(), b"x", offset)


def attempt(call):
    try:
        return call()
    except OSError as e:
        return e.errno


def limit_of(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(name):
            return int(line[len(name):].split()[0])
    raise AssertionError(name)


def test_a_limit_of_open_files_is_raised(mount, source):
    m = mount(source, prefix=["prlimit", "--nofile=256:512"])
    got = limit_of(m.worker(), "Max open files")
    assert got > 512 if may_raise(None) else got == 512


def descriptors(m):
    return len(os.listdir(f"/proc/{m.worker()}/fd"))


def test_what_is_passed_through_needs_no_descriptor(mount, source):
    m = mount(source)
    if not m.status()["passthrough"]["usable"]:
        pytest.skip("needs passthrough")
    trees.put(m / "born", bytes(MIB))
    (m / "film").read_bytes()
    before = descriptors(m)
    files = [open(m / name, mode) for name in ("born", "film") for mode in ("rb", "r+b", "ab")
             if (name, mode) != ("film", "ab") for _ in range(20)]
    files[0].read(10)
    assert descriptors(m) - before < 20
    for f in files:
        f.close()


MANY = 300


def bytes_of(n):
    return b"%06d" % n * 30000


@pytest.fixture
def few(mount, serve, scratch):
    """A mount of many files whose daemon may have 64 descriptors."""
    for n in range(MANY):
        trees.put(scratch / "src" / f"f{n}", bytes_of(n))
    prefix = ["prlimit", "--nofile=64:64"]
    if may_raise(None):
        prefix += ["setpriv", "--bounding-set=-sys_resource"]
    m = mount(serve(scratch / "src").url, "-o", "chunk_size=64k,readahead=64k", prefix=prefix)
    assert limit_of(m.worker(), "Max open files") == 64
    return m


def at_once(call, files):
    """The results of call(n, file), 32 at a time, in their order."""
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return list(pool.map(call, range(len(files)), files))


def open_all(m, names, mode):
    with contextlib.ExitStack() as stack:
        files = at_once(lambda n, name: open(m / name, mode, buffering=0), names)
        for f in files:
            stack.callback(f.close)
        return files, stack.pop_all()


@pytest.mark.sanitize
def test_more_open_files_than_the_daemon_may_have(lacunafs, few):
    """Its limit is none of who reads and writes, one after the other or at once."""
    names = [f"f{n}" for n in range(MANY)]
    files, stack = open_all(few, names, "r+b")
    with stack:
        assert all(at_once(lambda n, f: os.pread(f.fileno(), 70000, 0) == bytes_of(n)[:70000], files))
        assert sorted(os.listdir(few.path)) == sorted(names)
        assert at_once(lambda n, f: os.pwrite(f.fileno(), b"here", 70000), files) == [4] * MANY
        os.fsync(files[0].fileno())
        for n in range(0, MANY, 10):
            right = bytes_of(n)[:70000] + b"here" + bytes_of(n)[70004:]
            assert os.pread(files[n].fileno(), 180000, 0) == right
            assert (few / f"f{n}").read_bytes() == right
    names = [f"new{n}" for n in range(100)]
    files, stack = open_all(few, names, "w+b")
    with stack:
        assert at_once(lambda n, f: f.write(bytes_of(n)), files) == [180000] * 100
        for name in names[:50]:
            (few / name).unlink()
        assert all(at_once(lambda n, f: os.pread(f.fileno(), 180000, 0) == bytes_of(n), files))
    assert lacunafs.run("sync", few.path).returncode == 0
