# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Processes of the page-stamp campaign, and the ways to get at bytes of a file.

Errors:  a daemon that was killed is waited for (`Lost`); EIO and the like are counted, never
         hidden: what came of them is judged when all is quiet (page_stamps.py)
Faults:  a mapping is read and written by the kernel's copies, so that a page that cannot be had
         is EFAULT and not a SIGBUS
"""
import ctypes
import errno
import mmap
import os
import pickle
import select
import subprocess
import time
import traceback

import processes
import stamps
from stamps import PAGE

GONE = {errno.ENOTCONN, errno.ECONNABORTED}
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                      ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.pread.argtypes = libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t,
                                              ctypes.c_long]
libc.pread.restype = libc.pwrite.restype = ctypes.c_ssize_t


class Lost(Exception):
    """The daemon was killed, or the mount is not there."""


def fail(name):
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), name)


def shut(fd):
    """Closes it; that a mount is gone does not matter then."""
    try:
        if fd >= 0:
            os.close(fd)
    except OSError as e:
        if e.errno not in GONE:
            raise


class Mapping:
    """mmap(2), which lives on when its descriptor is closed (Python's own keeps a copy of it)."""

    def __init__(self, fd, size, prot, flags):
        self.size = size
        self.at = libc.mmap(None, size, prot, flags, fd, 0)
        if self.at == ctypes.c_void_p(-1).value:
            self.at = None
            fail("mmap")
        self.scratch = os.memfd_create("scratch")

    def read(self, offset, length):
        """Less than `length` where a page cannot be had."""
        done = 0
        while done < length:
            n = libc.pwrite(self.scratch, self.at + offset + done, length - done, done)
            if n <= 0:
                if done == 0:
                    fail("load")
                break
            done += n
        return os.pread(self.scratch, done, 0)

    def write(self, offset, data):
        os.pwrite(self.scratch, data, 0)
        done = 0
        while done < len(data):
            n = libc.pread(self.scratch, self.at + offset + done, len(data) - done, done)
            if n <= 0:
                fail("store")
            done += n

    def sync(self, offset, length):
        if libc.msync(self.at + offset, length, 4) != 0:
            fail("msync")

    def close(self):
        if self.at is not None:
            libc.munmap(self.at, self.size)
            os.close(self.scratch)
            self.at = None


def read_some(fd, length, offset):
    """What pread gives until the end of the file; an error after the first byte is its end, too."""
    data = b""
    while len(data) < length:
        try:
            piece = os.pread(fd, length - len(data), offset + len(data))
        except OSError:
            if not data:
                raise
            return data, False
        if not piece:
            return data, True
        data += piece
    return data, False


def read_direct(fd, length, offset):
    buffer = mmap.mmap(-1, -(-length // PAGE) * PAGE)
    n = os.preadv(fd, [buffer], offset)
    return buffer[:min(n, length)], n < length


def read_sendfile(fd, length, offset):
    out = os.memfd_create("out")
    try:
        done, ended = 0, False
        while done < length:
            try:
                n = os.sendfile(out, fd, offset + done, length - done)
            except OSError:
                if done == 0:
                    raise
                break
            if n == 0:
                ended = True
                break
            done += n
        return os.pread(out, done, 0), ended
    finally:
        os.close(out)


class Worker:
    """A process: work(self) until it is over, then its answer, or what was wrong."""

    def __init__(self, number, table, m, seed, work, *arguments):
        self.number, self.table, self.path, self.seed = number, table, str(m.path), seed
        self.counters, self.root_fd, self.seen_generation = table.slot(number), -1, 0
        self.mount = m if hasattr(m, "store") else None  # None: native
        self.name = f"{work.__module__}.{work.__name__}"
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.reader)
                try:
                    answer = ("done", work(self, *arguments))
                except stamps.Wrong as e:
                    table.stop = 1
                    answer = ("wrong", str(e))
                except BaseException:  # the child ends here, whatever it was
                    table.stop = 1
                    answer = ("wrong", traceback.format_exc())
                with os.fdopen(writer, "wb") as f:
                    pickle.dump(answer, f)
            finally:
                os._exit(0)
        os.close(writer)

    def over(self):
        return self.table.stop != 0

    def count(self, name, n=1):
        self.counters[stamps.Table.COUNTS.index(name)] += n

    # The mount
    def enter(self):
        """Before each step: waits for a mount, where there is none; true if it is another one."""
        if self.root_fd >= 0 and self.seen_generation == self.table.generation:
            return False
        self.leave()
        while not self.over():
            generation = self.table.generation
            if generation % 2 == 0 and self.open_root():
                self.seen_generation = generation
                return True
            time.sleep(0.02)
        raise Lost

    def open_root(self):
        """By its path, a mount that is gone is what lies below it."""
        try:
            self.root_fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
            if self.mount is None or os.fstat(self.root_fd).st_dev \
                    != os.stat(os.path.dirname(self.path)).st_dev:
                return True
        except OSError as e:
            if e.errno not in GONE:
                raise
        self.leave()
        return False

    def leave(self):
        fd, self.root_fd = self.root_fd, -1
        shut(fd)

    def at(self, name):
        """Within a step it is one mount."""
        if self.seen_generation != self.table.generation:
            raise Lost
        return f"/proc/self/fd/{self.root_fd}/{name}"

    def check(self, error):
        """An error that came of the daemon's end is Lost."""
        if error.errno in GONE or self.table.generation != self.seen_generation:
            raise Lost from None

    def stored(self, name, number):
        """What the store's own file has there, and what the daemon says of it: for a failure."""
        if self.mount is None:
            return "nothing"
        try:
            with open(self.mount.store / "tree" / name, "rb") as f:
                found = stamps.cells(os.pread(f.fileno(), PAGE, number * PAGE))
        except (OSError, stamps.Wrong) as e:
            found = e
        told = subprocess.run(self.mount.program.argv("status", "--json", f"{self.path}/{name}"),
                              env=self.mount.program.env, capture_output=True, timeout=30)
        return f"{found}, {told.stdout.decode()[:1200]}"

    def answer(self, seconds):
        """In the parent: what work() returned."""
        pieces, until = [], time.monotonic() + seconds
        while select.select([self.reader], [], [], max(0, until - time.monotonic()))[0]:
            piece = os.read(self.reader, 1 << 20)
            if not piece:
                break
            pieces.append(piece)
        else:
            raise stamps.Wrong(f"{self.name} {self.number}: no end after {seconds} s: "
                               f"{self.where()}")
        if not pieces:
            raise stamps.Wrong(f"{self.name} {self.number} ended without a word")
        kind, answer = pickle.loads(b"".join(pieces))
        if kind == "wrong":
            raise stamps.Wrong(f"{self.name} {self.number}: {answer}")
        return answer

    def where(self):
        try:
            with open(f"/proc/{self.pid}/stack", encoding="ascii") as f:
                return f.read()
        except OSError as e:
            return str(e)

    def end(self):
        os.close(self.reader)
        if processes.reap(self.pid, 5) is None:
            processes.end(self.pid, 2)
