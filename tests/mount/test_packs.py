# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Published trees with packs: small files come by hundreds, each block is verified, and they are
files as all others are."""
import errno
import mmap
import os
import random
import subprocess
import threading

import pytest

import handlers
import lying
import processes
import published
import trees
from dying import PATIENT, die
from outcomes import error_of, soon
from test_published import below_lacuna, twist

BLOCK = published.BLOCK
MIB = 1 << 20


@pytest.fixture(autouse=True)
def usable(request):
    if "volume" in request.fixturenames:  # made before the program, which is ended before it goes
        request.getfixturevalue("volume")
    published.need_packs(request.getfixturevalue("lacunafs"))


def text(n, size):
    """Compresses to about a third."""
    return (b"%d " % n * size)[:size // 2] + trees.noise(n, size - size // 2)


def make_small(tree, count, size=8192):
    for n in range(count):
        trees.put(tree / f"d{n // 20:02}" / f"f{n:03}", text(n, size + n), 1_600_000_000)
    return tree


@pytest.fixture
def small(scratch):
    """100 files in 4 frames of one object."""
    return make_small(scratch / "tree", 100)


def names(tree):
    return [p for p in trees.walk(tree) if os.path.isfile(os.path.join(os.fsencode(tree), p))
            and not p.startswith(b".lacuna")]


def read(top, name):
    with open(os.path.join(os.fsencode(top), name), "rb") as f:
        return f.read()


def wrong(tree, m):
    """name → errno of files that cannot be read; the others are right."""
    failed = {}
    for name in names(tree):
        try:
            assert read(m.path, name) == read(tree, name), name
        except OSError as e:
            failed[name] = e.errno
    return failed


def objects_asked(server):
    return [r for r in list(server.requests) if r.path.startswith("/.lacuna/objects/")]


def local_files(m):
    return [p for p in (m.store / "tree").rglob("*") if p.is_file()]


@pytest.mark.sanitize
def test_equals_the_original(lacunafs, mount, serve, scratch):
    """All that a file can be; small ones take few requests, and no local file."""
    everything = published.make_everything(scratch / "tree")
    index = published.publish(lacunafs, everything, packs=True)
    index.objects_are_whole()
    server = serve(everything)
    m = mount(server.url, *(["-o", "dev,suid"] if os.geteuid() == 0 else []))
    assert trees.differences(everything, m.path, published.ALL, below_lacuna(everything)) == []
    assert {r.path for r in list(server.requests) if not r.path.startswith("/.lacuna")} \
        <= {"/big", "/empty/hard-big", "/sparse", "/hole"}
    assert len(objects_asked(server)) <= 3
    assert {p.name for p in local_files(m)} <= {"big", "hard-big", "sparse", "hole"}
    assert m.program.run("verify", m.path).returncode == 0
    m.umount()
    server.stop()
    m = m.again("-o", "offline")
    assert trees.differences(everything, m.path, ["content"], below_lacuna(everything)) == []
    found = published.checked(index, scratch)
    assert found is None or found[0], found[1]


@pytest.mark.sanitize
def test_flipped_blocks_are_refused(lacunafs, mount, small, serve):
    """Each block of the object, once: the files of the frames that it touches fail, with its digests,
    and are right once it is."""
    index, server = published.publish(lacunafs, small, packs=True), serve(small)
    (name, *_), = index.objects()
    path = index.folder / "objects" / name
    right = path.read_bytes()
    for block in range((len(right) - 1) // BLOCK + 1):
        spoiled = bytearray(right)
        spoiled[block * BLOCK + 50] ^= 1
        path.write_bytes(spoiled)
        m = mount(server.url, "-o", "retries=0")
        failed = wrong(small, m)
        assert failed and set(failed.values()) == {errno.EIO}
        cause = m.status(os.fsdecode(min(failed)))["last_error"]["cause"]
        assert f"objects/{name}: block {block} (bytes {block * BLOCK} to" in cause
        assert "expected sha256:" in cause and "found sha256:" in cause
        path.write_bytes(right)
        assert not wrong(small, m)
        m.umount()


def test_the_next_mirror_has_the_right_block(lacunafs, mount, small, serve):
    published.publish(lacunafs, small, packs=True)
    bad, good = serve(small), serve(small)
    bad.lie("/.lacuna/objects/*", twist(5))
    m = mount(bad.url, "--mirror", good.url)
    assert not wrong(small, m)


# ---- files as all others are ----

@pytest.mark.sanitize
def test_changes(lacunafs, mount, small, serve):
    """A file that is changed gets a local file of its own; without the network, too."""
    published.publish(lacunafs, small, packs=True)
    server = serve(small)
    m = mount(server.url)
    original = {n: read(small, n) for n in names(small)}
    assert not wrong(small, m)
    m.umount()
    server.stop()
    m = m.again("-o", "offline")
    held = os.open(m / "d00" / "f003", os.O_RDONLY)
    assert os.pread(held, 10, 0) == original[b"d00/f003"][:10]
    with open(m / "d00" / "f000", "ab") as f:
        f.write(b"appended")
    with open(m / "d00" / "f001", "r+b") as f:
        f.seek(100)
        f.write(b"inside")
    os.truncate(m / "d00" / "f002", 50)
    with open(m / "d00" / "f003", "r+b") as f, mmap.mmap(f.fileno(), 0) as mapped:
        mapped[5:8] = b"map"
    os.chmod(m / "d00" / "f004", 0o755)
    os.rename(m / "d00" / "f005", m / "renamed")
    os.link(m / "d00" / "f006", m / "linked")
    os.unlink(m / "d00" / "f007")

    def expected():
        was = original
        assert read(m.path, b"d00/f000") == was[b"d00/f000"] + b"appended"
        assert read(m.path, b"d00/f001") == was[b"d00/f001"][:100] + b"inside" + was[b"d00/f001"][106:]
        assert read(m.path, b"d00/f002") == was[b"d00/f002"][:50]
        assert read(m.path, b"d00/f003") == was[b"d00/f003"][:5] + b"map" + was[b"d00/f003"][8:]
        assert read(m.path, b"d00/f004") == was[b"d00/f004"]
        assert os.stat(m / "d00" / "f004").st_mode & 0o777 == 0o755
        assert read(m.path, b"renamed") == was[b"d00/f005"]
        assert read(m.path, b"linked") == was[b"d00/f006"] and not (m / "d00" / "f007").exists()
        assert read(m.path, b"d00/f008") == was[b"d00/f008"]
    expected()
    soon(lambda: os.pread(held, 10, 0) == original[b"d00/f003"][:5] + b"map" + original[b"d00/f003"][8:10])
    os.close(held)
    m.umount()
    m = m.again("-o", "offline")
    expected()


def test_programs_and_maps(lacunafs, mount, scratch, serve):
    tree = make_small(scratch / "tree", 20)
    with open("/bin/true", "rb") as f:
        trees.put(tree / "bin" / "true", f.read())
    os.chmod(tree / "bin" / "true", 0o755)
    published.publish(lacunafs, tree, packs=True)
    m = mount(serve(tree).url)
    assert subprocess.run([m / "bin" / "true"], check=False).returncode == 0
    with open(m / "d00" / "f011", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == text(11, 8192 + 11)
    assert m.program.run("seal", m / "d00" / "f012", "write").returncode == 0
    assert error_of(open, m / "d00" / "f012", "r+b") == errno.EPERM
    assert read(m.path, b"d00/f012") == text(12, 8192 + 12)
    assert m.status("d00/f011")["content"] == "complete"


@pytest.mark.sanitize
def test_fill_and_evict(lacunafs, mount, small, serve):
    published.publish(lacunafs, small, packs=True)
    server = serve(small)
    m = mount(server.url)
    assert m.program.run("fill", m.path).returncode == 0
    used = m.status()["space"]["used_bytes"]
    assert len(os.listdir(m.store / "state" / "packs")) == 1 and used > 800_000
    with open(m / "d00" / "f000", "rb") as f:
        f.read(1)
        done = m.program.run("evict", m / "d00" / "f001")
        assert done.returncode == 1 and "a file of its pack is open" in done.stderr
    soon(lambda: m.program.run("evict", m.path).returncode == 0)
    assert os.listdir(m.store / "state" / "packs") == []
    server.stop()
    assert error_of(read, m.path, b"d02/f050") == errno.EIO


def test_evict_asks_the_source(lacunafs, mount, small, serve):
    published.publish(lacunafs, small, packs=True)
    server = serve(small)
    m = mount(server.url, "-o", "retries=0")
    assert not wrong(small, m)
    server.lie("/.lacuna/objects/*", lying.status(404))
    soon(lambda: "does not confirm" in m.program.run("evict", m / "d00" / "f001").stderr)
    assert len(os.listdir(m.store / "state" / "packs")) == 1


@pytest.mark.sanitize
def test_more_than_the_disk_holds(volume, lacunafs, mount, serve, scratch):
    """Packs are evicted for others; each byte is right, and no reader gets an error."""
    tree = make_small(scratch / "tree", 320, 120_000)  # five packs
    published.publish(lacunafs, tree, packs=True)
    v = volume("ext4", 32)
    m = mount(serve(tree).url, "-o", "quota=16M,min_free=0", store=v.path / "store")
    assert not wrong(tree, m)
    assert not wrong(tree, m)
    assert m.status()["space"]["evicted_bytes"] > 16 * MIB


def test_damaged_at_rest(lacunafs, mount, small, serve):
    """After an unclean end of the machine, a pack's bytes are compared with their hashes."""
    published.publish(lacunafs, small, packs=True)
    m = mount(serve(small).url)
    assert not wrong(small, m)
    m.umount()
    (name,) = os.listdir(m.store / "state" / "packs")
    with open(m.store / "state" / "packs" / name, "r+b") as f:
        f.seek(3 * BLOCK + 100)
        f.write(b"damage")
    done = m.program.run("verify", m.store)
    assert done.returncode == 1 and f"state/packs/{name}" in done.stdout + done.stderr
    m = m.again("-o", "end_epoch")
    assert not wrong(small, m)


