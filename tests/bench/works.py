# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The works: what is done in a mounted tree while the clock runs.

run(scratch, column, round) does it once and returns its seconds; Work.sample() is one sample.
warm: everything has been read before, and the same work was just done
cold: a mount with nothing fetched yet; the mounting itself is not counted
"""
import os
import shutil
import subprocess
import time

import machine

PAGES = 2000
BEST = 3  # of so many, for warm works that take well under a second; and for milliseconds
BEST_EXEC = 15

MAKEFILE = """
OBJECTS = $(patsubst $(S)/tools/lib/bpf/%.c,%.o,$(wildcard $(S)/tools/lib/bpf/*.c))
libbpf.a: $(OBJECTS)
	ar crs $@ $^
%.o: $(S)/tools/lib/bpf/%.c
	gcc -O0 -w -D_GNU_SOURCE -I$(S)/tools/include -I$(S)/tools/include/uapi -c -o $@ $<
"""


def walk(scratch, column, _=0):
    return int(scratch.tool("walk", "stat", column.path)[0]) / 1e9


def read_all(scratch, column, _=0):
    return int(scratch.tool("walk", "read", column.path)[0]) / 1e9


def open_all(scratch, column, _=0):
    """Seconds a file."""
    ns, _, files = scratch.tool("walk", "open", column.path)[:3]
    return int(ns) / 1e9 / int(files)


def build(scratch, column, _=0):
    out = scratch.new("build")
    (out / "Makefile").write_text(MAKEFILE)
    try:
        began = time.monotonic()
        done = subprocess.run(["make", "-s", f"-j{os.cpu_count()}", f"S={column.path}"], cwd=out,
                              capture_output=True, text=True, check=False,
                              timeout=machine.PATIENCE)
        if done.returncode != 0:
            raise machine.Failed(done.stderr.strip().splitlines()[-1])
        return time.monotonic() - began
    finally:
        shutil.rmtree(out)


def execute(scratch, column, _=0):
    """To its end, with one page of each MiB touched."""
    argv = (*column.execute, column.path / "program", "all")
    return int(scratch.tool("start", *argv)[1]) / 1e9


def execute_first(scratch, column, _=0):
    """To the first byte of output."""
    argv = (*column.execute, column.path / "program")
    return int(scratch.tool("start", *argv)[0]) / 1e9


def touch(scratch, column, number=0):
    return int(scratch.tool("file", "touch", column.path / "file", PAGES, 7919 + number)[0]) / 1e9


def sequential(scratch, column, _=0):
    if column.name == "curl":
        return column.get("file")
    return int(scratch.tool("file", "read", column.path / "file")[0]) / 1e9


class Work:
    def __init__(self, state, name, part, title, run, reference, columns=None):
        self.name, self.part, self.title, self.run = f"{state}-{name}", part, title, run
        self.cold = state == "cold"
        self.reference = reference  # column names, the first that is there
        self.columns = columns      # None: all of its kind
        self.short = state == "warm" and run in (walk, build, execute, touch, sequential)

    def sample(self, scratch, column, number):
        times = 1
        if self.short:
            times = BEST_EXEC if self.run is execute else BEST
        return min(self.run(scratch, column, number) for _ in range(times))


MOUNTED = ("lacunafs", "lacunafs-dir", "precontent", "httpdirfs", "rclone")
WORKS = [
    Work("warm", "walk", "tree", "walk and stat", walk, ("native",)),
    Work("warm", "read", "tree", "read all small files", read_all, ("native",)),
    Work("warm", "open", "tree", "open and close, each file", open_all, ("native",)),
    Work("warm", "build", "tree", "build of a C library", build, ("native",)),
    Work("warm", "exec", "big", "exec, a page a MiB", execute, ("native",)),
    Work("warm", "mmap", "big", f"mmap, {PAGES} random pages", touch, ("native",)),
    Work("warm", "seq", "big", "sequential read", sequential, ("native",)),
    Work("cold", "walk", "tree", "walk and stat", walk, ("httpdirfs", "rclone", "lacunafs"),
         ("lacunafs", "lacunafs-dir", "httpdirfs", "rclone")),
    Work("cold", "read", "tree", "read all small files", read_all,
         ("httpdirfs", "rclone", "lacunafs"), MOUNTED),
    Work("cold", "exec", "big", "exec, to first output", execute_first,
         ("precontent", "httpdirfs", "rclone", "lacunafs"), MOUNTED),
    Work("cold", "mmap", "big", f"mmap, {PAGES} random pages", touch,
         ("precontent", "httpdirfs", "rclone", "lacunafs"), MOUNTED),
    Work("cold", "seq", "big", "sequential read", sequential, ("curl",), ("curl", *MOUNTED)),
]


def content(scratch, path):
    """What all columns must agree on, byte for byte."""
    if (path / "file").exists():
        return [scratch.tool("file", "sum", path / name)[1:] for name in ("file", "program")]
    words = scratch.tool("walk", "sum", path)
    return words[1:]
