# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""System calls that Python's os module lacks, or wraps; each raises OSError."""
import collections
import ctypes
import errno
import fcntl
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
long = ctypes.c_long

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x100, 0x400, 0x1000
NOREPLACE, EXCHANGE = 1, 2
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38


def check(result, name):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def renameat2(old, new, flags=0, old_fd=AT_FDCWD, new_fd=AT_FDCWD):
    check(libc.renameat2(old_fd, os.fsencode(old), new_fd, os.fsencode(new), flags), "renameat2")


def linkat(old, new, flags=0, old_fd=AT_FDCWD, new_fd=AT_FDCWD):
    check(libc.linkat(old_fd, os.fsencode(old), new_fd, os.fsencode(new), flags), "linkat")


def access(path, mode):
    """os.access() takes every error for a no."""
    check(libc.access(os.fsencode(path), mode), "access")


def link_fd(fd, new):
    """Gives an O_TMPFILE a name, as open(2) tells to."""
    linkat(f"/proc/self/fd/{fd}", new, AT_SYMLINK_FOLLOW)


def fallocate(fd, mode, offset, length):
    check(libc.fallocate(fd, mode, long(offset), long(length)), "fallocate")


class Timespec(ctypes.Structure):
    _fields_ = [("sec", long), ("nsec", long)]


def utimensat(path, atime, mtime, flags=0, fd=AT_FDCWD):
    """Times are (seconds, nanoseconds)."""
    times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    check(libc.utimensat(fd, os.fsencode(path), times, flags), "utimensat")


def futimens(fd, atime, mtime):
    times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    check(libc.futimens(fd, times), "futimens")


NOW, OMIT = (0, UTIME_NOW), (0, UTIME_OMIT)


def statx_btime(path, mask=0x800):
    """(seconds, nanoseconds) of the birth, None where it is not told."""
    buffer = ctypes.create_string_buffer(256)
    check(libc.statx(AT_FDCWD, os.fsencode(path), AT_SYMLINK_NOFOLLOW, mask, buffer), "statx")
    told = struct.unpack_from("=I", buffer, 0)[0]
    return struct.unpack_from("=qI", buffer, 80) if told & 0x800 else None


Entry = collections.namedtuple("Entry", "name ino type position")
libc.opendir.restype = libc.fdopendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = long


class Directory:
    """readdir(3) with its positions: those of an entry are where to go on after it."""

    def __init__(self, path):
        self.stream = ctypes.c_void_p(libc.opendir(os.fsencode(path)))
        if not self.stream.value:
            check(-1, "opendir")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        libc.closedir(self.stream)

    def __iter__(self):
        while True:
            ctypes.set_errno(0)
            entry = libc.readdir(self.stream)
            if not entry:
                if ctypes.get_errno():
                    check(-1, "readdir")
                return
            ino, position, _, kind = struct.unpack("=QqHB", ctypes.string_at(entry, 19))
            yield Entry(ctypes.string_at(entry + 19), ino, kind, position)

    def names(self):
        return [e.name for e in self if e.name not in (b".", b"..")]

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, position):
        libc.seekdir(self.stream, long(position))

    def rewind(self):
        libc.rewinddir(self.stream)


def getdents(fd, size):
    """Entries of one getdents64(2); positions are those lseek(2) takes."""
    buffer = ctypes.create_string_buffer(size)
    number = {"x86_64": 217, "aarch64": 61, "riscv64": 61}[os.uname().machine]
    n = check(libc.syscall(long(number), fd, buffer, size), "getdents64")
    entries, at = [], 0
    while at < n:
        ino, position, length, kind = struct.unpack_from("=QqHB", buffer, at)
        name = buffer.raw[at + 19:at + length].split(b"\0")[0]
        entries.append(Entry(name, ino, kind, position))
        at += length
    return entries


def lock(fd, command, kind, start=0, length=0, whence=os.SEEK_SET):
    """fcntl(2) on a struct flock; what it holds after: (kind, whence, start, length, pid)."""
    packed = struct.pack("=hhiqqii", kind, whence, 0, start, length, 0, 0)
    kind, whence, _, start, length, pid, _ = struct.unpack(
        "=hhiqqii", fcntl.fcntl(fd, command, packed))
    return kind, whence, start, length, pid


def sync_file_range(fd, offset, length, flags=7):
    check(libc.sync_file_range(fd, long(offset), long(length), flags), "sync_file_range")


def name_of(number):
    # Some numbers have two names, of which errorcode knows the last
    return {errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EDEADLK: "EDEADLK"}.get(
        number, errno.errorcode.get(number, str(number)))


# POSIX ACLs as the kernel keeps them: a list of (tag, permissions, id), in this order of tags.
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def acl_pack(entries):
    packed = struct.pack("<I", 2)
    for tag, permissions, *who in entries:
        packed += struct.pack("<HHI", tag, permissions, who[0] if who else 0xffffffff)
    return packed


def acl_unpack(blob):
    assert struct.unpack_from("<I", blob)[0] == 2, blob
    entries = []
    for at in range(4, len(blob), 8):
        tag, permissions, who = struct.unpack_from("<HHI", blob, at)
        entries.append((tag, permissions, who) if tag in (USER, GROUP) else (tag, permissions))
    return entries


def acl_set(path, which, entries, **options):
    os.setxattr(path, which, acl_pack(entries), **options)


def acl_get(path, which):
    return acl_unpack(os.getxattr(path, which))
