# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""random_io.py for 40 seconds, random_lies.py for 25, random_mirrors.py for 6; the seed is printed,
and taken with --seed."""
import random

import pytest

import random_io
import random_lies
import random_mirrors


def seed_of(request, script, variant=None):
    """Chosen by --seed, or at random; told with the command that repeats it."""
    seed = request.config.getoption("seed")
    if seed is None:
        seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}: {script} --seed {seed}" + (f" --variant {variant}" if variant else ""))
    return seed


@pytest.mark.sanitize
@pytest.mark.patience(300)
def test_random(lacunafs, serve, request, variant):
    seed = seed_of(request, "random_io.py")
    seconds = 40 if variant == "plain" else 20
    assert random_io.torture(lacunafs, serve, seed, seconds) >= 2


@pytest.mark.sanitize
@pytest.mark.patience(400)
def test_random_lies(lacunafs, request, variant):
    seed = seed_of(request, "random_lies.py", variant)
    assert random_lies.torture(lacunafs, seed, 25 if variant == "plain" else 15) >= 1


@pytest.mark.sanitize
@pytest.mark.patience(300)
def test_random_mirrors(lacunafs, request, variant):
    seed = seed_of(request, "random_mirrors.py", variant)
    random_mirrors.torture(lacunafs, seed, 6 if variant == "plain" else 4)
