# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A disk that fails to write tells it once: the next fsync succeeds though the bytes are lost. Here
one sync of the daemon fails (faulty.c), and nothing written before is taken for durable."""
import errno
import os
import struct
import time

import pytest

import faults
from outcomes import error_of

CHUNK = 4096
OPTIONS = ("-o", "rw,chunk_size=4K,readahead=0")
OLD, NEW = b"o" * (16 * CHUNK), b"n" * CHUNK


@pytest.fixture
def m(mount, scratch, faulty):
    source = scratch / "source"
    source.mkdir()
    for name in ("f", "g", "whole"):
        (source / name).write_bytes(OLD)
    (source / "small").write_bytes(OLD[:100])
    return mount(source, *OPTIONS, env=faulty.env)


def clean(m):
    """magic, number, errors, identity, clean: fetch/store/disk/format.h"""
    return struct.unpack_from("<QIIQI", (m.store / "state" / "epoch").read_bytes())[4]


def write(path, offset=CHUNK, data=NEW, sync=True):
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, data, offset)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def fsync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def by_flusher(m, faulty):
    deadline = time.monotonic() + 60
    while faulty.first() is None and time.monotonic() < deadline:
        time.sleep(0.1)


def by_sync(m, faulty):
    assert m.program.run("sync", m.path).returncode != 0


def by_fsync(m, faulty):
    assert error_of(fsync, m / "f") == errno.EIO


@pytest.mark.parametrize("seen, left", [(by_fsync, 0), (by_fsync, 1), (by_sync, 0), (by_flusher, 0)],
                         ids=["data", "map", "syncfs", "flusher"])
def test_nothing_is_durable_after_an_error(m, faulty, seen, left):
    write(m / "f", sync=False)
    (m / "born").write_bytes(NEW)
    faulty.set(faults.SYNCS, errno.EIO, left)
    seen(m, faulty)
    assert faulty.clear()[1] is not None
    assert error_of(fsync, m / "f") == errno.EIO
    assert m.program.run("sync", m.path).returncode != 0
    assert m.status()["store"]["failed"]
    # what could not be made to last is not begun, and all else works
    assert error_of(write, m / "g") == errno.EIO
    assert error_of(os.open, m / "whole", os.O_RDWR | os.O_TRUNC) == errno.EIO
    assert (m / "f").read_bytes() == OLD[:CHUNK] + NEW + OLD[2 * CHUNK:]
    assert (m / "g").read_bytes() == OLD
    write(m / "born", CHUNK)
    m.umount()
    assert not clean(m)
    m = m.again()
    got = (m / "f").read_bytes()
    assert got in (OLD, OLD[:CHUNK] + NEW + OLD[2 * CHUNK:])
    assert (m / "born").read_bytes() == NEW + NEW
    write(m / "f")
    write(m / "whole")
    m.umount()
    assert clean(m)
    m = m.again()
    assert (m / "f").read_bytes() == OLD[:CHUNK] + NEW + OLD[2 * CHUNK:]


@pytest.mark.parametrize("name", ["whole", "small"])
@pytest.mark.parametrize("left", [0, 1])
def test_making_a_file_local_fails(m, faulty, name, left):
    """The file stays the remote's: a writer is told, and does not wait for ever."""
    before = (m / name).read_bytes()
    with open(m / name, "rb"):  # keeps what the daemon knows of it
        faulty.set(faults.SYNCS, errno.EIO, left)
        told = error_of(write, m / name, 0, b"n")
        failed = faulty.clear()[1]
        assert told == (errno.EIO if failed else 0)
        if failed:
            assert error_of(write, m / name, 0, b"m") == errno.EIO
            assert (m / name).read_bytes() == before
    m.umount()
    m = m.again()
    assert (m / name).read_bytes() == (before if failed else b"n" + before[1:])
    write(m / name, 0, b"x")
    assert (m / name).read_bytes() == b"x" + before[1:]


def test_an_error_is_told_to_each_who_had_the_file_open(m, faulty):
    """As natively, where each descriptor is told once."""
    (m / "born").write_bytes(NEW)
    (m / "other").write_bytes(NEW)
    a, b, c = (os.open(m / n, os.O_RDWR) for n in ("born", "born", "other"))
    faulty.set(faults.SYNCS, errno.EIO, 0)
    assert error_of(os.fsync, a) == errno.EIO
    faulty.clear()
    assert error_of(os.fsync, b) == errno.EIO
    assert [error_of(os.fsync, fd) for fd in (a, b, c)] == [0, 0, 0]
    for fd in (a, b, c):
        os.close(fd)
    assert error_of(fsync, m / "born") == 0


def test_the_last_sync_fails(m, faulty):
    """Of the store as a whole, when it is closed: what was fetched is verified, then."""
    assert (m / "f").read_bytes() == OLD
    write(m / "g", sync=False)
    faulty.set(faults.SYNCS, errno.EIO, 0)
    m.umount()
    assert faulty.clear()[1] == "syncfs"
    assert not clean(m)
    m = m.again()
    assert (m / "f").read_bytes() == OLD
    assert m.status()["chunks"]["verified"] > 0
