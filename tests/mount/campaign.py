# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What the campaigns' command lines share: --seconds, --seed, --build, --variant."""
import argparse
import contextlib
import pathlib
import random
import shutil
import sys
import tempfile

import mounting
import processes


def parser(description):
    """`description`: the script's; its first line is shown."""
    p = argparse.ArgumentParser(description=description.splitlines()[0])
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--seed", type=int)
    p.add_argument("--build", default="build")
    p.add_argument("--variant", choices=["plain", "asan", "tsan"], default="plain")
    return p


def seed_of(args):
    """The seed to use, which is printed."""
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}", flush=True)
    return seed


@contextlib.contextmanager
def program(args, name):
    """A mounting.Program with a directory of its own, both of which end with the block; then what
    was wrong with its mounts ends the script."""
    processes.adopt()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"lacunafs-{name}-"))
    scratch.chmod(0o755)
    made, wrong = mounting.Program(args.build, args.variant, scratch), []
    try:
        yield made
    finally:
        wrong = made.close()
        shutil.rmtree(scratch, ignore_errors=True)
    if wrong:
        sys.exit("\n".join(wrong))
