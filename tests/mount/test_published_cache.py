# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A cache between a published tree and many mounts: the origin sends each object once."""
import collections
import subprocess

import published
import servers
import trees

MOUNTS = 20


def test_the_origin_sends_each_object_once(lacunafs, mount, scratch, serve, web):
    """While all of them read all of it at the same time."""
    tree = scratch / "tree"
    for n in range(40):
        trees.put(tree / "d" / f"small{n}", trees.noise(n, 3000 * n))
    trees.put(tree / "large", trees.noise(99, 3 << 20))
    index = published.Index(tree) if lacunafs.run("publish", tree).returncode == 0 else None
    origin = serve(tree)
    cache = web(servers.Cache, tree, origin=origin.url.rstrip("/"))
    mounts = [mount(cache.url) for _ in range(MOUNTS)]
    readers = [subprocess.Popen(["diff", "-r", "--exclude=.lacuna", tree, m.path]) for m in mounts]
    assert [reader.wait() for reader in readers] == [0] * MOUNTS
    asked = collections.Counter(r.path for r in list(origin.requests))
    assert 1 <= asked.pop("/.lacuna/head") <= 2 * MOUNTS
    assert set(asked.values()) == {1}, asked
    assert asked[f"/.lacuna/{index.path.name}"] == 1 and asked["/large"] == 1
    assert not [path for path in asked if path.endswith("/")]
