# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The session's loop."""
import os
import time


def reads(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        return int(dict(line.split(": ") for line in f)["syscr"])


def test_spins_after_each_request(mount, tree):
    """Not after the first alone: most requests come right after another one."""
    m = mount(tree, "-o", "spin=1000us,threads=2")
    os.listdir(m.path)
    for _ in range(50):
        os.statvfs(m.path)
    before = reads(m.pid)
    for _ in range(20):
        os.statvfs(m.path)
        time.sleep(0.005)
    assert reads(m.pid) - before > 20 * 10
