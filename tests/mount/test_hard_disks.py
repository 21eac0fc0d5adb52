# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Real disks that are full, over a quota or read-only, under a mount in use; servers that die
and waits that are given up under changes."""
import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import lying
import processes
import trees
from outcomes import error_of

CHUNK = trees.CHUNK


def write(path, data, flags=0):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags)
    try:
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)


def read(path, offset, length):
    with open(path, "rb", buffering=0) as f:
        return os.pread(f.fileno(), length, offset)


def changes(m, tag):
    """What a user may be doing when it happens: (what, call)."""
    def each(call, *names):
        for name in names:
            call(name)
    return [
        ("write", lambda: write(m / f"new-{tag}", bytes(2 << 20))),
        ("grow", lambda: write(m / "mine", bytes(2 << 20), os.O_APPEND)),
        ("fetch", lambda: read(m / f"cold-{tag}", 0, 1 << 20)),
        ("change", lambda: write(m / f"part-{tag}", b"x" * (1 << 20))),
        ("mkdir", lambda: each(lambda n: os.mkdir(m / f"dir-{tag}-{n}"), *range(300))),
        ("keep", lambda: each(lambda n: os.chmod(m / "many" / f"{tag}{n:03}", 0o600), *range(300))),
        ("remove", lambda: each(lambda n: os.unlink(m / "rm" / f"{tag}{n:03}"), *range(300))),
        ("symlink", lambda: each(lambda n: os.symlink("y" * 900, m / f"sym-{tag}-{n}"),
                                 *range(300)))]


def make_source(source):
    for tag in ("a", "b"):
        trees.put(source / f"cold-{tag}", trees.noise(1, 2 << 20))
        trees.put(source / f"part-{tag}", trees.noise(2, 2 << 20))
        for n in range(300):
            trees.put(source / "many" / f"{tag}{n:03}", b"m" * 100)
            trees.put(source / "rm" / f"{tag}{n:03}", b"r" * 100)


def check(m, source):
    """What was there is there, and nothing is wrong, whatever failed."""
    assert (m / "mine").read_bytes()[:4] == b"mine"
    for name in ("keeper", "many/a000"):
        assert (m / name).read_bytes() in (b"safe" * 1000, b"m" * 100)
    for path in (m / "many").iterdir():
        assert path.read_bytes() == b"m" * 100
    for path in (m / "rm").iterdir():
        assert path.stat().st_size == 100
    for tag in ("a", "b"):
        assert (m / f"cold-{tag}").read_bytes() == trees.noise(1, 2 << 20)
        part = (m / f"part-{tag}").read_bytes()
        end = len(part) - len(part.lstrip(b"x"))
        assert part[end:] == trees.noise(2, 2 << 20)[end:]


@pytest.mark.parametrize("kind,expected", [("ext4", errno.ENOSPC), ("btrfs", errno.EDQUOT)])
def test_no_space(volume, mount, scratch, kind, expected):
    source = scratch / "source"
    make_source(source)
    v = volume(kind, {"ext4": 24, "btrfs": 128}[kind])
    m = mount(source, "-o", "rw,readahead=0", store=v.path / "store")
    (m / "mine").write_bytes(b"mine" * 1000)
    (m / "keeper").write_bytes(b"safe" * 1000)
    with open(m / "mine", "r+b", buffering=0):
        v.limit(1 << 20) if kind == "btrfs" else v.fill()
        told = {what: error_of(call) for what, call in changes(m, "a")}
        assert set(told.values()) <= {0, expected}, told
        assert told["write"] == told["fetch"] == expected, told
        assert (m / "keeper").read_bytes() == b"safe" * 1000
        v.limit(None) if kind == "btrfs" else v.drain()
    check(m, source)
    assert {what: error_of(call) for what, call in changes(m, "b")} == dict.fromkeys(told, 0)
    check(m, source)
    m.umount()
    check(m.again(), source)


def test_removing_frees_space(volume, mount, scratch):
    """Also of what the source has, in directories where nothing was removed before."""
    source = scratch / "source"
    for d in "abc":
        trees.put(source / d / "over", bytes(100))
    trees.put(source / "top", bytes(100))
    v = volume("ext4", 24)
    m = mount(source, "-o", "rw,readahead=0", store=v.path / "store")
    for d in "abc":
        (m / d / "over").write_bytes(bytes(2 << 20))
    v.fill()
    for d in "abc":
        assert error_of(os.unlink, m / d / "over") == 0
    os.unlink(m / "top")
    v.drain()
    for d in "abc":
        os.rmdir(m / d)
    m.umount()
    assert os.listdir(m.again().path) == []


def test_disk_turns_read_only(volume, mount, scratch):
    source = scratch / "source"
    make_source(source)
    v = volume("ext4", 24)
    m = mount(source, "-o", "rw,readahead=0", store=v.path / "store")
    (m / "mine").write_bytes(b"mine" * 1000)
    (m / "keeper").write_bytes(b"safe" * 1000)
    m.program.run("sync", m.path)
    v.fail()
    told = {what: error_of(call) for what, call in changes(m, "a")}
    assert set(told.values()) == {errno.EROFS}, told
    assert (m / "keeper").read_bytes() == b"safe" * 1000
    m.umount()
    v.repair()
    m = m.again()
    check(m, source)
    assert {what: error_of(call) for what, call in changes(m, "b")} == dict.fromkeys(told, 0)
    check(m, source)


def test_dead_server_under_changes(mount, serve, scratch):
    """What needs no bytes works without a source; what does is EIO in time, half of nothing is
    done, and all of it works once the source is back."""
    source, truth = scratch / "source", trees.noise(3, 4 << 20)
    for name in ("cold", "part", "other"):
        trees.put(source / name, truth)
    trees.put(source / "dir" / "x", b"x")
    server = serve(source)
    m = mount(server.url, "-o", "rw,readahead=0,retries=0,wait_timeout=2s,connect_timeout=1s")
    os.listdir(m / "dir")
    read(m / "part", 0, 10)
    server.stop()
    os.rename(m / "cold", m / "dir" / "moved")
    os.chmod(m / "part", 0o600)
    os.link(m / "part", m / "linked")
    os.truncate(m / "other", 3 << 20)
    write(m / "part", b"x" * (1 << 20))
    (m / "born").write_bytes(b"born")
    os.unlink(m / "dir" / "x")
    before = os.stat(m / "part")
    with open(m / "part", "r+b", buffering=0) as f:
        begun = time.monotonic()
        assert error_of(os.pwrite, f.fileno(), b"edge", (2 << 20) + 5) == errno.EIO
        assert time.monotonic() - begun < 10
    assert os.stat(m / "part").st_size == before.st_size
    assert error_of(read, m / "dir" / "moved", 0, 10) == errno.EIO
    m.umount()
    m = m.again()
    server.start()
    expected = b"x" * (1 << 20) + truth[1 << 20:]
    assert processes.wait_until(lambda: error_of(read, m / "linked", 3 << 20, 10) == 0)
    assert (m / "linked").read_bytes() == expected
    assert (m / "dir" / "moved").read_bytes() == truth
    assert (m / "other").read_bytes() == truth[:3 << 20]
    assert sorted(os.listdir(m.path)) == ["born", "dir", "linked", "other", "part"]


WRITER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
fd = os.open(sys.argv[1], os.O_RDWR)
print("writing", flush=True)
os.pwrite(fd, b"edge", 100_000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_write_that_is_given_up(mount, serve, scratch, number):
    """Ctrl-C while a write waits for the chunk it covers in part: the writer ends at once, the file
    is as it was, and others write."""
    source, truth = scratch / "source", trees.noise(4, 1 << 20)
    trees.put(source / "f", truth)
    server = serve(source)
    m = mount(server.url, "-o", "rw,readahead=0,wait_timeout=60s,stall_timeout=60s,retries=0")
    os.stat(m / "f")
    server.lie("/f", lying.stall(0))
    writer = subprocess.Popen([sys.executable, "-c", WRITER, m / "f"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    assert writer.stdout.readline() == b"writing\n"
    assert processes.wait_until(lambda: m.status("f")["transfers"])
    writer.send_signal(number)
    writer.wait(10)
    writer.stdout.close()
    server.honest()
    assert os.stat(m / "f").st_size == 1 << 20
    server.stop()  # what stalls is cut off
    server.start()
    assert processes.wait_until(lambda: error_of(read, m / "f", 100_000, 4) == 0)
    assert (m / "f").read_bytes() == truth
    write(m / "f", b"here")
    assert (m / "f").read_bytes() == b"here" + truth[4:]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_disk_that_stalls(volume, mount, serve, scratch, threads):
    """Operations that need it wait, as on any file system; all others are served, and a reader who
    waits for the source can be killed."""
    for name in ("warm", "cold"):
        trees.put(scratch / "src" / name, trees.noise(3, 300_000))
    disk = volume("ext4", 64)
    server = serve(scratch / "src")
    m = mount(server.url, "-o", f"threads={threads},passthrough=no,stall_timeout=60s",
              store=disk.path / "store")
    data = read(m / "warm", 0, 300_000)
    directories = ["a", "bb", "c", "dd", "e"]
    for name in directories:
        os.mkdir(m / name)
    server.lie("/cold", lying.stall())
    reader = subprocess.Popen(["dd", f"if={m.path}/cold", "iflag=direct"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert processes.wait_until(lambda: server.asked("/cold"))
    disk.freeze()
    late = threading.Timer(60, disk.thaw)  # should this process wait for it, too
    late.start()
    try:
        # each holds its directory in the kernel
        stuck = [subprocess.Popen([("mkdir", "touch")[len(name) - 1], m / name / "new"])
                 for name in directories]
        time.sleep(0.5)
        before = time.monotonic()
        assert read(m / "warm", 4096, 4096) == data[4096:8192]
        with open(m / "warm", "rb", buffering=0) as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert f.read(300_000) == data
        assert os.stat(m / "warm").st_size == 300_000 and not os.path.exists(m / "none")
        reader.kill()
        assert reader.wait() == -9
        assert time.monotonic() - before < 10
        assert all(p.poll() is None for p in stuck)
    finally:
        late.cancel()
        disk.thaw()
    assert [p.wait(30) for p in stuck] == [0] * len(stuck)
    assert all(os.path.exists(m / name / "new") for name in directories)


STALLS = {"rename": ["mv", "d/x", "d/y"], "replace": ["mv", "d/x", "d/z"],
          "directory": ["mv", "-T", "d/sub", "d/moved"], "unlink": ["rm", "d/x"],
          "link": ["ln", "d/x", "d/y"], "rmdir": ["rmdir", "d/sub"], "mkdir": ["mkdir", "d/new"]}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("what", STALLS)
def test_a_name_that_stalls(volume, mount, serve, scratch, what, threads):
    """One name moves on a disk that stands still: only who needs what is moved waits for it."""
    for name in ("warm", *(f"many/{n:02}" for n in range(20))):
        trees.put(scratch / "src" / name, trees.noise(3, 300_000))
    disk = volume("ext4", 64)
    m = mount(serve(scratch / "src").url, "-o", f"threads={threads}", store=disk.path / "store")
    data = read(m / "warm", 0, 300_000)
    os.makedirs(m / "d" / "sub")
    for name in ("mine", "many/mine", "d/x", "d/z"):
        write(m / name, data)
    os.stat(m / "many" / "00")
    files = [os.open(m / name, os.O_RDONLY) for name in ("warm", "mine")]
    disk.freeze()
    late = threading.Timer(40, disk.thaw)  # should this process wait for it, too
    late.start()
    try:
        stuck = subprocess.Popen(STALLS[what], cwd=m.path)
        time.sleep(0.5)
        before = time.monotonic()
        for f in files:  # one is not open any more after that, perhaps in passthrough
            os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(f, 300_000, 0) == data
            os.close(f)
        for name in ("warm", "mine", "many/01", "many/mine"):
            subprocess.run(["stat", "--cached=never", m / name], check=True,
                           stdout=subprocess.DEVNULL, timeout=20)
            if name != "many/01":  # which is not here
                assert read(m / name, 4096, 4096) == data[4096:8192]
        assert not os.path.exists(m / "none")
        assert sorted(os.listdir(m / "many")) == [*(f"{n:02}" for n in range(20)), "mine"]
        assert m.status("mine")["path"] == "mine" and m.status()["mountpoint"]
        assert time.monotonic() - before < 20
        assert stuck.poll() is None
    finally:
        late.cancel()
        disk.thaw()
    assert stuck.wait(30) == 0
    names = {"rename": "sub y z", "replace": "sub z", "directory": "moved x z", "unlink": "sub z",
             "link": "sub x y z", "rmdir": "x z", "mkdir": "new sub x z"}[what]
    assert sorted(os.listdir(m / "d")) == names.split()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_log_that_stalls(volume, mount, serve, scratch, threads):
    """The disk of the store and the log stands still, and the clock, the network's thread and those
    that serve have something to log: each deadline is kept, data that is present is read, the mount
    answers, and afterwards the log has it all."""
    truth = trees.noise(3, 300_000)
    for name in ("warm", "late", "broken", "gone"):
        trees.put(scratch / "src" / name, truth)
    disk = volume("ext4", 64)
    server = serve(scratch / "src")
    m = mount(server.url, "-o", f"threads={threads},passthrough=no,wait_timeout=500ms,retries=0,"
              "stall_timeout=60s,readahead=0", store=disk.path / "store")
    assert read(m / "warm", 0, 300_000) == truth
    files = {name: open(m / name, "rb", buffering=0) for name in ("late", "broken", "gone")}
    server.lie("/late", lying.stall(0))
    server.lie("/broken", lying.status(500))
    server.lie("/gone", lying.status(403))
    m.log_settle()
    disk.freeze()
    late = threading.Timer(60, disk.thaw)
    late.start()
    try:
        begun = time.monotonic()
        for n in range(2):
            for name, f in files.items():
                assert error_of(os.pread, f.fileno(), 10, n << 16) == errno.EIO, name
            with open(m / "warm", "rb", buffering=0) as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert f.read(300_000) == truth
            state = m.status()
            assert state["log"]["waiting"] > 0 and state["log"]["lost"] == 0
        assert time.monotonic() - begun < 30  # a few deadlines of half a second
        assert "/broken" not in (m.store / "state" / "log").read_text()
    finally:
        late.cancel()
        disk.thaw()
        for f in files.values():
            f.close()
    log = m.log()
    assert "messages were lost" not in log
    for name in files:
        assert f"/{name}" in log, name


@contextlib.contextmanager
def evicting(m, disk, name):
    """An eviction that has the file for itself, and waits for the disk."""
    disk.freeze()
    late = threading.Timer(60, disk.thaw)
    late.start()
    evict = lambda: m.program.start("evict", m / name, stderr=subprocess.PIPE)
    eviction = evict()
    try:
        # an open that does not wait ends before the next look
        def opens():
            nonlocal eviction
            if eviction.poll() is not None:  # an open was in its way
                eviction.communicate()
                eviction = evict()
            child = subprocess.Popen(["head", "-c1", m / name], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            try:
                return child.wait(2) != 0
            except subprocess.TimeoutExpired:
                return child
        child = processes.wait_until(opens, 20)
        assert isinstance(child, subprocess.Popen)
        yield child
    finally:
        late.cancel()
        disk.thaw()
    assert eviction.wait(30) == 0, eviction.communicate()


@pytest.mark.parametrize("seconds", [60, 4])
def test_what_waits_beside_an_eviction_that_stalls(volume, mount, serve, scratch, seconds):
    """An open, and what makes the file count: each can be killed, and ends by its deadline. Others
    are served, however many wait."""
    truth = trees.noise(3, 300_000)
    trees.put(scratch / "src" / "warm", truth)
    disk = volume("ext4", 64)
    m = mount(serve(scratch / "src").url, "-o", f"passthrough=no,wait_timeout={seconds}s",
              store=disk.path / "store")
    assert read(m / "warm", 0, 300_000) == truth
    time.sleep(0.1)  # the RELEASE is on its way
    with evicting(m, disk, "warm") as child:
        waiting = [child] + [subprocess.Popen(["chmod", "600", m / "warm"],
                                              stderr=subprocess.DEVNULL)]
        waiting += [subprocess.Popen(["setfattr", "-n", f"user.{n}", m / "warm"],
                                     stderr=subprocess.DEVNULL) for n in range(3 if seconds == 60 else 0)]
        time.sleep(0.5)
        begun = time.monotonic()
        assert m.status()["mountpoint"] and not os.path.exists(m / "none")
        if seconds == 60:
            assert all(one.poll() is None for one in waiting)
            for one in waiting:  # first all: some wait in the kernel for one of the others
                one.kill()
        for one in waiting:
            assert one.wait(30) == (-9 if seconds == 60 else 1)
        assert time.monotonic() - begun < 25
    assert read(m / "warm", 0, 300_000) == truth
