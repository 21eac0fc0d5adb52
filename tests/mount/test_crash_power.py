# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A disk that loses its power: crash_power.py for some rounds, and what it found, step by step."""
import os
import subprocess

import pytest

import crash_points
import crash_power
import crashing
import trees
from crashing import CHUNK, OPTIONS


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a disk")


@pytest.fixture(params=sorted(crash_power.MAKE))
def disk(root, request, scratch, lacunafs):
    d = crash_power.Disk(request.param, scratch)
    yield d
    for m in lacunafs.mounts:
        m.abandon()
    d.umount()


@pytest.mark.patience(240)
@pytest.mark.parametrize("kind", sorted(crash_power.MAKE))
def test_power(root, lacunafs, scratch, seed, kind):
    wrong = crash_power.torture(lacunafs, scratch, kind, seed, 15)
    assert not wrong, wrong[0]


def cut(m, disk):
    disk.cut()
    m.kill()
    disk.umount()
    disk.mount()
    return m.again()


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def source_of(scratch):
    crashing.fixture(str(scratch / "source"))
    crashing.aged(str(scratch / "source"))
    return scratch / "source"


def test_a_map_that_did_not_come(lacunafs, scratch, disk):
    """What is kept for its name and mode stays so, whatever became of what was fetched."""
    source = source_of(scratch)
    truth = (source / "f").read_bytes()
    m = lacunafs.mount(source, *OPTIONS, store=disk.path / "store")
    with open(m / "f", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 5 * CHUNK)
    os.chmod(m / "f", 0o700)
    os.rename(m / "f", m / "other" / "moved")
    sync(m / "other")
    m = cut(m, disk)
    (m / "other" / "moved").read_bytes()
    m.umount()
    m = m.again()  # what was set aside is not there any more
    assert not os.path.exists(m / "f")
    assert os.stat(m / "other" / "moved").st_mode & 0o7777 == 0o700
    assert (m / "other" / "moved").read_bytes() == truth
    assert crashing.leftovers(m.store) == []


def test_synced_chunks_stay_and_others_are_remote(lacunafs, scratch, disk):
    source = source_of(scratch)
    truth = bytearray((source / "f").read_bytes())
    m = lacunafs.mount(source, *OPTIONS, store=disk.path / "store")
    fd = os.open(m / "f", os.O_RDWR)
    os.pwrite(fd, b"synced" * 2000, 2 * CHUNK)
    os.fsync(fd)
    os.pwrite(fd, b"not synced" * 400, 9 * CHUNK)
    os.close(fd)
    truth[2 * CHUNK:2 * CHUNK + 12000] = b"synced" * 2000
    m = cut(m, disk)
    got = (m / "f").read_bytes()
    written = truth[:]
    written[9 * CHUNK:9 * CHUNK + 4000] = b"not synced" * 400
    assert got in (truth, written)


@pytest.mark.parametrize("first", ["covered", "read"])
@pytest.mark.parametrize("dies", [False, True])
def test_data_of_a_file_of_one_chunk(lacunafs, scratch, disk, first, dies):
    """fdatasync(2) makes the record durable, too, which says since the write that the data is
    local, perhaps by a daemon that has died."""
    m = lacunafs.mount(source_of(scratch), *OPTIONS, store=disk.path / "store")
    fd = os.open(m / "small", os.O_RDWR)
    if first == "read":
        os.pread(fd, 1000, 0)
    os.pwrite(fd, b"x" * 1000, 0)
    if dies:
        os.close(fd)
        m.kill()
        m = m.again()
        fd = os.open(m / "small", os.O_RDWR)
        os.pwrite(fd, b"y", 0)
    os.fdatasync(fd)
    os.close(fd)
    m = cut(m, disk)
    assert (m / "small").read_bytes() == (b"y" if dies else b"x") + b"x" * 999


def test_whole_and_fetched(lacunafs, scratch, disk):
    """Nothing was synced: all of it is verified, or fetched again."""
    source = source_of(scratch)
    m = lacunafs.mount(source, *OPTIONS, store=disk.path / "store")
    assert trees.differences(source, m.path) == []
    m = cut(m, disk)
    assert trees.differences(source, m.path) == []


def test_lacunafs_sync(lacunafs, scratch, disk):
    """Everything is there."""
    source = source_of(scratch)
    m = lacunafs.mount(source, *OPTIONS, store=disk.path / "store")
    native = scratch / "native"
    subprocess.run(["cp", "-a", source, native], check=True)
    for d in (str(native), str(m.path)):
        crashing.put(f"{d}/x/new", b"new")
        os.rename(f"{d}/f", f"{d}/other/f")
        os.truncate(f"{d}/g", 0)
        os.unlink(f"{d}/h1")
        crash_power.pwrite(f"{d}/small", b"1", 500)
        with open(f"{d}/other/f", "r+b") as f:
            f.seek(3 * CHUNK + 1)
            f.write(b"written")
        os.symlink("a", f"{d}/a")
    assert trees.differences(native, m.path) == []
    assert lacunafs.run("sync", m.path).returncode == 0
    m = cut(m, disk)
    attributes = ("type", "size", "content", "mode", "owner", "nlink", "links", "target")
    assert trees.differences(native, m.path, attributes) == []


def test_what_a_crash_left_is_nobody_elses(lacunafs, scratch, disk):
    """The origin of a symlink that is gone, where another gets its inode number: on a disk of its
    own, where nobody else takes that."""
    for n in range(8):
        os.makedirs(scratch / "source" / str(n))
        os.symlink("to", scratch / "source" / str(n) / "link")
    for n in range(64):
        (disk.path / f"spare{n}").touch()
    m = lacunafs.mount(scratch / "source", "-o", "rw,allow_other", store=disk.path / "store")
    below = m.store / "tree"
    os.chmod(m / "0", 0o1777)
    remote = {os.lstat(m / str(n) / "link").st_ino for n in range(8)}
    for n in range(8):
        os.chown(m / str(n) / "link", 1, 1, follow_symlinks=False)
    freed = {os.lstat(below / str(n) / "link").st_ino for n in range(8)}
    origins = m.store / "state" / "origins"
    kept = [p for p in origins.rglob("*") if p.is_symlink()]
    for path in kept:  # hard links: what is put back must not take the numbers itself
        os.link(path, disk.path / path.name, follow_symlinks=False)
    for n in range(64):  # numbers for what the store makes from here on
        (disk.path / f"spare{n}").unlink()
    for n in range(8):
        os.unlink(m / str(n) / "link")
    m.umount()
    m = m.again()  # nothing of them is left
    m.umount()
    gone = [p for p in kept if not os.path.lexists(p)]
    assert len(gone) == 8
    for path in gone:  # as if it had died before each of the last steps
        os.rename(disk.path / path.name, path)
    m = m.again()
    # somebody else's are made where those that are kept are: until one has such a number
    for n in range(1000):
        crash_points.as_user(lambda d, n=n: os.symlink("elsewhere", f"{d}/{n}"))(m / "0")
        if os.lstat(below / "0" / str(n)).st_ino in freed:
            break
    else:
        pytest.fail("no number came again")
    m.umount()
    m = m.again()
    assert os.lstat(m / "0" / str(n)).st_ino not in remote
