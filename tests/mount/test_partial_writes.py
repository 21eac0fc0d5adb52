# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Writes into files that follow the remote: what they fetch, what stays, what comes back."""
import errno
import os
import random
import subprocess
import sys

import pytest

CHUNK = 1 << 16
SIZE = (5 << 20) + 123  # of tree/big
EPOCH = ("-o", "rw,end_epoch")


def fetched(m):
    return m.status()["network"]["bytes"]


@pytest.fixture
def server(serve, tree):
    return serve(tree)


@pytest.fixture
def lazy(mount, server, tree, scratch):
    """The mount without read-ahead, the lazy file, a native copy of it."""
    copy = scratch / "copy"
    copy.write_bytes((tree / "big").read_bytes())
    m = mount(server.url, "-o", "rw,readahead=0")
    return m, m / "big", copy


def put(path, offset, data):
    with open(path, "r+b", buffering=0) as f:
        assert os.pwrite(f.fileno(), data, offset) == len(data)


def both(paths, act):
    for path in paths:
        act(path)


def same(a, b):
    assert a.stat().st_size == b.stat().st_size
    one, other = a.read_bytes(), b.read_bytes()
    where = next((i for i, (x, y) in enumerate(zip(one, other)) if x != y), None)
    assert where is None, f"differs from {where} on, chunk {where // CHUNK}"
    assert len(one) == len(other)


@pytest.mark.sanitize
@pytest.mark.parametrize("offset, length, chunks", [
    (CHUNK, CHUNK, 0), (0, 4 * CHUNK, 0), (80 * CHUNK, 123, 0), (100, 50, 1),
    (CHUNK - 5, 10, 2), (CHUNK - 5, 3 * CHUNK, 2), (SIZE, 5000, 0), (SIZE - 10, 5000, 1),
    (SIZE + 3 * CHUNK, 7, 0)])
def test_only_the_edges_are_fetched(lazy, offset, length, chunks):
    m, big, copy = lazy
    both((big, copy), lambda p: put(p, offset, b"w" * length))
    assert fetched(m) == min(chunks * CHUNK, SIZE) or offset + length > 80 * CHUNK
    assert fetched(m) <= chunks * CHUNK
    same(big, copy)
    assert fetched(m) <= SIZE


@pytest.mark.sanitize
@pytest.mark.parametrize("size", [1, CHUNK, 2 * CHUNK + 77, SIZE - 1, SIZE, SIZE + 100_000])
def test_truncation_fetches_nothing_and_nothing_comes_back(lazy, size):
    m, big, copy = lazy
    both((big, copy), lambda p: os.truncate(p, size))
    assert fetched(m) == 0
    both((big, copy), lambda p: os.truncate(p, SIZE + 5000))
    both((big, copy), lambda p: put(p, size + 10, b"behind"))
    assert fetched(m) <= CHUNK
    same(big, copy)
    m.umount()
    m = m.again()
    same(m / "big", copy)


@pytest.mark.sanitize
def test_append(lazy):
    m, big, copy = lazy
    for path in (big, copy):
        with open(path, "ab") as f:
            f.write(b"more")
    assert fetched(m) == 0
    same(big, copy)


@pytest.mark.sanitize
@pytest.mark.parametrize("offset, length, bytes", [(0, 4096, 0), (0, 9000, 0), (1, 10, 4096),
                                                   (4096, 10, 4096), (9000, 1, 4096)])
def test_a_file_of_one_chunk(lazy, tree, offset, length, bytes):
    m, _, copy = lazy
    copy.write_bytes((tree / "sizes" / "f4096").read_bytes())
    both((m / "sizes" / "f4096", copy), lambda p: put(p, offset, b"w" * length))
    assert fetched(m) == bytes
    m.kill()
    m = m.again(*EPOCH)
    same(m / "sizes" / "f4096", copy)


@pytest.mark.sanitize
def test_punch_and_zero(lazy):
    m, big, copy = lazy
    for path in (big, copy):
        for option, offset, length in (("-p", CHUNK, CHUNK), ("-z", 5 * CHUNK + 9, 3 * CHUNK),
                                       ("-n", SIZE, CHUNK), ("", SIZE + 9, CHUNK)):
            subprocess.run(["fallocate", *filter(None, [option]), "-o", str(offset),
                            "-l", str(length), path], check=True)
    assert fetched(m) == 2 * CHUNK
    same(big, copy)


