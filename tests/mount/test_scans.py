# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The store's own directories cannot be read, or not in time: an error to who waits, which nobody
remembers, and nothing is removed by who could not look."""
import errno
import os

import pytest

import faults
import processes
import trees
from outcomes import error_of

# ENOENT is the end of the directory to readdir(3); EMFILE is waited for (test_descriptors.py)
CAUSES = [(errno.EIO, 0), (errno.EACCES, 1), (errno.EIO, 2), (errno.ENOMEM, 3),
          (errno.ENOENT, 0), (errno.ENOENT, 2)]


def mounted(mount, serve, scratch, faulty, *options):
    """Directories made here and remote ones, with names in them that count; not looked into."""
    source = scratch / "source"
    for d in ("remote", "other"):
        trees.put(source / d / "file", b"remote")
    m = mount(serve(source).url, "-o", ",".join(("rw", *options)), env=faulty.env)
    for d in ("made", "spare"):
        os.mkdir(m / d)
    for d in ("made", "remote"):
        (m / d / "new").write_bytes(b"made here")
    os.unlink(m / "other" / "file")
    m.umount()
    m = m.again()
    os.listdir(m.path)
    return m


def check(m):
    assert sorted(os.listdir(m / "made")) == ["new"]
    assert sorted(os.listdir(m / "remote")) == ["file", "new"]
    assert os.listdir(m / "other") == []
    for d in ("made", "remote"):
        assert (m / d / "new").read_bytes() == b"made here"
    assert error_of(os.rmdir, m / "made") == errno.ENOTEMPTY


@pytest.mark.parametrize("error,left", CAUSES,
                         ids=[f"{errno.errorcode[e]}-{n}" for e, n in CAUSES])
def test_a_directory_that_cannot_be_read_is_not_empty(mount, serve, scratch, faulty, error, left):
    """`left`: so much of it could be read before."""
    m = mounted(mount, serve, scratch, faulty)
    told = errno.ENOMEM if error == errno.ENOMEM else errno.EIO
    failed = 0
    for d in ("made", "remote", "other"):
        for call, args in ((os.listdir, ()), (os.rmdir, ()), (os.stat, ("new",)),
                           (lambda d: os.rename(m / "spare", d), ())):
            faulty.set(faults.SCAN, error, left)
            result = error_of(call, (m / d).joinpath(*args))
            seen, _ = faulty.clear()
            if seen > left:
                failed += 1
                assert result == told, (d, call)
    assert failed
    check(m)


def test_a_directory_that_is_read_too_slowly_is_not_empty(mount, serve, scratch, faulty):
    m = mounted(mount, serve, scratch, faulty, "wait_timeout=1s")
    for d in ("made", "remote"):
        faulty.set(faults.HOLD)
        assert error_of(os.rmdir, m / d) == errno.EIO
        assert faulty.seen()
        assert error_of(os.rename, m / "spare", m / d) == errno.EIO
        assert error_of(os.stat, m / d / "new") == errno.EIO
        assert error_of(os.listdir, m / d) == errno.EIO
        faulty.clear()
    assert processes.wait_until(lambda: error_of(os.listdir, m / "remote") == 0)
    check(m)


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_source_that_cannot_be_read_to_its_end(mount, scratch, faulty, left):
    """A directory source on a file system that says ENOENT in the middle of a directory: an error,
    or the listing of before; never fewer names."""
    names = [f"f{i}" for i in range(5)]
    for d in ("new", "known"):
        for name in names:
            trees.put(scratch / "source" / d / name, b"remote")
    m = mount(scratch / "source", "-o", "rw,retries=0,listing_ttl=1ms", env=faulty.env)
    assert sorted(os.listdir(m / "known")) == names
    faulty.set(faults.SCAN, errno.ENOENT, left)
    assert error_of(os.listdir, m / "new") == errno.EIO
    assert error_of(os.stat, m / "new" / "f4") == errno.EIO
    assert error_of(os.rmdir, m / "new") == errno.EIO
    assert sorted(os.listdir(m / "known")) == names
    assert error_of(os.rmdir, m / "known") == errno.ENOTEMPTY
    assert faulty.clear()[0] > left
    assert sorted(os.listdir(m / "new")) == names
