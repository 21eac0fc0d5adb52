# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Real disks that are full, over a quota or read-only, under a mount in use; servers that die
and waits that are given up under changes."""
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
