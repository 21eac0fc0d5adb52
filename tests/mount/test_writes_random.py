# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""random_ops.py for a minute, or for LACUNAFS_RANDOM_SECONDS; the seed is printed, and taken with
--seed."""
import os
import random

import pytest

import random_ops

SECONDS = float(os.environ.get("LACUNAFS_RANDOM_SECONDS", 0))


def seed_of(request):
    seed = request.config.getoption("seed")
    return random.SystemRandom().randrange(1 << 31) if seed is None else seed


@pytest.mark.sanitize
@pytest.mark.patience(300 + SECONDS)
@pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and another user take root")
def test_random_writes(lacunafs, scratch, request, variant):
    seed = seed_of(request)
    print(f"seed {seed}: random_ops.py --seed {seed}")
    seconds = SECONDS or (60 if variant == "plain" else 20)
    assert random_ops.torture(lacunafs, scratch, seed, seconds) >= 2


def test_the_test(scratch, request):
    """Two native trees agree: what differs elsewhere is not the test's doing."""
    seed = seed_of(request)
    print(f"seed {seed}: random_ops.py --native --seed {seed}")
    assert random_ops.torture(None, scratch, seed, 2, 200,
                              lambda s: random_ops.Plain(s, scratch / "plain")) >= 1
