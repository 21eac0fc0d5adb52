#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The worker is killed before every single change that every operation makes of the store, and the
next one takes over: each step works as if nothing had happened, and is done once. Or before every
answer: the step is done, and nobody knows. The rows are those of crash_points.py.

By hand: worker_points.py [--build DIR] [--rows REGEX] [--replies]
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import crash_points  # noqa: E402
import crashing  # noqa: E402
import faults  # noqa: E402
import mounting  # noqa: E402
import processes  # noqa: E402


class Campaign(crashing.Campaign):
    kind, what = faults.KILL_ONCE, None

    def run(self, row, d, at, torn=False, epoch=False):
        """→ how many calls were seen, and the one that the worker died before."""
        kept = row.prepare(d)
        self.faults.set(self.kind, left=at - 1)
        _, failed = crashing.steps_of(row, d)
        seen, call = self.faults.clear()
        call = self.what or call
        for fd in kept or ():
            os.close(fd)
        if failed:
            raise crashing.Wrong(f"{row.name}: {failed!r} as the worker died before step {at} "
                                 f"({call})")
        return len(row.steps), seen, call

    def point(self, i, row, at):
        d = self.mounted / f"p{i}"
        _, _, call = self.run(row, str(d), at)
        what = f"{row.name}, the worker died before call {at} ({call})"
        self.check(d, self.allowed[row.name][-1:], what)
        try:
            crashing.work_on(d)
        except (OSError, AssertionError, subprocess.SubprocessError) as e:
            raise crashing.Wrong(f"{what}: working on: {e!r}") from None

    def torture(self, choose=None, most=None):
        """→ how many points, and what was wrong. `most`: a random choice of them."""
        points = [(row, at) for row, n in
                  zip(self.rows, map(self.count().get, (r.name for r in self.rows)))
                  for at in range(1, n + 1)]
        if most and len(points) > most:
            points = choose.sample(points, most)
        for i, (row, _) in enumerate(points):
            self.fixture(row, self.source / f"p{i}")
        self.mount("-o", "keeper=auto")
        wrong = []
        for i, (row, at) in enumerate(points):
            try:
                self.point(i, row, at)
            except crashing.Wrong as e:
                wrong.append(str(e))
        self.faults.clear()
        # what may be in use goes after a while (doubt.h)
        processes.wait_until(lambda: not crashing.leftovers(self.mounted.store), 20)
        left = crashing.leftovers(self.mounted.store)
        if left:
            wrong.append(f"left in the store: {left}")
        deaths = self.mounted.status()["takeovers"]
        if deaths < len(points) / 2:
            wrong.append(f"only {deaths} deaths at {len(points)} points")
        self.mounted.umount()
        return len(points), wrong


class Replies(Campaign):
    """Points before answers. How many there are differs a little from run to run: the kernel
    releases files when it likes."""

    kind, what = faults.REPLY, "answer"

    def __init__(self, program, scratch, rows):
        super().__init__(program, scratch, rows)
        self.faults = faults.Unanswered(program.scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rows", default="", help="regular expression of names")
    parser.add_argument("--replies", action="store_true", help="before answers, not changes")
    args = parser.parse_args()
    kind = Replies if args.replies else Campaign
    processes.adopt()
    found, started, bad, tried = crash_points.rows(args.rows), time.monotonic(), 0, 0
    for at in range(0, len(found), crash_points.BATCH):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-worker-"))
        scratch.chmod(0o755)
        program = mounting.Program(args.build, "plain", scratch)
        try:
            n, wrong = kind(program, scratch, found[at:at + crash_points.BATCH]).torture()
        finally:
            wrong = wrong + program.close()
            shutil.rmtree(scratch, ignore_errors=True)
        print("\n".join(wrong), flush=True)
        tried, bad = tried + n, bad + len(wrong)
        print(f"{min(at + crash_points.BATCH, len(found))} of {len(found)} rows, {tried} points, "
              f"{bad} wrong, {time.monotonic() - started:.0f} s", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
