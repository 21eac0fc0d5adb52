# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A tree on two servers, for the tests of --mirror."""
import os

import pytest

import trees

SIZE = 4 << 20
THEN = 1_600_000_000


def make_tree(path, seed=1, then=THEN):
    trees.put(path / "big", trees.noise(seed, SIZE), then)
    for n in range(8):
        trees.put(path / "d" / f"f{n}", trees.noise(seed * 100 + n, 1000), then)
    return path


@pytest.fixture
def pair(scratch, serve):
    """Two servers of one tree: their ETags and times agree."""
    root = make_tree(scratch / "tree")
    return root, serve(root), serve(root)


def quick(*more):
    """Timers of seconds become those of a test."""
    return "-o", ",".join(("mirror_retry=100ms", "readahead=0", *more))


def states(m):
    return [x["state"] for x in m.status()["mirrors"]]


def read_at(path, offset, length=4096):
    with open(path, "rb", buffering=0) as f:
        return os.pread(f.fileno(), length, offset)
