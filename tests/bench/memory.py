# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What one inode that the kernel knows costs the daemon."""
import statistics
import time

import machine

FIELDS = ("VmRSS", "Pss", "Private_Dirty", "Anonymous")


def measure(scratch, origin, column, runs):
    """Bytes, medians. Before: mounted, nothing looked at. After: everything walked and stat'ed."""
    found = []
    with origin.many():
        for _ in range(runs):
            column.start("many")
            try:
                before = machine.resident(column.child.pid)
                ns = scratch.tool("walk", "stat", column.path)[0]
                time.sleep(0.5)
                inodes = column.status()["inodes"]
                after = machine.resident(column.child.pid)
                found.append((before, after, inodes, int(ns) / 1e9))
            finally:
                column.stop()
    middle = lambda values: statistics.median(list(values))
    return {"inodes": found[0][2], "seconds": middle(f[3] for f in found),
            "before": {k: middle(f[0][k] for f in found) for k in FIELDS},
            "after": {k: middle(f[1][k] for f in found) for k in FIELDS},
            "per_100000": {k: middle((f[1][k] - f[0][k]) * 100000 / f[2] for f in found)
                           for k in FIELDS}}
