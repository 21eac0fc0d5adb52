# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""random_io.py for 40 seconds, random_lies.py for 25, random_mirrors.py for 6; the seed is printed,
and taken with --seed."""
import pytest

import random_io
import random_lies
import random_mirrors


@pytest.mark.sanitize
@pytest.mark.patience(300)
def test_random(lacunafs, serve, seed, variant):
    seconds = 40 if variant == "plain" else 20
    assert random_io.torture(lacunafs, serve, seed, seconds) >= 2


@pytest.mark.sanitize
@pytest.mark.patience(400)
def test_random_lies(lacunafs, seed, variant):
    assert random_lies.torture(lacunafs, seed, 25 if variant == "plain" else 15) >= 1


@pytest.mark.sanitize
@pytest.mark.patience(300)
def test_random_mirrors(lacunafs, seed, variant):
    random_mirrors.torture(lacunafs, seed, 6 if variant == "plain" else 4)