def test_new_version_under_a_mount(lacunafs, mount, small, serve):
    published.publish(lacunafs, small, packs=True)
    server = serve(small)
    m = mount(server.url, "-o", "listing_ttl=0")
    assert not wrong(small, m)
    held = os.open(m / "d01" / "f020", os.O_RDONLY)
    os.pread(held, 1, 0)
    trees.put(small / "d01" / "f020", text(999, 9000))
    trees.put(small / "d00" / "a-first-one", b"new\n")
    published.publish(lacunafs, small, packs=True)
    soon(lambda: (m / "d00" / "a-first-one").exists())
    os.close(held)
    soon(lambda: read(m.path, b"d01/f020") == text(999, 9000))
    assert not wrong(small, m)


def test_handlers_are_asked(lacunafs, mount, small, serve):
    """For each file, as for any other; of data that is there already, none is."""
    published.publish(lacunafs, small, packs=True)
    m = mount(serve(small).url)
    handler = handlers.Handler(m)
    assert handler.mark(handlers.MOUNT) == 0
    serving = handlers.Serving(handler, lambda event: (handlers.FETCH, 0))
    for n in (99, 3):
        assert read(m.path, b"d%02d/f%03d" % (n // 20, n)) == text(n, 8192 + n)
    assert {path for path, *_ in serving.take()} == {"d04/f099", "d00/f003"}
    serving.stop()
    m = mount(serve(small).url)
    assert not wrong(small, m)
    handler = handlers.Handler(m)
    assert handler.mark(handlers.MOUNT) == 0
    serving = handlers.Serving(handler, lambda event: (handlers.DENY, errno.EPERM))
    assert not wrong(small, m) and serving.take() == []
    serving.stop()


@pytest.mark.sanitize
def test_the_worker_dies_while_a_pack_comes(lacunafs, mount, small, serve):
    published.publish(lacunafs, small, packs=True)
    server = serve(small)
    m = mount(server.url, "-o", "keeper=auto", "-o", PATIENT)
    os.listdir(m / "d00")
    server.lie("/.lacuna/objects/*", lying.delay(1), times=2)
    results = []
    readers = [threading.Thread(target=lambda n=n: results.append(read(m.path, b"d00/f%03d" % n) == text(n, 8192 + n)))
               for n in range(4)]
    for r in readers:
        r.start()
    assert processes.wait_until(lambda: objects_asked(server))
    die(m)
    for r in readers:
        r.join(60)
    assert results == [True] * 4 and m.status()["takeovers"] == 1
    assert not wrong(small, m)


@pytest.mark.sanitize
def test_readers_and_writers(lacunafs, mount, small, serve, seed):
    """A file that gets its local file while others read it from the pack: no reader sees a byte that
    is neither the old nor the new one."""
    published.publish(lacunafs, small, packs=True)
    m, choose = mount(serve(small).url), random.Random(seed)
    bad, stop = [], threading.Event()

    def look():
        mine = random.Random(choose.random())
        while not stop.is_set():
            n = mine.randrange(40)
            was, now = text(n, 8192 + n), read(m.path, b"d%02d/f%03d" % (n // 20, n))
            if len(now) != len(was) or any(a != b and a != 0x21 for a, b in zip(now, was)):
                bad.append(n)
    readers = [threading.Thread(target=look) for _ in range(3)]
    for r in readers:
        r.start()
    for n in range(40):
        with open(m / f"d{n // 20:02}" / f"f{n:03}", "r+b") as f:
            f.seek(choose.randrange(8000))
            f.write(b"!" * 100)
    stop.set()
    for r in readers:
        r.join()
    assert bad == []
