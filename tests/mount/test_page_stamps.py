# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""page_stamps.py for a minute; the seed is printed, and taken with --seed."""
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
    """What it takes for right is what a local file system does."""
    rounds, counts = page_stamps.torture(None, scratch, seed_of(request), 5, sources=("dir",))
    assert rounds and counts["pages"] > 1000 and counts["writes"] > 100


@pytest.mark.sanitize
@pytest.mark.patience(400)
@pytest.mark.skipif(os.geteuid() != 0, reason="without passthrough half of it is missing")
def test_mount(lacunafs, scratch, request, variant):
    seconds = 60 if variant == "plain" else 20
    rounds, counts = page_stamps.torture(lacunafs, scratch / "stamps", seed_of(request), seconds)
    assert rounds >= 2 and counts["pages"] > 1000 and counts["writes"] > 100, counts