@pytest.mark.sanitize
def test_mapped_writes(lazy):
    m, big, copy = lazy
    code = ("import mmap, sys; f = open(sys.argv[1], 'r+b'); view = mmap.mmap(f.fileno(), 0);"
            f"view[{3 * CHUNK + 5}:{3 * CHUNK + 9}] = b'here'; view.flush()")
    both((big, copy), lambda p: subprocess.run([sys.executable, "-c", code, p], check=True))
    assert fetched(m) <= 3 * CHUNK
    same(big, copy)


def test_a_write_waits_for_its_edge_and_fails_with_it(lazy, server):
    m, big, copy = lazy
    m.umount()
    m = m.again("-o", "rw,retries=0,connect_timeout=500ms")
    server.stop()
    put(m / "big", 0, b"w" * CHUNK)
    with pytest.raises(OSError) as e:
        put(m / "big", 2 * CHUNK + 1, b"w")
    assert e.value.errno == errno.EIO
    server.start()
    put(copy, 0, b"w" * CHUNK)
    same(m / "big", copy)


@pytest.mark.sanitize
@pytest.mark.parametrize("end", ["umount", "kill"])
@pytest.mark.parametrize("sync", [True, False])
def test_dead_epoch(lazy, end, sync):
    """In a later epoch what was synced is there, and what was not is the remote's or, after a
    clean end, there."""
    m, big, copy = lazy
    before = copy.read_bytes()
    with open(big, "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"a" * CHUNK, CHUNK)
        os.pwrite(f.fileno(), b"b" * 10, 5 * CHUNK + 5)
        os.pwrite(f.fileno(), b"c" * 10, SIZE)
        if sync:
            os.fsync(f.fileno())
    both((copy,), lambda p: (put(p, CHUNK, b"a" * CHUNK), put(p, 5 * CHUNK + 5, b"b" * 10),
                             put(p, SIZE, b"c" * 10)))
    m.kill() if end == "kill" else m.umount()
    m = m.again(*EPOCH)
    got = (m / "big").read_bytes()
    if sync or end == "umount":
        assert got == copy.read_bytes()
    else:  # what was appended is the file's own, the rest falls back to the remote
        assert got[:SIZE] == before


@pytest.mark.sanitize
def test_sync_and_the_flusher(lazy, lacunafs):
    m, big, copy = lazy
    put(big, CHUNK, b"a" * CHUNK)
    assert lacunafs.run("sync", m.path).returncode == 0
    m.kill()
    m = m.again(*EPOCH)
    put(copy, CHUNK, b"a" * CHUNK)
    same(m / "big", copy)


@pytest.mark.sanitize
def test_random(lazy):
    """Random writes, truncations and reads beside the same on a native file, over remounts."""
    m, big, copy = lazy
    choose = random.Random(7)
    for turn in range(6):
        paths = (m / "big", copy)
        for _ in range(60):
            size = copy.stat().st_size
            kind = choose.choice("wwwwtrrap")
            offset = choose.randrange(size + 1)
            if choose.random() < 0.5:
                offset -= offset % CHUNK
            length = choose.choice([1, 100, CHUNK, CHUNK + 1, 3 * CHUNK])
            if kind == "w":
                data = choose.randbytes(length)
                both(paths, lambda p: put(p, offset, data))
            elif kind == "t" and choose.random() < 0.2:
                size = choose.randrange(2 * size + CHUNK) if turn % 2 else size - size // 20
                both(paths, lambda p: os.truncate(p, size))
            elif kind == "r":
                got = []
                for p in paths:
                    with open(p, "rb", buffering=0) as f:
                        got.append(os.pread(f.fileno(), length, offset))
                assert got[0] == got[1]
            elif kind == "a":
                both(paths, lambda p: p.open("ab").write(b"a" * 10))
            elif kind == "p" and size:
                both(paths, lambda p: subprocess.run(
                    ["fallocate", choose.choice(["-p", "-p"]), "-o", str(offset), "-l",
                     str(length), p], check=True))
        assert paths[0].stat().st_size == copy.stat().st_size
        if turn % 2:
            same(*paths)
        m.kill() if turn % 3 == 0 else m.umount()
        m = m.again("-o", "rw,readahead=0")
    same(m / "big", copy)
