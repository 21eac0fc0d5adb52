# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Several servers with one tree: --mirror."""
import errno
import os
import shutil
import time

import pytest

import lying
import trees
from outcomes import error_of
from processes import wait_until

SIZE = 4 << 20


def make_tree(path, salt=b""):
    path.mkdir()
    (path / "d").mkdir()
    (path / "big").write_bytes(trees.noise(salt.hex() or "x", SIZE))
    (path / "d" / "f").write_bytes(b"content of f" + salt)
    for name in ("big", "d/f"):
        os.utime(path / name, (1_600_000_000, 1_600_000_000))
    return path


@pytest.fixture
def pair(scratch, serve):
    """Two servers of one tree: their ETags and times agree."""
    root = make_tree(scratch / "tree")
    return root, serve(root), serve(root)


def quick(*more):
    """Timers of seconds become those of a test."""
    return ("-o", ",".join(("mirror_retry=200ms", "readahead=0", *more)))


def state(m):
    return [x["state"] for x in m.status()["mirrors"]]


@pytest.mark.sanitize
def test_first_mirror_is_dead_at_mount(mount, pair):
    root, a, b = pair
    a.stop()
    m = mount(a.url, "--mirror", b.url, *quick())
    assert (m / "big").read_bytes() == (root / "big").read_bytes()
    assert (m / "d" / "f").read_bytes() == (root / "d" / "f").read_bytes()
