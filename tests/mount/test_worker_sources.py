# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A worker takes over mounts of other kinds: read-only, of a published tree, with mirrors."""
import errno
import os

import pytest

import published
import trees
from dying import PATIENT, die
from mirrored import SIZE, make_tree, quick
from outcomes import error_of


class Reading:
    """A file and a directory that are read in part."""

    def __init__(self, file, directory):
        self.file = open(file, "rb", buffering=0)
        self.data = self.file.read(5000)
        self.names = os.scandir(directory)
        self.seen = [next(self.names).name for _ in range(5)]

    def rest(self):
        with self.file, self.names:
            while piece := self.file.read(1 << 20):
                self.data += piece
            return self.data, sorted(self.seen + [e.name for e in self.names])


def make_wide(path):
    trees.put(path / "f", trees.noise(1, 5 * published.BLOCK + 100))
    for n in range(400):
        trees.put(path / "d" / f"name-{n:04}-{'x' * 40}", b"%d" % n)
    return path


@pytest.mark.sanitize
def test_read_only(mount, serve, scratch):
    root = make_wide(scratch / "tree")
    m = mount(serve(root).url, "-o", f"ro,{PATIENT}")
    reading = Reading(m / "f", m / "d")
    directory = os.open(m / "d", os.O_RDONLY)
    name = sorted(os.listdir(root / "d"))[0]
    changes = [lambda: os.unlink(name, dir_fd=directory), lambda: os.mkdir("new", dir_fd=directory),
               lambda: os.fchmod(reading.file.fileno(), 0o600),
               lambda: os.rename(name, "x", src_dir_fd=directory, dst_dir_fd=directory),
               lambda: os.setxattr(reading.file.fileno(), "user.x", b"1"),
               lambda: os.open(m / "f", os.O_RDWR)]
    for change in changes:
        die(m)
        assert error_of(change) == errno.EROFS
    assert reading.rest() == ((root / "f").read_bytes(), sorted(os.listdir(root / "d")))
    os.close(directory)
    assert m.status()["takeovers"] == len(changes)


@pytest.mark.sanitize
def test_published(lacunafs, mount, serve, scratch):
    """The index is in the store: nothing is asked for again but data, and that is still verified."""
    root = make_wide(scratch / "tree")
    trees.put(root / "bad", trees.noise(2, 3 * published.BLOCK))
    published.publish(lacunafs, root)
    server = serve(root)
    m = mount(server.url, "-o", PATIENT)
    reading = Reading(m / "f", m / "d")
    die(m)
    assert reading.rest() == ((root / "f").read_bytes(), sorted(os.listdir(root / "d")))
    name = sorted(os.listdir(root / "d"))[7]
    assert os.stat(m / "d" / name).st_mtime_ns == os.stat(root / "d" / name).st_mtime_ns
    then = os.stat(root / "bad").st_mtime_ns
    (root / "bad").write_bytes(trees.noise(3, 3 * published.BLOCK))
    os.utime(root / "bad", ns=(then, then))
    die(m)
    assert error_of(lambda: (m / "bad").read_bytes()) == errno.EIO
    assert "block 0" in m.log()
    assert (m / "d" / name).read_bytes() == (root / "d" / name).read_bytes()
    asked = [r.path for r in list(server.requests)]
    assert not [path for path in asked if path.endswith("/")]
    assert sum(path.startswith("/.lacuna/index") for path in asked) == 1


@pytest.mark.sanitize
def test_mirrors(mount, serve, scratch):
    """The first mirror fails under one worker or the next: a file that is open goes on."""
    root = make_tree(scratch / "tree")
    a, b = serve(root), serve(root)
    m = mount(a.url, "--mirror", b.url, *quick("retries=0", PATIENT))
    reading = Reading(m / "big", m / "d")
    a.stop()
    die(m)
    reading.data += reading.file.read(SIZE // 2)
    die(m)
    assert reading.rest() == ((root / "big").read_bytes(), sorted(os.listdir(root / "d")))
    assert all((m / "d" / f"f{n}").read_bytes() == (root / "d" / f"f{n}").read_bytes()
               for n in range(8))
