# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Each way of misbehaviours.py: what a user sees, how soon, what the store keeps, and that it is
right once the server is honest. All of a group in one mount, side by side."""
import concurrent.futures
import errno
import os
import pathlib
import re
import time

import pytest

import misbehaviours
import trees
from misbehaviours import GROUPS, OPTIONS
from random_lies import slowness

CHUNK = trees.CHUNK
SIZE = 3 * CHUNK + 1234  # less than the kernel's and the daemon's read-ahead


def slug(way):
    return re.sub(r"\W+", "-", way.name).strip("-")


class World:
    """The truth, a server that misbehaves towards each file in its own way, and a mount."""

    def __init__(self, root, serve, group):
        self.group, self.ways, self.root = group, GROUPS[group], root
        self.listings = group == "listings"
        for n, way in enumerate(self.ways):
            if self.listings:
                for k in range(3):
                    trees.put(root / slug(way) / f"f{k}", trees.noise(n * 3 + k, 100))
            else:
                trees.put(root / slug(way), trees.noise(n, SIZE))
        self.server = serve(root, index="python" if group == "heads" else "json")
        for way in self.ways:
            methods = ("HEAD",) if group == "heads" else way.methods
            self.server.lie(f"/{slug(way)}{'/' if self.listings else ''}", way.lie, way.times, methods)

    def look(self, m, way):
        """0: all is as it should be; an errno; "wrong"."""
        path = pathlib.Path(m) / slug(way)
        try:
            if self.listings:
                right = sorted(os.listdir(path)) == ["f0", "f1", "f2"]
            else:
                right = path.read_bytes() == (self.root / slug(way)).read_bytes()
            return 0 if right else "wrong"
        except OSError as e:
            return e.errno

    def timed(self, m, way):
        began = time.monotonic()
        return self.look(m, way), time.monotonic() - began


def shown(seen):
    return errno.errorcode.get(seen, seen) if seen else "right"


def test_names_are_distinct():
    names = [slug(way) for ways in GROUPS.values() for way in ways]
    assert len(set(names)) == len(names) == misbehaviours.COUNT
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"{misbehaviours.COUNT} named ways" in readme


@pytest.mark.sanitize
@pytest.mark.parametrize("group", GROUPS)
def test_group(mount, serve, scratch, group):
    w = World(scratch / "truth", serve, group)
    m = mount(w.server.url, *OPTIONS)
    os.listdir(m.path)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda way: w.timed(m.path, way), w.ways))
    slower = slowness(m)
    wrong = [f"{way.name}: {shown(seen)} after {took:.1f} s"
             for way, (seen, took) in zip(w.ways, results)
             if seen not in way.sees or took > 2 * way.within * slower + 1]
    assert wrong == [], f"(this machine is {slower:.1f} times slower than an idle one)"
    # what the store has without the network is true
    w.server.stop()
    m.umount()
    m = m.again("-o", "offline")
    for way, (seen, _) in zip(w.ways, results):
        now = w.look(m.path, way)
        assert now == 0 if seen == 0 else now in (0, errno.EIO, errno.ENOENT), way.name
    m.umount()
    # nothing is latched
    w.server.honest()
    w.server.start()
    m = m.again("-o", "listing_ttl=0")
    for way in w.ways:
        if way.refresh:
            m.program.run("refresh", m / slug(way))
    assert [way.name for way in w.ways if w.look(m.path, way) != 0] == []
