# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The works: what is done in a mounted tree while the clock runs.

run(scratch, column, round) does it once and returns its seconds; Work.sample() is one sample.
warm: everything has been read before, and the same work was just done
cold: a mount with nothing fetched yet; the mounting itself is not counted
fresh: each sample has a mount, or a copy, of its own; all cold works, and warm ones that leave
    the tree another than they found it
"""
import contextlib
import os
import shutil
import subprocess
import time

import machine
import project

PAGES = 2000
FILES = 20000
MIB = 1024
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


def update_all(scratch, column, _=0):
    """Seconds a file; nothing is written."""
    ns, _, files = scratch.tool("walk", "open-rw", column.path)[:3]
    return int(ns) / 1e9 / int(files)


@contextlib.contextmanager
def place(scratch, column):
    """A new directory in the mounted tree. What others left to be written is on the disk."""
    scratch.number += 1
    path = column.path / f"bench-{scratch.number}"
    os.sync()
    try:
        path.mkdir()
        yield path
        shutil.rmtree(path)
    except OSError as e:
        raise machine.Failed(f"{e.strerror}: {e.filename}") from None


def create(scratch, column, _=0):
    """Seconds a file: created, 4 KiB written, closed."""
    with place(scratch, column) as path:
        ns = int(scratch.tool("small", "create", path, FILES)[0])
        _, entries, files, _, size = scratch.tool("walk", "read", path)[:5]
        if (int(entries), int(files), int(size)) != (FILES, FILES, FILES * 4096):
            raise machine.Failed(f"{FILES} files created: {files} there, {size} bytes")
        return ns / 1e9 / FILES


def unlink(scratch, column, _=0):
    """Seconds a file, of those just created."""
    with place(scratch, column) as path:
        scratch.tool("small", "create", path, FILES)
        ns = int(scratch.tool("small", "unlink", path, FILES)[0])
        left = len(os.listdir(path))
        if left:
            raise machine.Failed(f"{left} of {FILES} files left")
        return ns / 1e9 / FILES


def write(scratch, column, _=0, verb="write"):
    with place(scratch, column) as path:
        ns, size, wrote = scratch.tool("file", verb, path / "file", MIB)
        found = scratch.tool("file", "sum", path / "file")[1:]
        if found != [size, wrote]:
            raise machine.Failed(f"wrote {size} bytes {wrote}, read {' '.join(found)}")
        return int(ns) / 1e9


def write_sync(scratch, column, number=0):
    return write(scratch, column, number, "sync")


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
    def __init__(self, state, name, part, title, run, reference, columns=None, fresh=False,
                 finish=None, most=None):
        self.name, self.part, self.title, self.run = f"{state}-{name}", part, title, run
        self.cold = state == "cold"
        self.fresh = fresh or self.cold
        self.reference = reference  # column names, the first that is there
        self.columns = columns      # None: all of its kind
        self.finish = finish        # after a fresh sample: facts
        self.most = most            # rounds
        self.short = state == "warm" and run in (walk, build, execute, touch, sequential, write)
        # What is done just before. The slow ones are not done twice; attributes that time out
        # are asked for again; new files owe nothing to others before them.
        self.before = run
        if run in (create, unlink, write, write_sync):
            self.before = None
        elif part == "tree" and run is not open_all:
            self.before = walk

    def rounds(self, runs):
        return min(runs, self.most or runs)

    def sample(self, scratch, column, number):
        times = 1
        if self.short:
            times = BEST_EXEC if self.run is execute else BEST
        return min(self.run(scratch, column, number) for _ in range(times))


PUBLISHED = ("published", "published-20ms")
MOUNTED = ("lacunafs", "lacunafs-dir", "precontent", "httpdirfs", "rclone")
WRITABLE = ("native", "lacunafs", "lacunafs-dir", "precontent")
WORKS = [
    Work("warm", "walk", "tree", "walk and stat", walk, ("native",)),
    Work("warm", "read", "tree", "read all small files", read_all, ("native",)),
    Work("warm", "open", "tree", "open and close, each file", open_all, ("native",)),
    Work("warm", "build", "tree", "build of a C library", build, ("native",)),
    Work("warm", "exec", "big", "exec, a page a MiB", execute, ("native",)),
    Work("warm", "mmap", "big", f"mmap, {PAGES} random pages", touch, ("native",)),
    Work("warm", "seq", "big", "sequential read", sequential, ("native",)),
    Work("warm", "open-rw", "project", "open for writing and close, each file", update_all,
         ("native",)),
    Work("warm", "create", "project", f"create {FILES:,} files of 4 KiB", create, ("native",)),
    Work("warm", "unlink", "project", "unlink them", unlink, ("native",)),
    Work("warm", "write", "project", "sequential write of 1 GiB", write, ("native",)),
    Work("warm", "sync", "project", "the same, with fsync", write_sync, ("native",)),
    Work("warm", "first-rw", "project", "first open for writing, each file", update_all,
         ("native",), fresh=True),
    Work("warm", "project", "project", "configure and build busybox inside",
         project.BUSYBOX.build, ("native",), fresh=True, finish=project.BUSYBOX.finish),
    Work("cold", "walk", "tree", "walk and stat", walk, ("httpdirfs", "rclone", "lacunafs"),
         ("lacunafs", "lacunafs-dir", *PUBLISHED, "httpdirfs", "rclone")),
    Work("cold", "read", "tree", "read all small files", read_all,
         ("httpdirfs", "rclone", "lacunafs"), (*MOUNTED, *PUBLISHED)),
    Work("cold", "exec", "big", "exec, to first output", execute_first,
         ("precontent", "httpdirfs", "rclone", "lacunafs"), MOUNTED),
    Work("cold", "mmap", "big", f"mmap, {PAGES} random pages", touch,
         ("precontent", "httpdirfs", "rclone", "lacunafs"), MOUNTED),
    Work("cold", "seq", "big", "sequential read", sequential, ("curl",), ("curl", *MOUNTED)),
    Work("cold", "project", "project", "configure and build busybox inside",
         project.BUSYBOX.build, ("native",), WRITABLE, finish=project.BUSYBOX.finish, most=3),
    Work("cold", "kernel", "kernel", "configure and build a tiny kernel inside",
         project.KERNEL.build, ("native",), WRITABLE, finish=project.KERNEL.finish, most=3),
]


def content(scratch, path):
    """What all columns must agree on, byte for byte."""
    if (path / "file").exists():
        return [scratch.tool("file", "sum", path / name)[1:] for name in ("file", "program")]
    words = scratch.tool("walk", "sum", path)
    return words[1:]
