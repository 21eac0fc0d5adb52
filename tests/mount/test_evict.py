# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Giving local space back, and taking newer versions, while programs use the mount."""
import mmap
import os
import subprocess
import sys
import time

import pytest

import trees

CHUNK = 1 << 16


def fetched(m):
    return m.status()["network"]["bytes"]


def used(m):
    """What the store's files take, in bytes."""
    return sum(os.lstat(os.path.join(d, f)).st_blocks * 512
               for d, _, files in os.walk(m.store / "tree") for f in files)


@pytest.fixture
def own(scratch, tree):
    """A tree of the test's own, to be changed."""
    root = scratch / "own"
    root.mkdir()
    for name in ("a", "b", "c"):
        trees.put(root / name, os.urandom(40 * CHUNK + 5), 1_600_000_000)
    trees.put(root / "small", b"small\n", 1_600_000_000)
    trees.make_program(root / "bin", 2 << 20)
    return root


def newer(path, data, mtime=1_700_000_000):
    path.write_bytes(data)
    os.utime(path, (mtime, mtime))


@pytest.mark.sanitize
@pytest.mark.parametrize("options", ["rw", "rw,passthrough=no", "ro"])
def test_evict_gives_back_and_it_comes_again(mount, serve, own, options):
    m = mount(serve(own).url, "-o", options)
    for name in ("a", "b", "small"):
        assert (m / name).read_bytes() == (own / name).read_bytes()
    before, had = fetched(m), used(m)
    done = m.program.run("evict", m.path)
    assert done.returncode == 0, done.stderr
    assert used(m) <= had - 2 * 40 * CHUNK and m.status(m / "a")["present_chunks"] == 0
    for name in ("a", "b", "small"):
        with open(m / name, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert f.read() == (own / name).read_bytes()
    assert fetched(m) >= 2 * before - CHUNK
    m.umount()
    m = m.again()
    assert (m / "a").read_bytes() == (own / "a").read_bytes()


@pytest.mark.sanitize
def test_evict_leaves_what_is_ours(mount, serve, own):
    m = mount(serve(own).url, "-o", "rw")
    truth = bytearray((own / "a").read_bytes())
    with open(m / "a", "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"here", 3 * CHUNK + 7)
        truth[3 * CHUNK + 7:3 * CHUNK + 11] = b"here"
        os.pread(f.fileno(), 10 * CHUNK, 10 * CHUNK)
    (m / "b").write_bytes(b"all mine")
    (m / "new").write_bytes(b"made here")
    os.chmod(m / "c", 0o600)
    (m / "c").read_bytes()
    assert m.program.run("evict", m.path).returncode == 0
    assert m.status(m / "c")["present_chunks"] == 0
    m.umount()
    m = m.again()
    assert (m / "a").read_bytes() == truth
    assert (m / "b").read_bytes() == b"all mine" and (m / "new").read_bytes() == b"made here"
    assert (m / "c").read_bytes() == (own / "c").read_bytes()
    assert os.stat(m / "c").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_evict_leaves_what_is_used(mount, serve, own, passthrough):
    m = mount(serve(own).url, "-o", f"rw,passthrough={passthrough}")
    for name in ("a", "b", "c", "bin/program"):
        (m / name).read_bytes()
    time.sleep(0.1)  # the RELEASEs are on their way
    held = open(m / "a", "rb")
    with open(m / "b", "rb") as f:
        view = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    time.sleep(0.1)
    done = m.program.run("evict", m / "a", m / "b", m / "c")
    assert done.returncode == 1
    assert f"{m / 'a'}: open" in done.stderr and f"{m / 'b'}: " in done.stderr
    assert str(m / "c") not in done.stderr
    assert view[5 * CHUNK:6 * CHUNK] == (own / "b").read_bytes()[5 * CHUNK:6 * CHUNK]
    held.close()
    view.close()
    time.sleep(0.1)
    assert m.program.run("evict", m / "a", m / "b").returncode == 0


def test_evict_leaves_running_and_sealed(mount, serve, own):
    sleep = own / "sleep"
    sleep.write_bytes(open("/bin/sleep", "rb").read())
    os.chmod(sleep, 0o755)
    m = mount(serve(own).url, "-o", "rw")
    assert m.program.run("seal", m / "a", "write").returncode == 0
    (m / "a").read_bytes()
    running = subprocess.Popen([m / "sleep", "60"])
    try:
        for wanted, name in (("sealed", "a"), ("running", "sleep")):
            done = m.program.run("evict", m / name)
            assert (done.returncode, done.stderr.strip().rpartition(": ")[2]) == (1, wanted)
    finally:
        running.kill()
        running.wait()


@pytest.mark.sanitize
def test_opens_wait_for_evictions(mount, serve, own):
    """Readers beside evictions in a loop: never a hole, never an error."""
    m = mount(serve(own).url, "-o", "rw")
    truth = (own / "a").read_bytes()
    code = ("import sys, time, os; until = time.time() + 6; n = 0\n"
            "truth = open(sys.argv[2], 'rb').read()\n"
            "while time.time() < until:\n"
            "    with open(sys.argv[1], 'rb') as f:\n"
            "        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)\n"
            "        at = n * 70001 % len(truth)\n"
            "        got = os.pread(f.fileno(), 9000, at)\n"
            "        assert got == truth[at:at + 9000], at\n"
            "    n += 1\n"
            "    time.sleep(0.003)\n"
            "print(n)")
    readers = [subprocess.Popen([sys.executable, "-c", code, m / "a", own / "a"],
                                stdout=subprocess.PIPE, text=True) for _ in range(3)]
    evicted = 0
    while any(r.poll() is None for r in readers):
        evicted += m.program.run("evict", m / "a").returncode == 0
    assert all(r.returncode == 0 and int(r.stdout.read()) > 10 for r in readers)
    assert evicted > 2
    assert (m / "a").read_bytes() == truth


@pytest.mark.sanitize
def test_refresh(mount, serve, own):
    m = mount(serve(own).url, "-o", "rw,listing_ttl=never")
    old = {n: (own / n).read_bytes() for n in ("a", "b", "c", "small")}
    for name, data in old.items():
        assert (m / name).read_bytes() == data
    (m / "c").write_bytes(b"mine")
    held = open(m / "b", "rb")
    newer(own / "a", b"A" * (50 * CHUNK))
    newer(own / "b", b"B" * (40 * CHUNK + 5))
    newer(own / "c", b"C" * 100)
    (own / "added").write_bytes(b"added")
    (own / "small").unlink()
    assert (m / "a").read_bytes() == old["a"]
    done = m.program.run("refresh", m.path)
    assert done.returncode == 1
    assert sorted(line.replace(f"lacunafs: {m.path}/", "")
                  for line in done.stderr.splitlines()) == ["b: open", "c: changed locally"]
    assert (m / "a").read_bytes() == b"A" * (50 * CHUNK)
    assert os.stat(m / "a").st_mtime == 1_700_000_000
    assert os.pread(held.fileno(), 100, 0) == old["b"][:100]
    assert (m / "c").read_bytes() == b"mine" and (m / "added").read_bytes() == b"added"
    assert not os.path.exists(m / "small")
    held.close()
    time.sleep(0.1)
    assert m.program.run("refresh", m / "b").returncode == 0
    assert (m / "b").read_bytes() == b"B" * (40 * CHUNK + 5)
    m.umount()
    m = m.again()
    assert (m / "a").read_bytes() == b"A" * (50 * CHUNK)


def test_refresh_without_the_source_changes_nothing(mount, serve, own):
    server = serve(own)
    m = mount(server.url, "-o", "rw,retries=0,connect_timeout=300ms")
    data = (m / "a").read_bytes()
    server.stop()
    done = m.program.run("refresh", m / "a")
    assert "/a: kept: the source does not say which version it has\n" in done.stderr
    assert done.returncode == 1 and str(m / "a") in done.stderr
    assert (m / "a").read_bytes() == data
    server.start()
    assert m.program.run("refresh", m / "a").returncode == 0
    assert m.program.run("evict", "/etc/passwd").returncode == 1


def test_evict_of_many(mount, serve, scratch):
    root = scratch / "many"
    for n in range(3000):
        trees.put(root / f"d{n % 10}" / f"f{n}", b"x" * 5000)
    m = mount(f"dir:{root}", "-o", "rw")
    assert m.program.run("fill", m.path).returncode == 0
    assert used(m) >= 3000 * 4096
    done = m.program.run("evict", m.path)
    assert done.returncode == 0, done.stderr[:300]
    assert used(m) < 3000 * 512


def test_names_of_one_file_after_an_eviction(mount, scratch):
    """What the eviction left has several names; each of them finds what was fetched again."""
    source = scratch / "links"
    source.mkdir()
    data = os.urandom(3 * CHUNK)
    trees.put(source / "a", data, 1_600_000_000)
    os.link(source / "a", source / "b")
    m = mount(source, "-o", f"chunk_size={CHUNK}")
    assert (m / "a").read_bytes() == data
    for name, evict in (("b", True), ("a", False), ("b", False)):
        m.umount()
        m = m.again("-o", f"chunk_size={CHUNK}")
        assert (m / name).read_bytes() == data
        if evict:
            assert m.program.run("evict", m / name).returncode == 0
    assert "set aside" not in m.log() and "storing it" not in m.log()
    m.umount()


@pytest.mark.sanitize
def test_what_a_replaced_file_counts_on_stays(mount, scratch):
    """Its name has another file of the source, but it is open: whole, and with no descriptor."""
    source = scratch / "replaced"
    source.mkdir()
    old, new = os.urandom(2 * CHUNK - 1), os.urandom(2 * CHUNK - 1)
    trees.put(source / "f", old, 1_600_000_000)
    m = mount(source, "-o", f"chunk_size={CHUNK},listing_ttl=50ms,passthrough=no")
    assert (m / "f").read_bytes() == old
    fd = os.open(m / "f", os.O_RDONLY)
    try:
        trees.put(source / "other", new, 1_600_000_000)
        os.rename(source / "other", source / "f")
        number = os.fstat(fd).st_ino
        deadline = time.monotonic() + 30
        while os.stat(m / "f").st_ino == number:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = m.program.run("refresh", m / "f")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(fd, len(old), 0) == old
        assert done.returncode == 1 and "open" in done.stderr, done
    finally:
        os.close(fd)
    assert m.program.run("refresh", m / "f").returncode == 0
    assert (m / "f").read_bytes() == new


@pytest.mark.sanitize
@pytest.mark.parametrize("name", ["empty", "small", "a"])
def test_times_that_are_set_stay(mount, serve, own, name):
    """Whoever opens the local file, or makes its content anew, has to keep them."""
    (own / "empty").touch()
    epoch = ("-o", "rw,end_epoch")

    def modified():
        return os.stat(m / name).st_mtime_ns
    m = mount(serve(own).url, *epoch)
    (m / name).read_bytes()
    os.chmod(m / name, 0o640)
    m.umount()
    m = m.again(*epoch)
    os.utime(m / name, ns=(7, 1_234_567_890))
    assert modified() == 1_234_567_890
    (m / name).read_bytes()
    assert modified() == 1_234_567_890
    m.umount()
    m = m.again(*epoch)
    assert modified() == 1_234_567_890
    (m / name).read_bytes()
    os.utime(m / name)  # now, as the kernel has it
    now = modified()
    assert m.program.run("evict", m / name).returncode == 0
    assert modified() == now
    (m / name).read_bytes()
    m.umount()
    m = m.again(*epoch)
    assert modified() == now
