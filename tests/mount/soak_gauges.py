# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a daemon at rest holds, and whether it grows from cycle to cycle.

Shape:   take() → {gauge: number}; a series has one of them a cycle, the warm-up first
Units:   KiB for memory; numbers and bytes for all else
Verdict: a gauge of EXACT is what it was after the warm-up, or less, after each cycle. Any other may
         move, and come to rest higher than it began (a pool's threads, blocks between malloc's), but
         not rise without end: flattens()
"""
import collections
import os
import pathlib
import re
import subprocess

import processes

# Directories of state/ that have a file for each object; `gone` and `dirs` by directory.
PER_OBJECT = ("dirs", "maps", "dirty", "links", "origins", "gone", "owners", "orphans", "unlinked",
              "pins", "tmp")
FILES = ("inode32", "usage", "epoch", "settings", "reserve")
EXACT = {"inodes", "open files", "transfers", "waiting", "listing waits", "handlers", "fuse waiting",
         "tree files", *(f"state/{name}" for name in PER_OBJECT)}
SHOWN = ("anon KiB", "area KiB", "store KiB", "fds", "threads", "inodes", "open files", "waiting", "handlers", "connections",
         "state/dirs", "state/maps", "state/gone", "state/pins", "tree files", "log bytes")


def kind_of(path):
    """A descriptor's kind: its target without what differs from one to the next."""
    path = re.sub(r"\(deleted\)|\[\d+\]", "", path).strip()
    if path.startswith("/memfd:") or not path.startswith("/"):
        return path.split(":[")[0].split(":")[0] if "anon_inode" not in path else path
    found = re.search(r"/state/(\w+)|/tree\b", path)
    return (found[1] or "tree") if found else path if path.startswith("/dev/") else "file"


def descriptors(pid):
    counts = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            counts[kind_of(os.readlink(f"/proc/{pid}/fd/{fd}"))] += 1
        except OSError:
            pass
    return counts


def threads(pid):
    counts = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            counts[(task / "comm").read_text().strip()] += 1
        except OSError:
            pass
    return counts


def memory(pid):
    """KiB of anonymous memory; each page counts once, whoever shares it."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss_Anon:\s+(\d+)", text, re.M) or \
        re.search(r"^Anonymous:\s+(\d+)", text, re.M)
    return int(found[1])


def area(pid):
    """KiB of the memory that outlives a worker, whoever has touched it; without a keeper it is part
    of the daemon's."""
    for name in os.listdir(f"/proc/{pid}/map_files"):
        path = f"/proc/{pid}/map_files/{name}"
        if os.readlink(path).startswith("/memfd:lacunafs"):
            return os.stat(path).st_blocks // 2
    return 0


def connections(port):
    """Those that the server's end has open."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01"
               for line in lines)


def blocks(top):
    """KiB of the files of a store."""
    return sum(os.lstat(os.path.join(path, name)).st_blocks for path, _, files in os.walk(top)
               for name in files) // 2


def count(top):
    """Files below a directory, and the directories below its first level."""
    return sum(len(files) + (len(names) if path != str(top) else 0)
               for path, names, files in os.walk(top))


class Fusectl:
    """The kernel's count of requests that wait, where root may mount its file system."""

    def __init__(self, scratch):
        self.path = pathlib.Path(scratch) / "fusectl"
        self.path.mkdir()
        done = subprocess.run(["mount", "-t", "fusectl", "none", self.path], capture_output=True)
        self.mounted = done.returncode == 0

    def waiting(self, m):
        try:
            return int((self.path / str(os.minor(os.stat(m.path).st_dev)) / "waiting").read_text())
        except OSError:
            return 0

    def close(self):
        if self.mounted:
            subprocess.run(["umount", self.path], check=True)
        self.path.rmdir()


class Gauges:
    def __init__(self, m, server, fusectl):
        self.m, self.server, self.fusectl = m, server, fusectl

    def take(self):
        state, status = self.m.store / "state", self.m.status()
        pid = self.m.worker()
        text = self.m.program.run("metrics", self.m.path).stdout
        metric = lambda name: int(re.search(rf"^{name} (\d+)$", text, re.M)[1])
        fds, running = descriptors(pid), threads(pid)
        # what answers the request that asks is no leak, and ends soon after it
        taken = {
            "anon KiB": memory(pid), "area KiB": area(pid),
            "store KiB": blocks(self.m.store), "fds": sum(fds.values()), "threads": sum(running.values()),
            "inodes": status["inodes"], "open files": metric("lacunafs_open_files"),
            "transfers": len(status["transfers"]), "waiting": metric("lacunafs_waiting"),
            "listing waits": len(status["waiting_for_listings"]),
            "handlers": len(status["handlers"]), "fuse waiting": self.fusectl.waiting(self.m),
            "connections": connections(self.server.port),
            "tree files": sum(len(files) for _, _, files in os.walk(self.m.store / "tree")),
            "log bytes": sum((state / n).stat().st_size for n in ("log", "log.1")
                             if (state / n).exists())}
        if pid != self.m.pid:
            taken.update({"keeper KiB": memory(self.m.pid),
                          "keeper fds": sum(descriptors(self.m.pid).values())})
        taken.update({f"fd {kind}": n for kind, n in fds.items()})
        taken.update({f"thread {name}": n for name, n in running.items()})
        for name in PER_OBJECT:
            taken[f"state/{name}"] = count(state / name)
        for name in FILES:
            path = state / name
            taken[f"bytes of {name}"] = path.stat().st_size if path.exists() else 0
        return taken

    def settle(self, base, seconds):
        """Until what must come back has, or for so long; the last look."""
        found = {}

        def settled():
            found.update(self.take())
            return not [name for name in EXACT if found[name] > base.get(name, found[name])]
        processes.wait_until(settled, seconds)
        return found


def flattens(series):
    """Does it come to rest? False: of the cycles after the warm-up each of the later half is above
    all of the earlier half, in three steps or more, and the steps do not become smaller."""
    after = series[1:]
    half = len(after) // 2
    if half < 2 or min(after[half:]) <= max(after[:half]):
        return True
    rises = sum(b > a for a, b in zip(after, after[1:]))
    early, late = after[half] - after[0], after[-1] - after[half]
    return rises < 3 or late * 2 < early


def growing(cycles):
    """What leaks, as text."""
    wrong = []
    for name in sorted({name for cycle in cycles for name in cycle}):
        series = [cycle.get(name, 0) for cycle in cycles]
        if name in EXACT and series[-1] > series[0]:
            wrong.append(f"{name}: {series} is not where it was")
        elif name == "anon KiB" and len(series) < 13:  # malloc's arenas are still filling
            continue
        elif name not in EXACT and name != "log bytes" and not flattens(series):
            wrong.append(f"{name}: {series} rises")
    if any(cycle["log bytes"] > 9 << 20 for cycle in cycles):
        wrong.append("the log is larger than its two files may be")
    return wrong


def heading():
    return "cycle  " + "  ".join(SHOWN)


def line(n, taken):
    return f"{n:5}  " + "  ".join(f"{taken[name]:>{len(name)}}" for name in SHOWN)
