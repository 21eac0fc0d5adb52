# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Real disks that are full, over a quota or read-only, under a mount in use; servers that die
and waits that are given up under changes."""
import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import processes
import trees
import volumes

CHUNK = trees.CHUNK


def error_of(call, *args):
    try:
        call(*args)
    except OSError as e:
        return e.errno
    return 0


@pytest.fixture
def volume(scratch):
    """volume(kind, megabytes) → a Volume. Asked for before `mount`: it goes after it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    made = []

    def make(kind, megabytes):
        if shutil.which(f"mkfs.{kind}", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            pytest.skip(f"no mkfs.{kind} here")
        made.append(volumes.Volume(scratch, kind, megabytes))
        return made[-1]

    yield make
    for v in made:
        v.close()


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
def test_no_room(volume, mount, scratch, kind, expected):
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
