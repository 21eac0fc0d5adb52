# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a case finds in its directory, by name; the same bytes and times wherever it is made."""
import functools
import os
import random
import socket

import calls

BIG = 150_000      # above what is left to the page cache: passthrough once it is whole
CHUNK = 16384      # of the mount under test
OLD = 1_600_000_000


@functools.lru_cache(None)
def noise(seed, size):
    return random.Random(seed).randbytes(size)


def put(path, content, mode=0o644):
    with open(path, "wb") as f:
        f.write(content)
    os.chmod(path, mode)


def folder(path, *names, mode=0o755):
    os.mkdir(path)
    for name in names:
        put(os.path.join(path, name), os.path.basename(name).encode())
    os.chmod(path, mode)


def hard(path):
    put(path, noise(3, 40_000))
    os.link(path, path + "2")


def tree(path):
    os.makedirs(f"{path}/a/b")
    put(f"{path}/a/b/f", noise(4, 20_000))
    put(f"{path}/a/g", b"g")
    os.symlink("a/g", f"{path}/s")


def sock(path):
    # The path of a socket is short: bind by a descriptor of the directory
    directory = os.open(os.path.dirname(path) or ".", os.O_PATH)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    os.close(directory)


def sparse(path):
    with open(path, "wb") as f:
        f.truncate(1 << 20)
        f.seek(512 << 10)
        f.write(noise(5, 65536))


def xattrs(path):
    put(path, b"xattrs")
    os.setxattr(path, "user.one", b"1")
    os.setxattr(path, "user.two", bytes(range(256)))


def acl(path):
    put(path, b"acl", 0o640)
    calls.acl_set(path, calls.ACCESS, [(calls.USER_OBJ, 6), (calls.USER, 6, 1001),
                                       (calls.GROUP_OBJ, 4), (calls.MASK, 6), (calls.OTHER, 0)])


def acldir(path):
    os.mkdir(path)
    calls.acl_set(path, calls.DEFAULT, [(calls.USER_OBJ, 7), (calls.USER, 7, 1001),
                                        (calls.GROUP_OBJ, 5), (calls.MASK, 7), (calls.OTHER, 0)])


def many(path):
    os.mkdir(path)
    for i in range(300):
        put(f"{path}/{i:03}-{'x' * (i % 60)}", b"")


OBJECTS = {
    "file": lambda p: put(p, noise(1, BIG)),
    "other": lambda p: put(p, noise(2, 5000)),
    "small": lambda p: put(p, b"0123456789"),
    "empty": lambda p: put(p, b""),
    "hard": hard,
    "dir": lambda p: folder(p, "inside"),
    "dir2": lambda p: folder(p, "another", "more"),
    "emptydir": folder,
    "emptydir2": folder,
    "tree": tree,
    "symlink": lambda p: os.symlink("file", p),
    "symlink2": lambda p: os.symlink("elsewhere", p),
    "dangling": lambda p: os.symlink("nowhere", p),
    "dirlink": lambda p: os.symlink("dir", p),
    "loop": lambda p: os.symlink("loop", p),
    "fifo": lambda p: os.mkfifo(p, 0o644),
    "fifo2": lambda p: os.mkfifo(p, 0o600),
    "socket": sock,
    "device": lambda p: os.mknod(p, 0o20644, os.makedev(1, 3)),
    "sparse": sparse,
    "xattrs": xattrs,
    "acl": acl,
    "acldir": acldir,
    "many": many,
}
MODES = {"setid": ("other", 0o6755), "bigsetid": ("file", 0o6755), "readonly": ("small", 0o444),
         "closed": ("small", 0o000), "sticky": ("dir", 0o1777), "shared": ("dir", 0o2775)}


def everything(directory):
    """Paths of all below, the deepest first, and of the directory itself."""
    try:
        entries = sorted(os.scandir(directory), key=lambda e: e.name)
    except PermissionError:
        entries = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from everything(entry.path)
        else:
            yield entry.path
    yield directory


def make(directory, needs, uid=None):
    """Makes `directory` and in it what is needed, everything owned by `uid`."""
    os.mkdir(directory)
    for name in needs:
        path = os.path.join(directory, name)
        OBJECTS[MODES[name][0] if name in MODES else name](path)
    for path in everything(directory):
        if uid is not None:
            os.chown(path, uid, uid, follow_symlinks=False)
        os.utime(path, ns=(OLD * 10**9 + 5, OLD * 10**9 + 123456789), follow_symlinks=False)
    for name in needs:  # last: chown takes such bits away
        if name in MODES:
            os.chmod(os.path.join(directory, name), MODES[name][1])


def touch(directory, whole):
    """Fetches part of every file below, or all of it; lists, and looks at, everything."""
    for path in everything(directory):
        st = os.lstat(path)
        if os.path.isfile(path) and not os.path.islink(path) and st.st_size:
            try:
                fd = os.open(path, os.O_RDONLY)
            except PermissionError:
                continue
            if whole:
                while os.read(fd, 1 << 20):
                    pass
            else:
                os.pread(fd, 1, st.st_size // 2)
            os.close(fd)
