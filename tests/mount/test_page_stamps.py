# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""page_stamps.py: what it takes for right is what a local file system does, and so does a mount."""
import os
import random

import pytest

import page_stamps


def seed_of(request):
    seed = request.config.getoption("seed")
    if seed is None:
        seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}: page_stamps.py --seed {seed}")
    return seed


def test_native(scratch, request):
    rounds, counts = page_stamps.torture(None, scratch, seed_of(request), 5, sources=("dir",))
    assert rounds and counts["pages"] > 1000 and counts["writes"] > 100


@pytest.mark.sanitize
@pytest.mark.patience(400)
def test_campaign(lacunafs, variant, scratch, request):
    """A minute of everything at once; what is wrong is told with the seed."""
    seconds = float(os.environ.get("LACUNAFS_STAMPS", 45 if variant == "plain" else 20))
    rounds, counts = page_stamps.torture(lacunafs, scratch / "stamps", seed_of(request), seconds)
    assert rounds > 1 and counts["pages"] > 1000 and counts["writes"] > 10, counts
