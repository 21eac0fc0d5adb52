#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Clients that wait for a mount, each in one call, and the signals that they get meanwhile.

`python3 waiting.py WHAT HOW PATH`: makes ready, prints "!", makes the call, and ends with OK if its
result is right. It catches SIGUSR1 if HOW is "caught" (SA_RESTART unset) or "restart".

ENDS:     what is done to a client, and the signal that ends it
GOES_ON:  what ends no wait; the client is right once it is over
"""
import ctypes
import fcntl
import mmap
import os
import pathlib
import signal
import subprocess
import sys
import time

OK, WRONG = 3, 4
CONTENT = b"content" * 10_000  # of each file
CHUNK = 65536
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
ENDS = {"kill": signal.SIGKILL, "int": signal.SIGINT, "quit": signal.SIGQUIT,
        "caught, then kill": signal.SIGKILL, "stop, then kill": signal.SIGKILL,
        "trace, then kill": signal.SIGKILL}
GOES_ON = ["nothing", "caught", "restart", "stop, then continue", "trace, then detach"]
# Where a thread is that waits for an answer, a page, or a lock
PLACES = ("fuse_", "folio_", "flock", "setlk", "filemap_")
libc = ctypes.CDLL(None, use_errno=True)


def mapped(path):
    with open(path, "rb") as f:
        return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)


def write(fd, size, offset):
    data = mmap.mmap(-1, 4096)
    data[:size] = b"w" * size
    buffer = ctypes.c_char.from_buffer(data)
    return lambda: libc.pwrite(fd, ctypes.byref(buffer), size, ctypes.c_long(offset)) == size


def read(fd):
    data = mmap.mmap(-1, 4096)
    buffer = ctypes.c_char.from_buffer(data)
    return lambda: (libc.pread(fd, ctypes.byref(buffer), 4096, ctypes.c_long(0)) == 4096
                    and data[:4096] == CONTENT[:4096])


def execute(path):
    def call():
        libc.execl(path, b"true", None)
    return call


def page(path):
    m = mapped(path)
    return lambda: m[0:7] == b"content"


def entries(path):
    fd, buffer = os.open(path, os.O_RDONLY | os.O_DIRECTORY), ctypes.create_string_buffer(4096)
    return lambda: libc.getdents64(fd, buffer, 4096) > 0


def fsync(path):
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"c", 0)
    return lambda: libc.fsync(fd) == 0


def locking(path, call):
    fd = os.open(path, os.O_RDWR)
    return lambda: call(fd)


# What a client does at PATH, in bytes: made ready → the call
CALLS = {
    "stat": lambda p: lambda: libc.access(p, 0) == 0,
    "open": lambda p: lambda: libc.open(p, os.O_RDONLY) >= 0,
    "list": lambda p: entries(os.path.dirname(p)),
    "rename": lambda p: lambda: libc.rename(p, p + b"2") == 0,
    "read": lambda p: read(os.open(p, os.O_RDONLY)),
    "direct read": lambda p: read(os.open(p, os.O_RDONLY | os.O_DIRECT)),
    "write": lambda p: write(os.open(p, os.O_RDWR), 512, 512),
    "direct write": lambda p: write(os.open(p, os.O_RDWR | os.O_DIRECT), 512, 512),
    "page fault": page,
    "exec": execute,
    "fsync": fsync,
    "flock": lambda p: locking(p, lambda fd: libc.flock(fd, fcntl.LOCK_EX) == 0),
    "lockf": lambda p: locking(p, lambda fd: libc.lockf(fd, 1, ctypes.c_long(0)) == 0),
}


class Client(subprocess.Popen):
    def __init__(self, what, how, path):
        super().__init__(["prlimit", "--core=0", sys.executable, __file__, what, how, path],
                         stdout=subprocess.PIPE)
        self.how, self.traced = how, False

    def waits(self):
        try:
            stack = pathlib.Path(f"/proc/{self.pid}/stack").read_text(encoding="ascii")
        except OSError:
            return False
        return any(place in stack for place in PLACES)

    def trace(self, request):
        if libc.ptrace(request, self.pid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def begin(self):
        """The first of what is done to it."""
        if self.how.startswith(("caught", "restart")):
            for _ in range(3):
                self.send_signal(signal.SIGUSR1)
        elif self.how.startswith("stop"):
            self.send_signal(signal.SIGSTOP)
        elif self.how.startswith("trace"):
            self.trace(SEIZE), self.trace(INTERRUPT)

    def end(self):
        """The second: seconds until it has ended."""
        before = time.monotonic()
        self.send_signal(ENDS[self.how])
        status = self.wait(60)
        assert status == -ENDS[self.how], f"{self.how}: ended with {status}"
        return time.monotonic() - before

    def go_on(self):
        if self.how.startswith("stop"):
            self.send_signal(signal.SIGCONT)
        elif self.how.startswith("trace"):
            # it stops when its call is over
            pid, status = os.waitpid(self.pid, 0x40000000)
            assert pid == self.pid and os.WIFSTOPPED(status), status
            self.trace(DETACH)


def main(what, how, path):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if how.startswith(("caught", "restart")):
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.siginterrupt(signal.SIGUSR1, how != "restart")
    call = CALLS[what](os.fsencode(path))
    os.write(1, b"!")
    os._exit(OK if call() else WRONG)


if __name__ == "__main__":
    main(*sys.argv[1:])
