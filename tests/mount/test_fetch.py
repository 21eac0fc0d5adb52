# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Only what is touched crosses the network, and nothing crosses twice."""
import collections
import mmap
import os
import subprocess
import threading
import time

import pytest

import lying
import processes
import trees

CHUNK = trees.CHUNK


def covered(requests):
    """Bytes asked for, from their ranges."""
    return sum(r.end - r.start + 1 for r in requests if r.start is not None)


def test_mount_reads_no_file(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    os.listdir(m.path)
    assert [r.path for r in server.asked(method="GET")] == ["/"]


def test_walk_is_one_request_a_directory(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    for path in trees.walk(m.path):
        os.lstat(os.path.join(os.fsencode(m.path), path))
    asked = collections.Counter(r.path for r in server.asked())
    # that one is empty is believed when it is told twice
    wanted = {"/" + "".join(f"{part}/" for part in d.relative_to(tree).parts):
              1 if any(d.iterdir()) else 2 for d in (tree, *tree.rglob("*")) if d.is_dir()}
    assert asked == wanted


def test_a_few_bytes(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 2 << 20)
    assert server.bytes_sent("/big") <= 4 * CHUNK
    assert len(server.asked("/big", "GET")) == 1


def test_nothing_twice(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    for _ in range(3):
        (m / "big").read_bytes()
    size = (tree / "big").stat().st_size
    assert covered(server.asked("/big", "GET")) == size
    seen = bytearray(size // CHUNK + 1)
    for r in server.asked("/big", "GET"):
        for chunk in range(r.start // CHUNK, r.end // CHUNK + 1):
            seen[chunk] += 1
    assert set(seen) == {1}


def test_random_pages_do_not_read_ahead(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    touched = [(i * 37) % 80 for i in range(12)]

    def touch():
        with open(m / "big", "rb") as f:
            view = mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        view.madvise(mmap.MADV_RANDOM)
        return [view[chunk * CHUNK + 100] for chunk in touched]

    truth = (tree / "big").read_bytes()
    assert processes.apart(touch) == [truth[chunk * CHUNK + 100] for chunk in touched]
    assert covered(server.asked("/big", "GET")) <= 2 * len(touched) * CHUNK


def test_sequential_reads_ahead(mount, serve, scratch):
    trees.put(scratch / "t" / "f", trees.noise(9, 32 << 20))
    server = serve(scratch / "t")
    m = mount(server.url)
    with open(m / "f", "rb", buffering=0) as f:
        while f.read(131072):
            pass
    assert covered(server.asked("/f", "GET")) == 32 << 20
    # far fewer requests than reads, and no request of more than the read-ahead window
    asked = server.asked("/f", "GET")
    assert len(asked) <= 64
    assert max(r.end - r.start + 1 for r in asked) <= 32 << 20


def test_the_first_of_each_directory(mount, serve, scratch):
    """Whoever reads whole directories is run ahead of, into the next. Whoever then reads the first
    file of each, as a build does, is not: it would fetch the tree."""
    root = scratch / "own"
    for d in range(60):
        for n in range(20):
            trees.put(root / f"d{d:02}" / f"f{n:02}", os.urandom(100), 1_600_000_000)
    origin = serve(root)
    m = mount(origin.url)
    for d in range(3):
        for n in range(20):
            (m / f"d{d:02}" / f"f{n:02}").read_bytes()
    for d in range(3, 60):
        (m / f"d{d:02}" / "f00").read_bytes()
    time.sleep(0.3)
    files = [r for r in origin.requests if r.method == "GET" and not r.path.endswith("/")]
    assert len(files) <= 60 + 57 + 3 * 20


def test_read_ahead_stays_in_its_budget(mount, serve, scratch):
    trees.put(scratch / "t" / "f", trees.noise(9, 32 << 20))
    server = serve(scratch / "t")
    m = mount(server.url, "-o", "readahead=1M")
    with open(m / "f", "rb", buffering=0) as f:
        for i in range(32):
            assert len(os.pread(f.fileno(), 65536, i * 65536)) == 65536
        time.sleep(0.5)
    read, extra = 32 * 65536, (1 << 20) + 512 * 1024
    assert covered(server.asked("/f", "GET")) <= read + 2 * extra


@pytest.mark.sanitize
def test_single_flight(mount, serve, tree):
    """200 readers of one absent chunk, one request."""
    server = serve(tree)
    server.lie("/big", lying.delay(1.0))
    m = mount(server.url, "-o", "readahead=0")
    truth = (tree / "big").read_bytes()
    wrong, together = [], threading.Barrier(200)

    def read():
        with open(m / "big", "rb", buffering=0) as f:
            together.wait()
            if os.pread(f.fileno(), 500, CHUNK + 10) != truth[CHUNK + 10:CHUNK + 510]:
                wrong.append(1)

    readers = [threading.Thread(target=read) for _ in range(200)]
    for r in readers:
        r.start()
    for r in readers:
        r.join()
    assert not wrong
    assert len(server.asked("/big", "GET")) == 1


def test_single_flight_of_processes(mount, serve, tree):
    server = serve(tree)
    server.lie("/big", lying.delay(1.0))
    m = mount(server.url, "-o", "readahead=0")
    argv = ["dd", f"if={m / 'big'}", "of=/dev/null", "bs=4096", "count=1", "skip=16", "status=none"]
    readers = [subprocess.Popen(argv) for _ in range(40)]
    assert [r.wait() for r in readers] == [0] * 40
    assert len(server.asked("/big", "GET")) == 1


def test_single_flight_of_listings(mount, serve, tree):
    server = serve(tree)
    server.lie("/many/", lying.delay(1.0))
    m = mount(server.url)
    readers = [subprocess.Popen(["ls", m / "many"], stdout=subprocess.DEVNULL) for _ in range(40)]
    assert [r.wait() for r in readers] == [0] * 40
    assert len(server.asked("/many/")) == 1


def test_present_does_not_wait_for_absent(mount, serve, tree):
    """A reader of what is there goes past one who waits."""
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0")
    truth = (tree / "big").read_bytes()
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 0)
        server.lie("/big", lying.stall())
        waiting = threading.Thread(target=lambda: subprocess.run(
            ["dd", f"if={m / 'big'}", "of=/dev/null", "bs=4096", "count=1", "skip=1000"],
            capture_output=True))
        waiting.start()
        time.sleep(0.2)
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = time.monotonic()
        assert os.pread(f.fileno(), 10, 100) == truth[100:110]
        assert time.monotonic() - before < 0.5
    server.honest()
    server.stop()
    waiting.join()


def test_adjacent_misses_are_one_request(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 1, 2 * CHUNK)
        server.forget()
        # READs of up to a mebibyte: chunks 16..31 all absent
        f.seek(16 * CHUNK)
        assert len(f.read(16 * CHUNK)) == 16 * CHUNK
    assert len(server.asked("/big", "GET")) <= 10


def test_http2_requests_share_a_connection(mount, web, tree, tls):
    import servers
    ca, chain, key = tls
    server = web(servers.Nginx, tree, tls=(chain, key), format="json")
    m = mount(server.url, "--ca-file", ca)
    assert trees.differences(tree, m.path) == []
    m.umount()
    assert {entry[4] for entry in server.log()} == {"HTTP/2.0"}


def test_what_nobody_reads_any_more_is_not_fetched(mount, serve, scratch, lacunafs):
    """By a server that sends all of a file, whatever is asked for."""
    data = trees.noise(5, 24 << 20)
    trees.put(scratch / "t" / "f", data)
    server = serve(scratch / "t")
    server.lie("/f", lying.together(lying.ignore_range, lying.slow(12 << 20)))
    m = mount(server.url, "-o", "prefetch=1M,readahead=0")
    with open(m / "f", "rb", buffering=0) as f:
        assert f.read(1) == data[:1]
    seen = []
    while len(seen) < 2 or seen[-1] != seen[-2]:
        time.sleep(0.5)
        seen.append(m.status()["network"]["bytes"])
    assert seen[-1] < 12 << 20
    with open(m / "f", "rb", buffering=0) as f:  # who has it open gets all in one piece
        f.read(1)
        f.seek(0)
        assert f.read(8 << 20) == data[:8 << 20]
        asked = len(server.asked("/f"))
        time.sleep(1)
        f.seek(16 << 20)
        assert f.read() == data[16 << 20:]
    assert len(server.asked("/f")) == asked
    assert lacunafs.run("evict", m / "f").returncode == 0
