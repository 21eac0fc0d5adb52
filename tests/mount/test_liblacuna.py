# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The library against real mounts: attaching, marks by path, who takes over."""
import errno
import os
import select
import subprocess

import pytest

import lacuna
import processes
import trees
from lacuna import ADD, CHILDREN, FILE, FLUSH, IGNORE, MOUNT, REMOVE

NAMES = ["top", "d/one", "d/two", "d/e/deep"]
# less than a pipe holds: readers end by themselves


@pytest.fixture
def library(request, lacunafs):
    for name in ("XDG_RUNTIME_DIR",):  # where the mounts of this test are looked for
        os.environ[name] = lacunafs.env[name]
    return lacuna.load(request.config.getoption("build"))


@pytest.fixture
def origin(scratch):
    for i, name in enumerate(NAMES):
        trees.put(scratch / "origin" / name, trees.noise(i, 60_000))
    return scratch / "origin"


@pytest.fixture
def attach(library):
    """attach(path, …) → a lacuna.Handler, closed at the end."""
    made = []

    def start(path, **options):
        made.append(lacuna.Handler(library, path, **options))
        return made[-1]
    yield start
    for h in made:
        h.close()


class Reader:
    """A process that reads a file."""

    def __init__(self, path):
        self.process = subprocess.Popen(["cat", path], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def result(self):
        out, err = self.process.communicate(timeout=20)
        return out if self.process.returncode == 0 else err


def evicted(m):
    """From the page cache, too."""
    for name in NAMES:
        with open(m / name, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    # their closing is not waited for by close(2)
    assert processes.wait_until(lambda: m.program.run("evict", m.path).returncode == 0)


def asked_for(h, m, origin):
    """The names, of all, whose first read asks this handler; all of them are read, and left."""
    found = []
    for name in NAMES:
        reader = Reader(m / name)
        while reader.process.poll() is None:
            r = h.next(10)
            if not isinstance(r, int):
                found.append(r.path.decode())
                assert h.respond(r, lacuna.FETCH) == 0
        assert reader.result() == (origin / name).read_bytes()
    evicted(m)
    return found


def test_marks(mount, origin, attach):
    m = mount(origin)
    h = attach(m.path)
    ino = (m / "d/one").stat().st_ino
    assert h.inherited == 0
    assert asked_for(h, m, origin) == []
    assert h.mark(ADD, FILE, m / "d/one") == 0
    assert asked_for(h, m, origin) == ["d/one"]
    assert h.mark(ADD, CHILDREN, m.path) == 0
    assert asked_for(h, m, origin) == ["top", "d/one"]
    assert h.mark(ADD, CHILDREN, m / "d") == 0
    assert h.mark(REMOVE, FILE, m / "d/one") == 0
    assert h.mark(REMOVE, FILE, m / "d/one") == -errno.ENOENT
    assert h.mark(ADD | IGNORE, FILE, m / "d/two") == 0
    assert asked_for(h, m, origin) == ["top", "d/one"]
    assert h.mark(FLUSH, CHILDREN) == 0
    assert asked_for(h, m, origin) == []
    assert h.mark(ADD, MOUNT) == 0
    assert asked_for(h, m, origin) == ["top", "d/one", "d/e/deep"]
    assert h.mark(REMOVE | IGNORE, FILE, m / "d/two") == 0
    assert h.mark_ino(ADD | IGNORE, FILE, ino) == 0
    assert asked_for(h, m, origin) == ["top", "d/two", "d/e/deep"]
    assert h.mark(FLUSH, FILE) == 0
    assert asked_for(h, m, origin) == NAMES
    assert h.mark(REMOVE, MOUNT) == 0
    with open(m / "top", "rb") as f:
        assert h.mark_fd(ADD, FILE, f.fileno()) == 0
    assert asked_for(h, m, origin) == ["top"]


def test_mark_errors(mount, origin, attach):
    m = mount(origin)
    h = attach(m.path)
    assert h.mark(ADD, FILE, m / "none") == -errno.ENOENT
    assert h.mark(ADD, FILE, m / "d") == -errno.EISDIR
    assert h.mark(ADD, CHILDREN, m / "top") == -errno.ENOTDIR
    assert h.mark(ADD, FILE, origin / "top") == -errno.EXDEV
    assert h.mark(REMOVE, MOUNT) == -errno.ENOENT
    assert h.mark(ADD | REMOVE, MOUNT) == -errno.EINVAL
    assert h.mark_fd(ADD, FILE, 9999) == -errno.EBADF


def test_bringing(mount, origin, attach):
    """What the handler brings is what is read, and stays."""
    m = mount(origin, "-o", "chunk_size=4K")
    h = attach(m.path)
    assert h.mark(ADD, MOUNT) == 0
    reader, other = Reader(m / "top"), b"other bytes\n" * 5_000
    while reader.process.poll() is None:
        if select.select([h.fd()], [], [], 0.01)[0]:
            r = h.next(0)
            if isinstance(r, int):
                continue
            assert (r.path, r.size, r.operation) == (b"top", 60_000, 1)
            assert r.offset % 4096 == 0 and r.offset + r.length <= 60_000
            os.pwrite(r.fd, other[r.offset:r.offset + r.length], r.offset)
            assert h.respond(r, lacuna.ALLOW) == 0
    assert reader.result() == other[:60_000]
    h.close()
    assert processes.apart((m / "top").read_bytes) == other[:60_000]


@pytest.mark.parametrize("verdict, code, seen", [
    (lacuna.DENY, 0, "not permitted"), (lacuna.DENY, errno.ENOSPC, "No space"),
    (lacuna.ALLOW, 0, "Input/output")])
def test_denied(mount, origin, attach, verdict, code, seen):
    m = mount(origin)
    h = attach(m.path)
    assert h.mark(ADD, MOUNT) == 0
    reader = Reader(m / "top")
    r = h.next()
    assert h.respond(r, lacuna.DENY, errno.ENOENT) == -errno.EINVAL
    assert h.respond(r, verdict, code) == 0
    while reader.process.poll() is None:  # cat asks again for a shorter piece of what failed
        r = h.next(10)
        if not isinstance(r, int):
            h.respond(r, verdict, code)
    assert seen in reader.result().decode()
    h.next(100)
    assert (h.refusals() > 0) == (verdict == lacuna.ALLOW)
    h.close()
    assert Reader(m / "top").result() == (origin / "top").read_bytes()


def test_takeover(mount, origin, attach):
    """By its name, with its marks and what it left unanswered."""
    m = mount(origin)
    first = attach(m.path, name="me")
    with pytest.raises(OSError) as error:
        attach(m.path, name="me")
    assert error.value.errno == errno.EBUSY
    assert attach(m.path, name="you").inherited == 0
    assert first.mark(ADD, FILE, m / "top") == 0
    reader = Reader(m / "top")
    left = first.next()
    number = left.id
    first.close(lost=1)
    assert attach(m.path).inherited == 0, "it has no name"
    second = attach(m.path, name="me")
    assert second.inherited == 1
    r = second.next()
    assert (r.id, r.flags, r.path) == (number, 1, b"top")
    assert second.respond(r, lacuna.FETCH) == 0
    assert reader.result() == (origin / "top").read_bytes()
    second.close()  # of its own will: the name is free, and nobody is asked
    third = attach(m.path, name="me")
    assert third.inherited == 0
    assert Reader(m / "d/one").result() == (origin / "d/one").read_bytes()


def test_leaves_with_events(mount, origin, attach):
    """What was handed out, and what was not even read, comes from the source."""
    m = mount(origin)
    h = attach(m.path)
    assert h.mark(ADD, MOUNT) == 0
    readers = {name: Reader(m / name) for name in NAMES}
    h.next()
    h.close()
    for name, reader in readers.items():
        assert reader.result() == (origin / name).read_bytes()


def test_given_up(mount, origin, attach):
    """Who takes too long learns it, and another one gets what he had."""
    m = mount(origin, "-o", "handler_timeout=300ms")
    slow = attach(m.path, name="me")
    assert slow.mark(ADD, MOUNT) == 0
    reader = Reader(m / "top")
    kept = slow.next()
    assert slow.next(5000) == -errno.ECONNRESET
    assert slow.respond(kept, lacuna.FETCH) == -errno.ECONNRESET
    quick = attach(m.path, name="me")
    assert quick.inherited == 1
    r = quick.next()
    assert (r.path, r.flags) == (b"top", 1)
    assert quick.respond(r, lacuna.FETCH) == 0
    assert reader.result() == (origin / "top").read_bytes()


def test_mount_goes(mount, origin, attach):
    m = mount(origin)
    h = attach(m.path)
    m.umount()
    assert h.next() == -errno.ECONNRESET
    assert h.mark(ADD, MOUNT) == -errno.ECONNRESET


def test_stop(mount, origin, attach):
    h = attach(mount(origin).path)
    h.stop()
    assert select.select([h.fd()], [], [], 0)[0]
    assert h.next() == -errno.ESHUTDOWN
    assert h.mark(ADD, MOUNT) == -errno.ESHUTDOWN


def failure(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


def test_attach_errors(mount, origin, library, scratch):
    m = mount(origin)

    def attach(path, **options):
        return failure(lambda: lacuna.Handler(library, path, **options).close())
    assert attach(scratch / "none") == errno.ENOENT
    assert attach(scratch) == errno.ENOTTY
    for wrong in ({"mode": 2}, {"class_": 2}, {"name": ""}, {"name": "x" * 64}, {"name": "\t"},
                  {"size": 8}, {"backlog": 1_000_001}):
        assert attach(m.path, **wrong) == errno.EINVAL, wrong
    assert attach(m / "d/e/deep", name="x" * 63, backlog=1, mode=lacuna.EVERY, class_=1) == 0


def test_too_many(mount, origin, attach):
    m = mount(origin)
    handlers = [attach(m.path) for _ in range(24)]
    assert failure(lambda: attach(m.path)) == errno.EAGAIN
    assert m.status()["handlers"], "others are still answered"
    handlers[7].close()
    assert processes.wait_until(lambda: failure(lambda: attach(m.path)) == 0)


def test_strangers(mount, origin, library, scratch):
    """Another user sees the mount, and is not let near its handlers."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    m = mount(origin, "-o", "allow_other")

    def stranger():
        os.setgid(65534), os.setuid(65534)
        os.stat(m.path)
        return failure(lambda: lacuna.Handler(library, m.path))
    assert processes.apart(stranger) == errno.EACCES


def test_owner_and_root(mount, origin, library, lacunafs, nobody):
    """Both may attach; root's way to the socket is the owner's."""
    lacunafs.give(nobody)
    m = mount(origin, user=nobody, env={"XDG_RUNTIME_DIR": ""})

    def attach(uid):
        os.environ["XDG_RUNTIME_DIR"] = ""
        os.setgid(uid), os.setuid(uid)
        return failure(lambda: lacuna.Handler(library, m.path).close())
    assert processes.apart(lambda: attach(nobody)) == 0
    # although the kernel lets root look at nothing in there
    assert failure(lambda: os.stat(m / "top")) == errno.EACCES
    assert processes.apart(lambda: attach(0)) == 0
