# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The session's loop."""
import contextlib
import os
import time

import processes
import trees


def reads(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        return int(dict(line.split(": ") for line in f)["syscr"])


def test_spins_while_requests_come_fast(mount, tree):
    """And not when they are farther apart than it may spin."""
    m = mount(tree, "-o", "threads=2")
    os.listdir(m.path)

    def reads_for_one(pause):
        before = reads(m.worker())
        for _ in range(50):
            os.statvfs(m.path)
            time.sleep(pause)
        return (reads(m.worker()) - before) / 50

    # where others have the processors there is nothing to spin on: in some round it does
    assert processes.wait_until(lambda: reads_for_one(0) > 10, 60)
    assert processes.wait_until(lambda: reads_for_one(0.01) < 8, 60)  # it finds out


def test_more_files_than_a_shell_allows(mount, serve, scratch):
    """Open and not whole, with the usual limit of the shell scaled down."""
    for i in range(100):
        trees.put(scratch / "source" / f"f{i}", b"x" * 200_000)
    server = serve(scratch / "source")
    m = mount(server.url, "-o", "readahead=0", prefix=("prlimit", "--nofile=64:4096"))
    with contextlib.ExitStack() as opened:
        for i in range(100):
            f = opened.enter_context(open(m / f"f{i}", "rb", buffering=0))
            assert os.pread(f.fileno(), 1, 150_000) == b"x"
