# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Operations on sealed files, and a memfd to compare with."""
import ctypes
import errno
import fcntl
import mmap
import os
import struct

ADD_SEALS, GET_SEALS = 0x4004ED01, 0x8004ED02
MEMFD_ADD, MEMFD_GET = 1033, 1034
NAMES = {"seal": 1, "shrink": 2, "grow": 4, "write": 8, "future-write": 16, "exec": 32}
SEAL, SHRINK, GROW, WRITE, FUTURE, EXEC = NAMES.values()
PAGE = 4096
SIZE = 3 * PAGE + 100
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")
    return 0


def mapped(fd, prot, flags):
    """Maps, without a descriptor of the mapping's own, and unmaps."""
    at = libc.mmap(None, PAGE, prot, flags, fd, 0)
    if at == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    libc.munmap(ctypes.c_void_p(at), PAGE)
    return 0


class Memfd:
    def __init__(self, mode):
        self.fd = os.memfd_create("judge", os.MFD_ALLOW_SEALING)
        os.fchmod(self.fd, mode)
        os.pwrite(self.fd, b"x" * SIZE, 0)

    def open(self, flags):
        return os.open(f"/proc/self/fd/{self.fd}", flags)

    def add(self, fd, seals):
        fcntl.fcntl(fd, MEMFD_ADD, seals)

    def get(self):
        return fcntl.fcntl(self.fd, MEMFD_GET)

    def chmod(self, mode):
        os.fchmod(self.fd, mode)

    def close(self):
        os.close(self.fd)


class File:
    def __init__(self, path, mode):
        self.path = path
        os.chmod(path, mode)

    def open(self, flags):
        return os.open(self.path, flags)

    def add(self, fd, seals):
        fcntl.ioctl(fd, ADD_SEALS, struct.pack("I", seals))

    def get(self):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            return struct.unpack("I", fcntl.ioctl(fd, GET_SEALS, b"\0" * 4))[0]
        finally:
            os.close(fd)

    def chmod(self, mode):
        os.chmod(self.path, mode)

    def close(self):
        pass


def opened(f, flags, act):
    fd = f.open(flags)
    try:
        return act(fd)
    finally:
        os.close(fd)


def told(act):
    try:
        return act()
    except OSError as e:
        return errno.errorcode[e.errno]


W, R, RW = os.O_WRONLY, os.O_RDONLY, os.O_RDWR
PROT_RW, SHARED, PRIVATE = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, mmap.MAP_PRIVATE
KEEP, PUNCH, ZERO = 1, 3, 16
# In this order: what changes the size comes last, back to where it was
OPERATIONS = {
    "write inside": lambda f: opened(f, W, lambda fd: os.pwrite(fd, b"y" * 10, 5)),
    "write nothing": lambda f: opened(f, W, lambda fd: os.pwrite(fd, b"", 5)),
    "punch": lambda f: opened(f, W, lambda fd: fallocate(fd, PUNCH, 0, PAGE)),
    "allocate inside": lambda f: opened(f, W, lambda fd: fallocate(fd, 0, 0, PAGE)),
    "allocate past the end": lambda f: opened(f, W, lambda fd: fallocate(fd, KEEP, SIZE, PAGE)),
    "map shared, writable": lambda f: opened(f, RW, lambda fd: mapped(fd, PROT_RW, SHARED)),
    "map shared, read-only": lambda f: opened(f, R, lambda fd: mapped(fd, 1, SHARED)),
    "map privately, writable": lambda f: opened(f, R, lambda fd: mapped(fd, PROT_RW, PRIVATE)),
    "chmod x": lambda f: f.chmod(0o755),
    "chmod g": lambda f: f.chmod(0o660),
    "write past the end": lambda f: opened(f, W, lambda fd: os.pwrite(fd, b"y" * PAGE,
                                                                      SIZE - 10)),
    "write far past the end": lambda f: opened(f, W, lambda fd: os.pwrite(fd, b"y", 9 * PAGE)),
    "same size": lambda f: opened(f, W, lambda fd: os.ftruncate(fd, os.fstat(fd).st_size)),
    "smaller": lambda f: opened(f, W, lambda fd: os.ftruncate(fd, PAGE)),
    "larger": lambda f: opened(f, W, lambda fd: os.ftruncate(fd, 20 * PAGE)),
}
