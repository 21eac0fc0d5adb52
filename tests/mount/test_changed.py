# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A file that changes at the source: the old version or the new one, never a mixture."""
import errno
import mmap
import os
import pathlib
import time

import pytest

import lying
import processes
import trees
from outcomes import error_of

CHUNK = trees.CHUNK
QUICK = ("-o", "retries=0,wait_timeout=3s,readahead=0")


@pytest.fixture
def source(scratch):
    root = scratch / "source"
    trees.put(root / "f", trees.noise(1, 1 << 20), 1_600_000_000)
    return root


@pytest.mark.sanitize
@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 5000, (1 << 20) + 5000])
def test_partial_file(mount, serve, source, size):
    server = serve(source)
    m = mount(server.url, *QUICK)
    old = (source / "f").read_bytes()
    with open(m / "f", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 100, 0) == old[:100]
        trees.put(source / "f", trees.noise(2, size), 1_600_001_000)
        assert error_of(lambda: os.pread(f.fileno(), 100, 8 * CHUNK)) == errno.EIO
        # what was there stays
        assert os.pread(f.fileno(), 100, 200) == old[200:300]
    assert "f" in m.log()


def test_back_again(mount, serve, source):
    """The old version comes back: the missing chunks can be had."""
    server = serve(source)
    m = mount(server.url, *QUICK)
    old = (source / "f").read_bytes()
    with open(m / "f", "rb", buffering=0) as f:
        os.pread(f.fileno(), 100, 0)
        trees.put(source / "f", trees.noise(2, 1 << 20), 1_600_001_000)
        assert error_of(lambda: os.pread(f.fileno(), 100, 8 * CHUNK)) == errno.EIO
        (source / "f").write_bytes(old)
        os.utime(source / "f", (1_600_000_000, 1_600_000_000))
    assert (m / "f").read_bytes() == old


def test_etag_alone(mount, serve, source):
    """Same size, same time: an ETag is enough to tell."""
    server = serve(source)
    m = mount(server.url, *QUICK)
    with open(m / "f", "rb", buffering=0) as f:
        os.pread(f.fileno(), 100, 0)
        server.lie("/f", lying.header("ETag", '"new"'))
        server.lie("/f", lambda request, answer: setattr(answer, "twist", bytes.swapcase))
        assert error_of(lambda: os.pread(f.fileno(), 100, 8 * CHUNK)) == errno.EIO


def test_nothing_present_takes_the_new_version(mount, serve, source):
    server = serve(source)
    m = mount(server.url, "-o", "retries=0,wait_timeout=3s,readahead=0,listing_ttl=0")
    assert os.stat(m / "f").st_size == 1 << 20
    new = trees.noise(3, 700_000)
    trees.put(source / "f", new, 1_600_002_000)
    assert os.stat(m / "f").st_size == len(new)
    assert (m / "f").read_bytes() == new


@pytest.mark.parametrize("kind", ["dir", "http"])
def test_each_time(mount, serve, scratch, kind):
    """With listing_ttl=0 a name is there, or is not, at once: neither the daemon nor the kernel goes
    by what was so a moment ago."""
    source = scratch / "each"
    trees.put(source / "d" / "stays", b"1")
    m = mount(source if kind == "dir" else serve(source).url, "-o", "rw,listing_ttl=0,retries=0")
    wrong = []
    for n in range(40):
        path, there = m / "d" / f"f{n}", source / "d" / f"f{n}"

        def seen():
            """By a listing first, and by the name alone."""
            listed = path.name in os.listdir(path.parent) if n % 2 else None
            return listed, os.stat(path).st_size if path.exists() else None
        told = [seen()]
        for size in (n + 1, n + 1000):
            trees.put(there, bytes(size))
            told.append(seen())
        there.unlink()
        told.append(seen())
        expected = [(is_there if n % 2 else None, size) for is_there, size in
                    ((False, None), (True, n + 1), (True, n + 1000), (False, None))]
        wrong += [f"{n}: {told}"] if told != expected else []
    assert not wrong, "\n".join(wrong)


