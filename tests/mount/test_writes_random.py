# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""random_ops.py for half a minute, remounts, kill -9, evictions and refreshes included; the seed is
printed, and taken with --seed."""
import os

import pytest

import random_ops


@pytest.mark.patience(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes a user, and makes devices")
def test_random(lacunafs, scratch, seed):
    work = scratch / "work"
    work.mkdir(mode=0o755)
    assert random_ops.torture(lacunafs, work, seed, 35) >= 2
