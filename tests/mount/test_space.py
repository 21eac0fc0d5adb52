# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A store with less space than what is read through it: what was used longest ago goes, and what
must stay stays."""
import errno
import os
import subprocess
import threading
import time

import pytest

import lying
import processes
import test_hard_disks as hard_disks
import trees
from outcomes import error_of

MIB = 1 << 20


def make_source(source, count, size=MIB):
    """f00, f01, …"""
    for n in range(count):
        trees.put(source / f"f{n:02}", trees.noise(n, size), 1_600_000_000)


def right(m, n, size=MIB):
    return (m / f"f{n:02}").read_bytes() == trees.noise(n, size)


def present(m, n):
    return m.status(f"f{n:02}")["present_chunks"] > 0


@pytest.fixture
def own(scratch):
    source = scratch / "source"
    make_source(source, 40)
    return source


@pytest.mark.sanitize
def test_more_is_read_than_the_disk_holds(volume, mount, serve, own):
    """Also after a remount: each byte is right, no reader gets an error."""
    v = volume("ext4", 24)
    m = mount(serve(own).url, store=v.path / "store")
    assert all(right(m, n) for n in range(40))
    m.umount()
    m = m.again()
    assert all(right(m, n) for n in reversed(range(40)))
    free = os.statvfs(v.path)
    assert free.f_bavail >= free.f_blocks // 20  # the default of min_free
    assert present(m, 0) and not present(m, 39)


def test_least_recently_used_goes_first(volume, mount, serve, own):
    """Opened is used, across a remount, too; what was evicted comes again."""
    v = volume("ext4", 24)
    m = mount(serve(own).url, "-o", "quota=12M,min_free=0,prefetch=1M", store=v.path / "store")
    for n in range(8):
        assert right(m, n)
    time.sleep(1.1)  # uses are recorded by the second
    for n in (0, 3):
        with open(m / f"f{n:02}", "rb"):
            pass
    m.umount()
    m = m.again()
    time.sleep(1.1)
    for n in range(8, 14):
        assert right(m, n)
    assert processes.wait_until(lambda: m.status()["space"]["evicted_bytes"] >= 2 * MIB)
    assert present(m, 0) and present(m, 3) and not present(m, 1) and not present(m, 2)
    assert right(m, 1) and right(m, 2)


def test_file_with_the_number_of_a_removed_one(volume, mount, serve, own):
    """A file that had nothing to be dropped is passed over for a while; one that gets its inode
    number meanwhile is not."""
    v = volume("ext4", 24)
    m = mount(serve(own).url, "-o", "quota=4M,min_free=0,readahead=0", store=v.path / "store")
    for _ in range(12):
        assert all(right(m, n) for n in range(8))
        assert m.program.run("evict", m.path).returncode == 0


def test_quota(volume, mount, serve, own):
    """The store, as du(1) sees it, and as the daemon counts."""
    v = volume("ext4", 64)
    m = mount(serve(own).url, "-o", "quota=8M", store=v.path / "store")
    for n in range(40):
        assert right(m, n)
        used = int(subprocess.run(["du", "-sB1", m.store], capture_output=True, text=True,
                                  check=True).stdout.split()[0])
        assert used <= 8 * MIB + 300_000, n  # the log, listings
    space = m.status()["space"]
    assert space["measured"] and abs(space["used_bytes"] - used) < 2 * MIB
    assert space["evicted_files"] >= 32 and space["quota_bytes"] == 8 * MIB


def held(m):
    return {n for n in range(40) if os.path.exists(m / f"f{n:02}") and present(m, n)}


@pytest.mark.sanitize
def test_what_must_stay(volume, mount, serve, own):
    """Open, mapped, running, sealed, pinned, local, or gone at the source: each is there after
    everything else was replaced, and right."""
    (own / "sleep").write_bytes(open("/bin/sleep", "rb").read())
    os.chmod(own / "sleep", 0o755)
    trees.put(own / "pinned" / "deep" / "p", trees.noise(77, MIB))
    v = volume("ext4", 32)
    server = serve(own)
    m = mount(server.url, "-o", "rw,quota=16M", store=v.path / "store")
    for n in range(5):
        assert right(m, n)
    assert m.program.run("pin", m / "f01", m / "pinned").returncode == 0
    assert (m / "pinned" / "deep" / "p").read_bytes() == trees.noise(77, MIB)
    assert m.program.run("seal", m / "f02", "write").returncode == 0
    with open(m / "f03", "r+b", buffering=0) as f:
        f.write(b"mine")
    (m / "new").write_bytes(trees.noise(78, MIB))
    os.unlink(own / "f04")
    opened = open(m / "f00", "rb", buffering=0)
    running = subprocess.Popen([m / "sleep", "60"])
    try:
        time.sleep(1.1)
        assert all(right(m, n) for n in range(5, 40))
        server.stop()
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert opened.read(MIB) == trees.noise(0, MIB)
        for n in (1, 2):
            assert right(m, n)
        assert (m / "pinned" / "deep" / "p").read_bytes() == trees.noise(77, MIB)
        assert (m / "f03").read_bytes() == b"mine" + trees.noise(3, MIB)[4:]
        assert (m / "new").read_bytes() == trees.noise(78, MIB)
        assert (m / "f04").read_bytes() == trees.noise(4, MIB)
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()
        opened.close()


def pinned(m):
    done = m.program.run("pin", "--list", m.path)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_pins(mount, serve, own):
    """They survive remounts and renames, and evict names what is pinned."""
    trees.put(own / "d" / "e" / "x", b"x" * 100_000)
    m = mount(serve(own).url, "-o", "rw")
    assert m.program.run("pin", m / "f00", m / "d").returncode == 0
    os.rename(m / "d", m / "moved")
    assert right(m, 0) and (m / "moved" / "e" / "x").read_bytes() == b"x" * 100_000
    assert pinned(m) == [f"{m / 'f00'}", f"{m / 'moved'}"]
    m.umount()
    m = m.again()
    assert pinned(m) == [f"{m / name} (when it was pinned)" for name in ("d", "f00")]
    os.rename(m / "f00", m / "other")
    assert m.status("other")["pinned"] and m.status("moved/e/x")["pinned"]
    assert not m.status("f01")["pinned"] and m.status()["space"]["pins"] == 2
    done = m.program.run("evict", m.path)
    assert done.returncode == 1
    assert sorted(line.rpartition(": ")[2] for line in done.stderr.splitlines()) == ["pinned"] * 2
    assert m.status("other")["present_chunks"] == 16
    assert pinned(m) == [f"{m / 'moved'}", f"{m / 'other'}"]
    done = m.program.run("unpin", m / "moved" / "e")
    assert done.returncode == 1 and "a directory above it is pinned" in done.stderr
    assert m.program.run("unpin", m / "moved", m / "other").returncode == 0
    assert m.program.run("evict", m.path).returncode == 0
    assert m.status("other")["present_chunks"] == 0
    assert m.program.run("pin", m / "f02").returncode == 0
    os.unlink(m / "f02")
    assert m.status()["space"]["pins"] == 0
    assert pinned(m) == []
    assert m.program.run("pin", m.path).returncode == 0 and pinned(m) == [f"{m.path}"]
    assert m.program.run("pin", "/etc/passwd").returncode == 1
    assert m.program.run("pin", "--list").returncode == 2
    assert m.program.run("pin", "--list", "/etc").returncode == 1
    assert m.program.run("unpin").returncode == 2


def test_nothing_can_be_evicted(volume, mount, serve, own):
    """The source does not answer: whoever reads what is absent gets ENOSPC or EIO, in time; what is
    there is served, and nothing of it went."""
    v = volume("ext4", 24)
    server = serve(own)
    m = mount(server.url, "-o", "quota=6M,min_free=0,retries=0,connect_timeout=300ms,"
              "wait_timeout=3s,prefetch=1M", store=v.path / "store")
    assert m.program.run("pin", m.path).returncode == 0
    for n in range(4):
        assert right(m, n)
    began = time.monotonic()
    told = {error_of((m / f"f{n:02}").read_bytes) for n in range(4, 12)}
    assert errno.ENOSPC in told and told <= {0, errno.ENOSPC}
    assert time.monotonic() - began < 30
    assert all(right(m, n) for n in range(4))
    assert m.status()["space"]["kept"]["pinned"] >= 4
    assert m.program.run("unpin", m.path).returncode == 0
    server.stop()
    before = held(m)
    assert error_of((m / "f20").read_bytes) in (errno.ENOSPC, errno.EIO)
    assert held(m) == before and all(right(m, n) for n in range(4))
    server.start()
    assert processes.wait_until(lambda: error_of((m / "f20").read_bytes) == 0, 60)
    assert right(m, 20)


def write(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)


def test_one_that_is_refused_hides_no_others(volume, mount, serve, scratch):
    """The file used longest ago is all that is looked for, and the source refuses to confirm it."""
    source = scratch / "source"
    trees.put(source / "big", trees.noise(99, 12 * MIB), 1_600_000_000)
    make_source(source, 20)
    v = volume("ext4", 24)
    server = serve(source)
    m = mount(server.url, "-o", "retries=0,prefetch=1M", store=v.path / "store")
    assert (m / "big").read_bytes() == trees.noise(99, 12 * MIB)
    server.lie("/big", lying.status(403))
    assert all(right(m, n) for n in range(20))
    assert present(m, 19) and m.status("big")["present_chunks"] == 12 * 16


def test_writes_come_first(volume, mount, serve, own):
    """More is written than is free: cached data is evicted, no writer gets an error. Then the disk
    is full of local data: that is what ENOSPC is for."""
    v = volume("ext4", 24)
    m = mount(serve(own).url, "-o", "rw,passthrough=no,min_free=0", store=v.path / "store")
    for n in range(17):
        assert right(m, n)
    avail = os.statvfs(m.path)
    assert avail.f_bavail * avail.f_frsize > os.statvfs(v.path).f_bavail * 4096 + 10 * MIB
    for n in range(12):
        write(m / f"mine{n}", trees.noise(100 + n, MIB))
        os.mkdir(m / f"dir{n}")
    assert m.status()["space"]["evicted_bytes"] > 4 * MIB
    told = [error_of(write, m / f"more{n}", bytes(MIB)) for n in range(16)]
    assert told[-1] == errno.ENOSPC
    m.umount()
    m = m.again()
    for n in range(12):
        assert (m / f"mine{n}").read_bytes() == trees.noise(100 + n, MIB)


def test_every_change_finds_space(volume, mount, scratch):
    """The disk is full to the last block, and cached data goes for each change that a user makes:
    none fails, all is right."""
    source = scratch / "source"
    hard_disks.make_source(source)
    make_source(source, 14)
    v = volume("ext4", 40)
    m = mount(source, "-o", "rw,readahead=0,min_free=0,passthrough=no", store=v.path / "store")
    (m / "mine").write_bytes(b"mine" * 1000)
    (m / "keeper").write_bytes(b"safe" * 1000)
    for n in range(14):
        assert right(m, n)
    v.fill()
    told = {what: error_of(call) for what, call in hard_disks.changes(m, "a")}
    assert set(told.values()) == {0}, told
    assert m.status()["space"]["evicted_files"] > 0
    v.drain()
    hard_disks.check(m, source)
    m.umount()
    m = m.again()
    hard_disks.check(m, source)
    assert all(right(m, n) for n in range(14))


def test_fill_beyond_the_space(mount, serve, own):
    """`fill` waits for space as readers do."""
    m = mount(serve(own).url, "-o", "quota=10M")
    done = m.fill("")
    assert done.returncode == 0, done.stdout + done.stderr
    space = m.status()["space"]
    assert space["evicted_files"] >= 30 and space["used_bytes"] <= 10 * MIB
    assert all(right(m, n) for n in (0, 20, 39))


def test_killed_in_the_middle(volume, mount, serve, own):
    """The daemon dies while it evicts, again and again: what is there is right, and counted."""
    v = volume("ext4", 24)
    m = mount(serve(own).url, "-o", "quota=8M", store=v.path / "store")
    for turn in range(3):
        reader = threading.Thread(target=lambda: [error_of((m / f"f{n:02}").read_bytes)
                                                  for n in range(40)])
        reader.start()
        evicted = lambda: m.status()["space"]["evicted_bytes"] > turn * MIB
        assert processes.wait_until(evicted, 60)
        m.kill()
        reader.join()
        m = m.again()
    assert all(right(m, n) for n in range(40))
    assert processes.wait_until(lambda: m.status()["space"]["measured"])
    assert m.status()["space"]["used_bytes"] <= 8 * MIB


@pytest.mark.parametrize("option,wanted", [("quota=1", "a size from 1M up"),
                                           ("min_free=100%", "0% to 99%"),
                                           ("min_free=x", "0% to 99%"), ("quota", "a size")])
def test_wrong_options(lacunafs, scratch, option, wanted):
    done = lacunafs.run("mount", scratch, scratch / "m", "-o", option)
    assert done.returncode == 2 and wanted in done.stderr
