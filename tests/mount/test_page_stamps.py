# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""page_stamps.py: what it takes for right is what a local file system does, and so does a mount."""
import os

import pytest

import page_stamps


def test_native(scratch, seed):
    least = {"pages": 1001, "writes": 101}
    _, counts = page_stamps.torture(None, scratch, seed, 5, sources=("dir",), least=least)
    assert all(counts[name] >= n for name, n in least.items()), counts


@pytest.mark.sanitize
@pytest.mark.patience(400)
def test_campaign(lacunafs, variant, scratch, seed):
    """A minute of everything at once; what is wrong is told with the seed."""
    seconds = float(os.environ.get("LACUNAFS_STAMPS", 45 if variant == "plain" else 20))
    least = {"pages": 1001, "writes": 11}
    _, counts = page_stamps.torture(lacunafs, scratch / "stamps", seed, seconds, least=least)
    assert all(counts[name] >= n for name, n in least.items()), counts