def test_replaced_by_a_rename(mount, source):
    """Another file by the same name: nobody lists the directory, and the name leads to it."""
    m = mount(source, "-o", "listing_ttl=200ms")
    assert os.stat(m / "f").st_size == 1 << 20
    new = trees.noise(8, 50_000)
    trees.put(source / "new", new, 1_600_005_000)
    os.rename(source / "new", source / "f")
    time.sleep(0.4)
    assert processes.wait_until(lambda: os.stat(m / "f").st_size == len(new))
    assert (m / "f").read_bytes() == new


def replace(source, data):
    (source / "new").write_bytes(data)
    os.rename(source / "new", source / "file")


@pytest.mark.parametrize("size", [60000, 400000])
@pytest.mark.parametrize("longer", [0, 5000])
def test_an_open_file_is_of_one_version(mount, lacunafs, source, size, longer):
    """Of a file that was replaced at the source the old one is still open, or is opened by what is
    left of it: it is not given the bytes of the file that has its name and its place in the store
    now."""
    replace(source, b"1" * size)
    m = mount(source, "-o", "listing_ttl=300s,passthrough=no")
    assert (m / "file").read_bytes() == b"1" * size
    path = os.open(m / "file", os.O_PATH)
    direct = os.open(m / "file", os.O_RDONLY | os.O_DIRECT)
    cached = os.open(m / "file", os.O_RDONLY)
    os.posix_fadvise(cached, size // 2, 0, os.POSIX_FADV_DONTNEED)
    replace(source, b"2" * (size + longer))
    assert lacunafs.run("refresh", m.path).returncode in (0, 1)
    os.listdir(m.path)
    assert processes.wait_until(lambda: os.stat(m / "file").st_ino != os.fstat(cached).st_ino)
    lacunafs.run("refresh", m / "file")
    now = (m / "file").read_bytes()
    assert now in (b"1" * size, b"2" * (size + longer))
    buffer = mmap.mmap(-1, 4096)
    reads = [lambda: os.preadv(direct, [buffer], 0) and bytes(buffer),
             lambda: os.pread(cached, 1, 0), lambda: os.pread(cached, size, 0),
             lambda: pathlib.Path(f"/proc/self/fd/{path}").read_bytes()]
    try:
        for read in reads:
            try:
                assert set(read()) == set(b"1")
            except OSError as e:
                assert e.errno in (errno.EIO, errno.ESTALE)
    finally:
        for fd in (path, direct, cached):
            os.close(fd)


def test_refresh_of_what_had_another_number(mount, lacunafs, source):
    """Of a file that was replaced at the source the kernel still knows the old one, which nobody has
    open: what the daemon keeps for its next open is in nobody's way."""
    replace(source, b"1" * 400_000)
    m = mount(source, "-o", "listing_ttl=300s")
    for _ in range(2):  # the second one in passthrough
        assert (m / "file").read_bytes() == b"1" * 400_000
    path = os.open(m / "file", os.O_PATH)
    try:
        replace(source, b"2" * 500_000)
        lacunafs.run("refresh", m.path)
        assert processes.wait_until(lambda: os.stat(m / "file").st_ino != os.fstat(path).st_ino)
        done = lacunafs.run("refresh", m / "file")
        assert done.returncode == 0, done.stderr
        assert (m / "file").read_bytes() == b"2" * 500_000
    finally:
        os.close(path)


def test_new_version_behind_the_listing(mount, serve, source):
    """The listing is still fresh, the file is not: no mixture, and the new version in the end."""
    server = serve(source)
    m = mount(server.url, *QUICK)
    old, new = (source / "f").read_bytes(), trees.noise(4, (1 << 20) + 1000)
    assert os.stat(m / "f").st_size == len(old)
    trees.put(source / "f", new, 1_600_003_000)
    for _ in range(20):
        try:
            got = (m / "f").read_bytes()
        except OSError as e:
            assert e.errno == errno.EIO
        else:
            assert got == new
            break
        time.sleep(0.1)
    else:
        pytest.fail("the new version never came")


def test_in_the_middle_of_a_transfer(mount, serve, source):
    """Versions alternate from request to request."""
    server = serve(source)
    truth = {0: trees.noise(5, 4 << 20), 1: trees.noise(6, 4 << 20)}
    trees.put(source / "f", truth[0], 1_600_000_000)
    m = mount(server.url, "-o", "retries=1,wait_timeout=3s,readahead=0")
    for i in range(6):
        trees.put(source / "f", truth[i % 2], 1_600_000_000 + i % 2)
        with open(m / "f", "rb", buffering=0) as f:
            try:
                os.pread(f.fileno(), 100, (i * 7 % 60) * CHUNK)
            except OSError as e:
                assert e.errno == errno.EIO
    seen = {0: 0, 1: 0}
    with open(m / "f", "rb", buffering=0) as f:
        for offset in range(0, 4 << 20, CHUNK):
            try:
                piece = os.pread(f.fileno(), CHUNK, offset)
            except OSError:
                continue
            for which, bytes_ in truth.items():
                seen[which] += piece == bytes_[offset:offset + CHUNK]
    assert 0 in seen.values() and sum(seen.values()) > 0


def test_complete_file_stays_until_listed_anew(mount, serve, source):
    server = serve(source)
    m = mount(server.url, "-o", "listing_ttl=never")
    old = (m / "f").read_bytes()
    trees.put(source / "f", trees.noise(7, 1 << 20), 1_600_004_000)
    assert (m / "f").read_bytes() == old


def test_appear_and_vanish(mount, serve, source):
    trees.put(source / "d" / "one", b"1")
    server = serve(source)
    m = mount(server.url, "-o", "listing_ttl=300ms")
    assert os.listdir(m / "d") == ["one"]
    assert error_of(lambda: os.stat(m / "d" / "two")) == errno.ENOENT
    trees.put(source / "d" / "two", b"22")
    (source / "d" / "one").unlink()
    time.sleep(0.5)
    seen = lambda: sorted(os.listdir(m / "d")) == ["two"]
    until = time.monotonic() + 3
    while not seen() and time.monotonic() < until:
        time.sleep(0.1)
    assert seen()
    assert (m / "d" / "two").read_bytes() == b"22"
    assert error_of(lambda: os.stat(m / "d" / "one")) == errno.ENOENT


def test_open_file_outlives_its_name(mount, serve, source):
    trees.put(source / "d" / "one", b"1" * 1000)
    server = serve(source)
    m = mount(server.url, "-o", "listing_ttl=200ms")
    with open(m / "d" / "one", "rb") as f:
        assert f.read() == b"1" * 1000
        (source / "d" / "one").unlink()
        time.sleep(0.4)
        os.listdir(m / "d")
        time.sleep(0.2)
        f.seek(0)
        assert f.read() == b"1" * 1000


def test_revalidation_is_conditional(mount, serve, source):
    server = serve(source)
    m = mount(server.url, "-o", "listing_ttl=200ms")
    os.listdir(m.path)
    time.sleep(0.4)
    server.forget()
    os.listdir(m.path)
    time.sleep(0.3)
    asked = server.asked("/", "GET")
    assert asked and all(r.status == 304 for r in asked), [r.headers for r in asked]


def test_fresh_listing_is_not_asked_again(mount, serve, source):
    server = serve(source)
    m = mount(server.url)
    for _ in range(5):
        os.listdir(m.path)
    assert len(server.asked("/")) == 1
    m.umount()
    os.listdir(m.again().path)
    assert len(server.asked("/")) == 1
