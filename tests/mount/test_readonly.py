# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Every change answers EROFS, and changes nothing."""
import ctypes
import errno
import os
import socket

import pytest

import trees

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def m(mount, serve, tree):
    return mount(serve(tree).url, "-o", "ro")


def syscall(name):
    def call(*args):
        if getattr(libc, name)(*args) != 0:
            raise OSError(ctypes.get_errno(), name)
    return call


def opened(path, flags):
    os.close(os.open(path, flags, 0o644))


CHANGES = {
    "open for writing": lambda m: opened(m / "big", os.O_WRONLY),
    "open for both": lambda m: opened(m / "big", os.O_RDWR),
    "open to truncate": lambda m: opened(m / "big", os.O_RDONLY | os.O_TRUNC),
    "open to append": lambda m: opened(m / "big", os.O_WRONLY | os.O_APPEND),
    "create": lambda m: opened(m / "new", os.O_WRONLY | os.O_CREAT),
    "create exclusively": lambda m: opened(m / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "O_TMPFILE": lambda m: opened(m.path, os.O_WRONLY | os.O_TMPFILE),
    "truncate": lambda m: os.truncate(m / "big", 10),
    "truncate longer": lambda m: os.truncate(m / "big", 10 << 20),
    "unlink": lambda m: os.unlink(m / "big"),
    "rmdir": lambda m: os.rmdir(m / "empty"),
    "mkdir": lambda m: os.mkdir(m / "new"),
    "rename": lambda m: os.rename(m / "big", m / "small"),
    "rename over": lambda m: os.rename(m / "big", m / "many" / "001.txt"),
    "exchange": lambda m: syscall("renameat2")(-100, bytes(m / "big"), -100, bytes(m / "empty"), 2),
    "link": lambda m: os.link(m / "big", m / "other"),
    "symlink": lambda m: os.symlink("big", m / "other"),
    "mknod": lambda m: os.mknod(m / "new", 0o600),
    "mkfifo": lambda m: os.mkfifo(m / "new"),
    "bind": lambda m: socket.socket(socket.AF_UNIX).bind(os.path.relpath(m / "new")),
    "chmod": lambda m: os.chmod(m / "big", 0o600),
    "chown": lambda m: os.chown(m / "big", 1, 1),
    "utimes": lambda m: os.utime(m / "big", (1, 1)),
    "touch": lambda m: os.utime(m / "big"),
    "setxattr": lambda m: os.setxattr(m / "big", "user.x", b"1"),
    "removexattr": lambda m: os.removexattr(m / "big", "user.x"),
    "setxattr of a directory": lambda m: os.setxattr(m / "many", "user.x", b"1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_path(m, tree, change):
    with pytest.raises(OSError) as e:
        CHANGES[change](m)
    assert e.value.errno == errno.EROFS, e.value
    assert sorted(os.listdir(m.path)) == sorted(os.listdir(tree))


def test_descriptor(m):
    """What a descriptor opened for reading can still try."""
    fd = os.open(m / "big", os.O_RDONLY)
    refused = {
        "fchmod": (lambda: os.fchmod(fd, 0o600), {errno.EROFS}),
        "fchown": (lambda: os.fchown(fd, 1, 1), {errno.EROFS}),
        "futimens": (lambda: os.utime(fd, (1, 1)), {errno.EROFS}),
        "fsetxattr": (lambda: os.setxattr(fd, "user.x", b""), {errno.EROFS}),
        "write": (lambda: os.write(fd, b"x"), {errno.EBADF}),
        "ftruncate": (lambda: os.ftruncate(fd, 1), {errno.EINVAL, errno.EBADF}),
        "fallocate": (lambda: os.posix_fallocate(fd, 0, 10), {errno.EBADF}),
        "copy_file_range": (lambda: os.copy_file_range(fd, fd, 10, 0, 100), {errno.EBADF}),
    }
    try:
        for name, (call, errnos) in refused.items():
            with pytest.raises(OSError) as e:
                print(name)
                call()
            assert e.value.errno in errnos, (name, e.value)
    finally:
        os.close(fd)


def test_nothing_changed(m, tree):
    for change in CHANGES.values():
        try:
            change(m)
        except OSError:
            pass
    assert trees.differences(tree, m.path) == []


def test_access(m):
    assert not os.access(m / "big", os.W_OK)
    assert os.access(m / "big", os.R_OK | os.X_OK)
