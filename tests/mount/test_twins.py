# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A file that the source replaces while it is open here is known by two inodes of one name. What is
written to either is in that file, whatever becomes of the name meanwhile."""
import mmap
import os
import time

import pytest

import trees

AWAY = {
    "rename": lambda d: os.rename(d / "file", d / "away"),
    "unlink": lambda d: os.unlink(d / "file"),
    "replace": lambda d: os.rename(d / "other", d / "file"),
}
SIZE = 400_000


@pytest.fixture
def replaced(mount, scratch):
    """-> a directory in the mount, and descriptors, to be closed: of `file`, which another one is
    now."""
    fds = []

    def replaced(read):
        source = scratch / "source" / "d"
        source.mkdir(parents=True)
        trees.put(source / "file", b"1" * SIZE)
        trees.put(source / "other", b"other")
        m = mount(f"dir:{scratch / 'source'}", "-o",
                  "rw,listing_ttl=0,passthrough=no,readahead=0,chunk_size=64K")
        fds.append(os.open(m / "d" / "file", os.O_RDWR))
        if read:
            os.pread(fds[0], 10, 0)
        trees.put(scratch / "new", b"2" * SIZE)
        os.rename(scratch / "new", source / "file")
        while os.stat(m / "d" / "file").st_ino == os.fstat(fds[0]).st_ino:
            time.sleep(0.01)
        return m / "d", fds
    yield replaced
    for fd in fds:
        os.close(fd)


def settles(got, wanted):
    """The kernel drops its pages of the other inode behind the writer's back."""
    until = time.monotonic() + 20
    while got() != wanted and time.monotonic() < until:
        time.sleep(0.01)
    assert got() == wanted


@pytest.mark.sanitize
@pytest.mark.parametrize("mapped", ["older", "newer"])
@pytest.mark.parametrize("away", AWAY)
@pytest.mark.parametrize("closed", [False, True])
def test_what_a_mapping_stores_is_its_files(replaced, mapped, away, closed):
    """The other inode is written to, so the name counts as that one's; then the name goes."""
    d, fds = replaced(read=True)
    fds.append(os.open(d / "file", os.O_RDWR))
    stored, written = fds if mapped == "older" else reversed(fds)
    with mmap.mmap(stored, SIZE) as mapping:
        mapping[:6] = b"stored"
        os.pwrite(written, b"written", 4096)
        if closed:
            fds.remove(written)
            os.close(written)
        AWAY[away](d)
        names = sorted(os.listdir(d))
        assert names == {"rename": ["away", "other"], "unlink": ["other"],
                         "replace": ["file"]}[away]
        if away != "replace":
            (d / "file").write_bytes(b"another")
        mapping.flush()
    settles(lambda: (os.pread(stored, 6, 0), os.pread(stored, 7, 4096)), (b"stored", b"written"))
    if away == "rename":
        with open(d / "away", "rb", buffering=0) as f:
            settles(lambda: (os.pread(f.fileno(), 6, 0), os.pread(f.fileno(), 7, 4096)),
                    (b"stored", b"written"))
    assert (d / "file").read_bytes() == (b"other" if away == "replace" else b"another")
    assert os.fstat(stored).st_nlink == (away == "rename")
    assert sorted(os.listdir(d)) == sorted(set(names) | {"file"})


@pytest.mark.parametrize("away", AWAY)
@pytest.mark.parametrize("read", [True, False])
def test_a_late_store_brings_no_name_back(replaced, away, read):
    """Nothing was changed when the name went: the inode that still has it must not keep it."""
    d, (fd,) = replaced(read)
    AWAY[away](d)
    names = sorted(os.listdir(d))
    with mmap.mmap(fd, SIZE) as mapping:
        mapping[:6] = b"stored"
        mapping.flush()
    assert os.pread(fd, 6, 0) == b"stored"
    assert os.fstat(fd).st_nlink == (away == "rename")
    os.mkdir(d / "sub"), os.rmdir(d / "sub")  # the kernel's copy goes
    assert sorted(os.listdir(d)) == names
    if away == "replace":
        assert (d / "file").read_bytes() == b"other"
    else:
        assert not os.path.lexists(d / "file")
