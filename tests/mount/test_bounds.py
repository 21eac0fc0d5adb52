# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What servers and handlers send does not grow without bound, in memory or in the store."""
import errno
import os
import shutil

import handlers
import processes
import trees

THEN = 1_600_000_000


def stored(m):
    """The directories whose listings are stored, by st_ino."""
    return {int(path.name, 16) for path in (m.store / "state" / "dirs").glob("*/*")}


def number(path):
    return os.stat(path).st_ino


def test_listings_of_vanished_directories_go(mount, serve, scratch):
    """And of those below; one that was renamed, or has a local change, keeps its own."""
    root = scratch / "source"
    for name in ("gone/inner/deep", "from/sub", "changed", "stays/inner", "removed"):
        trees.put(root / name / "f", name.encode(), THEN)
    server = serve(root)
    m = mount(server.url, "-o", "listing_ttl=100ms")
    names = ("gone", "gone/inner", "gone/inner/deep", "from/sub", "changed", "stays/inner",
             "removed")
    for name in names:
        os.listdir(m / name)
    inos = {name: number(m / name) for name in names}
    assert processes.wait_until(lambda: set(inos.values()) <= stored(m))
    os.rename(m / "from/sub", m / "renamed")
    (m / "changed/local").write_bytes(b"local")
    shutil.rmtree(m / "removed")
    assert inos["removed"] not in stored(m)
    for name in ("gone", "from", "changed"):
        shutil.rmtree(root / name)
    trees.put(root / "new" / "f", b"new", THEN)
    assert m.program.run("refresh", m.path).returncode == 0
    assert "new" in os.listdir(m.path)
    gone = {inos[name] for name in ("gone", "gone/inner", "gone/inner/deep")}
    assert processes.wait_until(lambda: not gone & stored(m))
    kept = {inos[name] for name in ("from/sub", "changed", "stays/inner")}
    assert kept <= stored(m)
    m.umount()
    server.stop()
    m = m.again("-o", "offline")
    assert (m / "renamed").is_dir() and os.listdir(m / "stays/inner") == ["f"]
    assert (m / "changed/local").read_bytes() == b"local"


def test_directories_that_come_and_go(mount, serve, scratch):
    """Also while they are open, and when they come back."""
    root = scratch / "source"
    trees.put(root / "f", b"f", THEN)
    m = mount(serve(root).url, "-o", "listing_ttl=0")
    for n in range(6):
        name = f"d{n % 4}"
        trees.put(root / name / "f", b"f", THEN + n)
        assert sorted(os.listdir(m / name)) == ["f"]
        held = os.open(m / name, os.O_RDONLY)
        assert processes.wait_until(lambda: number(m / name) in stored(m))
        ino = number(m / name)
        shutil.rmtree(root / name)
        assert os.listdir(m.path) == ["f"]
        assert processes.wait_until(lambda: ino not in stored(m))
        os.close(held)
    assert processes.wait_until(lambda: len(stored(m)) == 1), stored(m)


def test_lost_handlers_have_a_bound(mount, scratch):
    """Each with a name of its own; a lost one can still be inherited, and one more be dismissed
    for another."""
    trees.put(scratch / "source" / "f", b"f")
    m = mount(scratch / "source")

    def attach(name):
        h = handlers.Handler(m, name=name)
        if "error" not in h.hello:
            assert h.mark(handlers.FILE, m / "f") == 0
        h.close()
        return h.hello.get("errno", 0)
    count, error = 0, 0
    while not error and count < 1000:
        processes.wait_until(lambda: all(h["state"] == "lost" for h in m.status()["handlers"]))
        for _ in range(16):  # attached ones have a lower bound
            error = error or attach(f"h{count}")
            count += not error
    assert error == errno.EAGAIN and count == 256
    assert attach("h3") == 0
    assert m.program.run("handlers", m.path, "--dismiss", "h7").returncode == 0
    assert attach("another") == 0
