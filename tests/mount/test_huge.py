# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Files of which a source says that they are huge: what is not here costs nothing."""
import errno
import os
import pathlib
import shutil
import tempfile

import pytest

TERA = 1 << 40
OPTIONS = ("-o", "rw,readahead=0,passthrough=no")


@pytest.fixture
def source():
    """In memory, where a file can be of any size."""
    d = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-huge-", dir="/dev/shm"))
    for name, size in (("claimed", 1 << 62), ("huge", 5 * TERA), ("cut", 5 * TERA), ("small", 100)):
        os.truncate(os.open(d / name, os.O_CREAT | os.O_WRONLY, 0o644), size)
    yield d
    shutil.rmtree(d)


def at(path, offset, length=1):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


class Spent:
    """Of the daemon: processor time in seconds, and memory in MiB at its peak. Less depends on what
    else runs here than of a clock."""

    def __init__(self, m):
        self.pid = m.worker()
        self.before = self.time(self.pid)

    @staticmethod
    def time(pid):
        fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def seconds(self):
        return self.time(self.pid) - self.before

    def memory(self):
        status = open(f"/proc/{self.pid}/status", encoding="utf-8").read()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.patience(60)
def test_what_is_not_here_costs_nothing(mount, source):
    m = mount(source, *OPTIONS)
    spent = Spent(m)
    assert m.status("claimed")["size"] == 1 << 62
    with pytest.raises(OSError) as e:
        at(m / "claimed", (1 << 62) - 1)
    assert e.value.errno in (errno.EFBIG, errno.EIO)
    for name in ("huge", "cut"):
        assert at(m / name, 5 * TERA - 1) == b"\0"
        assert m.status(name)["size"] == 5 * TERA
    assert at(m / "huge", 3 * TERA + 1, 9) == bytes(9)
    fd = os.open(m / "huge", os.O_WRONLY)
    os.pwrite(fd, b"q" * 65536, 65536)
    os.fsync(fd)
    os.close(fd)
    os.truncate(m / "cut", 100_000)
    os.truncate(m / "cut", 4 * TERA)
    assert at(m / "cut", 3 * TERA) == b"\0"
    assert at(m / "small", 99) == b"\0"
    assert m.program.run("evict", m / "huge").returncode == 0
    m.umount()
    m = m.again()
    for end in (), ("-o", "rw,readahead=0,passthrough=no,end_epoch"):
        if end:
            m.umount()
            m = m.again(*end)
        spent = Spent(m)
        assert at(m / "huge", 65536 + 7) == b"q"
        assert at(m / "huge", 5 * TERA - 1) == b"\0"
        assert os.stat(m / "cut").st_size == 4 * TERA
        assert at(m / "cut", 4 * TERA - 5) == b"\0"
        assert m.status("huge")["size"] == 5 * TERA
        assert spent.seconds() < 0.5
        assert spent.memory() < 60


def test_a_small_file_that_is_a_hole(mount, source):
    """The source leaves out what is zeros: they are in the file all the same."""
    m = mount(source, *OPTIONS)
    assert at(m / "small", 0, 200) == bytes(100)
    m.umount()
    m = m.again("-o", "rw,end_epoch")
    assert (m / "small").read_bytes() == bytes(100)
