# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A disk that gives up in the middle of an operation (faulty.c is preloaded into the daemon).

Shape:   `left` calls of the daemon that change a file system still work, then
         GROWTH: those that take space fail, as on a full disk or over a quota
         CHANGES: all fail, as on a disk that has become read-only
         KILL: the daemon is killed; a sync is a step, too
         TEAR: the same, half way in the call, where it writes
         SCAN: of the calls that read directories instead; they fail from then on
         HOLD: they wait until that is over, the first of them tells that it does
         SYNCS: the one after `left` syncs fails, once
         HOLD_SYNCS: they wait until that is over
         HOLD_MADE: who has made a directory waits until that is over
         ONE: of all calls for `store` that may have `error`, that one fails
         LASTING: so do all after it
         KILL_ONCE: the daemon's worker is killed, and the next one works
         KILL_SYMLINK: each worker that makes a symbolic link is killed
         CRASH_SYMLINK: it crashes
Kinds:   of a call: GROW and CHANGE may find the disk full, OPEN may lack a descriptor, LOOK changes
         nothing, FLUSH is a sync, whose data is written all the same
"""
import mmap
import os
import pathlib
import struct
import subprocess

OFF, GROWTH, CHANGES, KILL, TEAR, SCAN, HOLD, SYNCS, HOLD_SYNCS, HOLD_MADE, ONE, LASTING, \
    KILL_ONCE, KILL_SYMLINK, CRASH_SYMLINK = range(15)
CHANGE, GROW, LOOK, OPEN, FLUSH = 1, 2, 4, 8, 16
SHAPE = struct.Struct("=Iiqq32s256s")
CALLS = 4096
SOURCE = pathlib.Path(__file__).with_name("faulty.c")
REPLY, FORGET = 1, 2  # unanswered.c


class Faults:
    def __init__(self, scratch):
        library, self.path = scratch / "faulty.so", scratch / "faults"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"],
                       check=True)
        self.path.write_bytes(bytes(SHAPE.size + CALLS))
        self.path.chmod(0o666)
        self.env = {"LD_PRELOAD": str(library), "FAULTS": str(self.path)}
        with open(self.path, "r+b") as f:
            self.shared = mmap.mmap(f.fileno(), SHAPE.size + CALLS)

    def set(self, mode, error=0, left=0, store=""):
        self.shared[:SHAPE.size] = SHAPE.pack(OFF, error, left, 0, b"", os.fsencode(store))
        self.shared[:4] = struct.pack("=I", mode)

    def clear(self):
        """How many calls there were, and the first that failed (None: none did)."""
        self.shared[:4] = struct.pack("=I", OFF)
        _, _, _, seen, first, _ = SHAPE.unpack(self.shared[:SHAPE.size])
        return seen, first.rstrip(b"\0").decode() or None

    def first(self):
        return SHAPE.unpack(self.shared[:SHAPE.size])[4].rstrip(b"\0").decode() or None

    def seen(self):
        return SHAPE.unpack(self.shared[:SHAPE.size])[3]

    def kinds(self):
        """Of the calls seen, the first `CALLS` of them."""
        return self.shared[SHAPE.size:SHAPE.size + min(self.seen(), CALLS)]

    def close(self):
        self.shared.close()


class Unanswered:
    """A worker that ends before it answers (unanswered.c): for a mount with `env`."""

    SHAPE = struct.Struct("=Ixxxxqq")

    def __init__(self, scratch):
        library, path = scratch / "unanswered.so", scratch / "unanswered"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library,
                        SOURCE.with_name("unanswered.c"), "-ldl"], check=True)
        path.write_bytes(bytes(self.SHAPE.size))
        path.chmod(0o666)
        self.env = {"LD_PRELOAD": str(library), "UNANSWERED": str(path)}
        with open(path, "r+b") as f:
            self.shared = mmap.mmap(f.fileno(), self.SHAPE.size)

    def set(self, mode, left=0):
        """REPLY: before the reply after `left` others; FORGET: with the next FORGET."""
        self.shared[:] = self.SHAPE.pack(OFF, left, 0)
        self.shared[:4] = struct.pack("=I", mode)

    def clear(self):
        """How many replies there were, and whether a worker ended."""
        mode, _, seen = self.SHAPE.unpack(self.shared[:])
        self.shared[:4] = struct.pack("=I", OFF)
        return seen, mode == OFF

    def close(self):
        self.shared.close()
