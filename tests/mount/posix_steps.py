# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The steps of the random operations: each is done alike on two trees and must tell the same.

Shape:   a step is a function of a Side and of plain arguments; what it returns, or the name of
         its errno, is what it told. Paths are relative to the tree. posix_chooser.py draws them
"""
import fcntl
import hashlib
import mmap
import os
import pathlib
import socket
import stat
import sys
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "posix"))

import calls  # noqa: E402
import kit  # noqa: E402

PAST = 1_500_000_000  # seconds; times that are set lie before it, those of the clock after it
NONBLOCK = os.O_NONBLOCK  # a fifo must not hold us up


def noise(seed, length):
    """Bytes by seed, without keeping each."""
    at = seed * 977 % 100_000
    return kit.noise(77, 5 << 20)[at:at + length]


class Side:
    def __init__(self, root):
        self.root, self.fds = os.fspath(root), {}
        self.error = None  # the last one, with where it was raised

    def at(self, path):
        return os.path.join(self.root, path)

    def close(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()


def told(side, step, arguments):
    try:
        return STEPS[step](side, *arguments)
    except OSError as e:
        side.error = f"{e!r:.200} at {[f.name + ':' + f.line for f in traceback.extract_tb(e.__traceback__)][1:]}"
        return calls.name_of(e.errno)


def digest(data):
    return len(data), hashlib.blake2b(data, digest_size=8).hexdigest()


class opened:
    def __init__(self, side, path, flags, mode=0o600):
        self.fd = os.open(side.at(path), flags | NONBLOCK, mode)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def create(s, path, flags, mode, seed, length):
    with opened(s, path, os.O_CREAT | os.O_RDWR | flags, mode) as fd:
        return os.write(fd, noise(seed, length))


def create_empty(s, path, flags, mode):
    with opened(s, path, os.O_CREAT | os.O_WRONLY | flags, mode):
        pass


def write(s, path, flags, offset, seed, length):
    with opened(s, path, os.O_WRONLY | flags) as fd:
        return os.pwrite(fd, noise(seed, length), offset)


def append(s, path, seed, length):
    with opened(s, path, os.O_WRONLY | os.O_APPEND) as fd:
        return os.write(fd, noise(seed, length))


def replace(s, path, seed, length):
    """As editors do: a new file, and a rename over the old one."""
    with opened(s, path + "~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644) as fd:
        os.write(fd, noise(seed, length))
        os.fsync(fd)
    os.rename(s.at(path + "~"), s.at(path))


def direct(s, path, offset, seed, pages):
    buffer = mmap.mmap(-1, pages * 4096)
    buffer[:] = noise(seed, pages * 4096)
    with opened(s, path, os.O_RDWR | os.O_DIRECT) as fd:
        written = os.pwritev(fd, [buffer], offset)
        got = os.preadv(fd, [buffer], offset)
    return written, digest(buffer[:got])


def mapped(s, path, offset, seed, length, sync):
    with opened(s, path, os.O_RDWR) as fd:
        size = os.fstat(fd).st_size
        if offset >= size or not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = noise(seed, min(length, size - offset))
        with mmap.mmap(fd, size) as m:
            before = digest(m[max(0, offset - 5000):offset + 5000])
            m[offset:offset + len(data)] = data
            if sync:
                m.flush()
            os.pwrite(fd, b"beside", max(0, offset - 6))
            return before, digest(m[:])


def truncate(s, path, length):
    os.truncate(s.at(path), length)


def ftruncate(s, path, first, second):
    with opened(s, path, os.O_WRONLY) as fd:
        os.ftruncate(fd, first)
        os.ftruncate(fd, second)


def allocate(s, path, mode, offset, length):
    with opened(s, path, os.O_RDWR) as fd:
        calls.fallocate(fd, mode, offset, length)


def copy(s, path, offset, target, at, length):
    with opened(s, path, os.O_RDONLY) as a, opened(s, target, os.O_WRONLY) as b:
        moved = 0
        while moved < length:
            n = os.copy_file_range(a, b, length - moved, offset + moved, at + moved)
            if n == 0:
                break
            moved += n
        return moved


def mkdir(s, path, mode):
    os.mkdir(s.at(path), mode)


def rmdir(s, path):
    os.rmdir(s.at(path))


def mknod(s, path, mode, device):
    os.mknod(s.at(path), mode, device)


def bind(s, path):
    directory, name = os.path.split(s.at(path))
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        if len(name) < 80:
            with socket.socket(socket.AF_UNIX) as k:
                k.bind(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)


def symlink(s, path, target):
    os.symlink(target, s.at(path))


def link(s, path, new):
    os.link(s.at(path), s.at(new), follow_symlinks=False)


def unlink(s, path):
    os.unlink(s.at(path))


def rename(s, path, new, flags):
    calls.renameat2(s.at(path), s.at(new), flags)


def remove(s, path):
    """rm -r"""
    removed = 0
    if not stat.S_ISDIR(os.lstat(s.at(path)).st_mode):
        os.unlink(s.at(path))
        return 1
    for name in sorted(os.listdir(s.at(path))):
        removed += remove(s, os.path.join(path, name))
    os.rmdir(s.at(path))
    return removed + 1


def chmod(s, path, mode):
    os.chmod(s.at(path), mode)


def chown(s, path, uid, gid):
    os.chown(s.at(path), uid, gid, follow_symlinks=False)


def utimens(s, path, sec, nsec):
    calls.utimensat(s.at(path), (PAST - 7, 7), (sec, nsec), calls.AT_SYMLINK_NOFOLLOW)


def setxattr(s, path, name, seed, length, flags):
    os.setxattr(s.at(path), name, noise(seed, length), flags, follow_symlinks=False)


def removexattr(s, path, name):
    os.removexattr(s.at(path), name, follow_symlinks=False)


def acl(s, path, which, user, group, mask, others):
    calls.acl_set(s.at(path), which, [
        (calls.USER_OBJ, user), (calls.USER, group, 1001), (calls.GROUP_OBJ, group),
        (calls.MASK, mask), (calls.OTHER, others)])


def tmpfile(s, path, directory, mode, seed, length):
    with opened(s, directory, os.O_TMPFILE | os.O_RDWR, mode) as fd:
        os.write(fd, noise(seed, length))
        calls.link_fd(fd, s.at(path))


def read(s, path, offset, length):
    with opened(s, path, os.O_RDONLY) as fd:
        return digest(os.pread(fd, length, offset))


def whole(s, path):
    with opened(s, path, os.O_RDONLY) as fd:
        data = b""
        while piece := os.read(fd, 1 << 20):
            data += piece
        return digest(data)


def holes(s, path):
    """Every byte outside of what SEEK_DATA tells is zero."""
    with opened(s, path, os.O_RDONLY) as fd:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        size, at = os.fstat(fd).st_size, 0
        while at < size:
            try:
                data = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as e:
                if calls.name_of(e.errno) != "ENXIO":
                    raise
                data = size
            if os.pread(fd, data - at, at).strip(b"\0"):
                return f"data in a hole at {at}"
            at = os.lseek(fd, data, os.SEEK_HOLE) if data < size else size
        return size


def look(s, path):
    st = os.lstat(s.at(path))
    directory = stat.S_ISDIR(st.st_mode)
    return (oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev, st.st_nlink,
            None if directory else st.st_size,
            mtime(st))


def mtime(st):
    """Exactly where it was set; that of a fifo moves where the kernel keeps it."""
    if stat.S_ISFIFO(st.st_mode):
        return None
    return st.st_mtime_ns if st.st_mtime < PAST else "recent"


def listing(s, path):
    return sorted(os.listdir(s.at(path)))


def readlink(s, path):
    return os.readlink(s.at(path))


def xattrs(s, path):
    return {n: os.getxattr(s.at(path), n, follow_symlinks=False)
            for n in sorted(os.listxattr(s.at(path), follow_symlinks=False))}


def access(s, path, mode):
    calls.access(s.at(path), mode)


def fsync(s, path):
    with opened(s, path, os.O_RDONLY) as fd:
        os.fsync(fd)


def lock(s, path):
    with opened(s, path, os.O_RDWR) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return calls.lock(fd, calls.OFD_SETLK, fcntl.F_WRLCK, 0, 10)[0]


# Descriptors that are kept over many steps, whatever becomes of the name
def keep(s, number, path, flags, mode):
    if number in s.fds:
        os.close(s.fds.pop(number))
    s.fds[number] = os.open(s.at(path), flags | NONBLOCK, mode)


def drop(s, number):
    os.close(s.fds.pop(number))


def kept(call):
    def step(s, number, *arguments):
        if number in s.fds:  # else it could not be opened: on neither side
            return call(s.fds[number], *arguments)
        return "not open"
    return step


def kept_stat(fd):
    st = os.fstat(fd)
    return (oct(st.st_mode), st.st_uid, st.st_nlink,
            None if stat.S_ISDIR(st.st_mode) else st.st_size, mtime(st))


READS = ("read", "whole", "holes", "look", "listing", "readlink", "xattrs", "access", "kept_read",
         "kept_stat")
STEPS = {f.__name__: f for f in (
    create, create_empty, write, append, replace, direct, mapped, truncate, ftruncate, allocate,
    copy, mkdir, rmdir, mknod, bind, symlink, link, unlink, rename, remove, chmod, chown, utimens,
    setxattr, removexattr, acl, tmpfile, read, whole, holes, look, listing, readlink, xattrs,
    access, fsync, lock, keep)}
STEPS["drop"] = lambda s, number: drop(s, number) if number in s.fds else "not open"
STEPS["kept_read"] = kept(lambda fd, offset, length: digest(os.pread(fd, length, offset)))
STEPS["kept_write"] = kept(lambda fd, offset, seed, length: os.pwrite(
    fd, noise(seed, length), offset))
STEPS["kept_append"] = kept(lambda fd, seed, length: os.write(fd, noise(seed, length)))
STEPS["kept_truncate"] = kept(os.ftruncate)
STEPS["kept_chmod"] = kept(os.fchmod)
STEPS["kept_fsync"] = kept(os.fsync)
STEPS["kept_stat"] = kept(kept_stat)
STEPS["kept_utimens"] = kept(lambda fd, sec: os.utime(fd, ns=(0, sec * 10**9 + 1)))
