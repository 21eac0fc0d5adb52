# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A root file system in a mount of a daemon that may not make what it shows."""
import json
import os
import random
import socket
import stat
import struct
import subprocess
import sys

import pytest

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
# What mounts, and no more: to set owners, make devices and pass by modes takes other capabilities
BARE = ("setpriv", "--bounding-set=-all,+sys_admin")
UNSET = 0xffffffff


def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


NAMED = acl((1, 6, UNSET), (2, 4, 1000), (4, 4, UNSET), (16, 6, UNSET), (32, 0, UNSET))
SMALL = acl((1, 4, UNSET), (2, 5, 1000), (4, 1, UNSET), (16, 5, UNSET), (32, 4, UNSET))


def make_root(top):
    choose = random.Random(5)
    owners = [(0, 0), (0, 42), (1, 1), (1000, 1000), (65534, 65534), (2000000, 3)]
    for d in range(8):
        path = top / f"d{d}"
        path.mkdir(parents=True)
        for f in range(40):
            file = path / f"f{f}"
            file.write_bytes(b"0123456789abcdef" * choose.choice([0, 1, 700, 9000]))
            os.chown(file, *choose.choice(owners))
            os.chmod(file, choose.choice([0o644, 0o755, 0o4755, 0o2755, 0o6711, 0o444, 0o664]))
        for f in range(6):
            os.symlink(f"f{f}", path / f"l{f}")
            os.lchown(path / f"l{f}", *choose.choice(owners))
        os.mknod(path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(path / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 300))
        os.mkfifo(path / "fifo", 0o620)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path / "socket"))
        for name in ("null", "loop", "fifo", "socket"):
            os.chown(path / name, *choose.choice(owners))
            os.chmod(path / name, 0o620)
        # its value can be had only by who can read the file
        os.chmod(path / "f1", 0o4755)
        os.setxattr(path / "f1", "user.note", b"hello")
        os.setxattr(path / "f2", "trusted.secret", b"root's")
        os.setxattr(path / "loop", "trusted.secret", b"root's")
        os.setxattr(path / "f3", "security.capability", CAPABILITY)
        os.setxattr(path / "f4", "system.posix_acl_access", NAMED)
        os.setxattr(path / "f5", "system.posix_acl_access", SMALL)
        os.setxattr(path / "f5", "user.note", b"hello")
        os.chown(path, *choose.choice(owners))
        os.chmod(path, choose.choice([0o755, 0o2775, 0o1777, 0o555]))
    os.setxattr(top / "d1", "system.posix_acl_default", NAMED)
    os.setxattr(top / "d2", "trusted.secret", b"root's")


def look(top):
    """What stat, ls -l and getfattr tell of all that is there."""
    found = {}
    for at, dirs, files in os.walk(top):
        for name in [".", *dirs, *files]:
            path = os.path.join(at, name)
            st = os.lstat(path)
            told = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink]
            told += [st.st_rdev] if stat.S_ISBLK(st.st_mode) or stat.S_ISCHR(st.st_mode) else []
            told += [] if stat.S_ISDIR(st.st_mode) else [st.st_size, st.st_mtime_ns]
            told += [os.readlink(path)] if stat.S_ISLNK(st.st_mode) else []
            told += [[n, os.getxattr(path, n, follow_symlinks=False).hex()]
                     for n in sorted(os.listxattr(path, follow_symlinks=False))]
            found[os.path.relpath(path, top)] = told
    return found


def differences(a, b):
    return {n: (a.get(n), b.get(n)) for n in {*a, *b} if a.get(n) != b.get(n)}


def inodes(top):
    return {os.path.relpath(p, top): os.lstat(p).st_ino for at, dirs, files in os.walk(top)
            for p in [os.path.join(at, n) for n in (*dirs, *files)]}


def test_of_a_user(mount, lacunafs, scratch, nobody):
    """It looks to its user as the tree itself does."""
    make_root(scratch / "root")
    lacunafs.give(nobody)
    m = mount(scratch / "root", user=nobody)
    script = ("import sys, json; sys.path.insert(0, sys.argv[1]); import test_owners as t; "
              "print(json.dumps(t.look(sys.argv[2])))")

    def seen(path):
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                               sys.executable, "-c", script, os.path.dirname(__file__), path],
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert differences(seen(scratch / "root"), seen(m.path)) == {}


def changes(top):
    """What root does in a root file system."""
    for d in range(8):
        path = top / f"d{d}"
        for n, name in enumerate(sorted(os.listdir(path))):
            file = path / name
            if n % 3 == 0:
                os.chown(file, 1234 + n, 4321, follow_symlinks=False)
            if n % 3 == 1:
                os.chown(file, -1, 77, follow_symlinks=False)
            if n % 4 == 0 and not file.is_symlink():
                os.chmod(file, 0o6751)
            os.utime(file, ns=(n, n), follow_symlinks=False)
        os.chown(path, -1, 99)
        os.chmod(path, 0o2750 + d)
        os.setxattr(path / "f7", "trusted.more", b"1")
        os.setxattr(path / "f8", "security.capability", CAPABILITY)
        os.setxattr(path / "f9", "system.posix_acl_access", SMALL)
        os.setxattr(path / "null", "trusted.more", b"2")
        os.removexattr(path / "f2", "trusted.secret")
        os.removexattr(path / "f4", "system.posix_acl_access")
        os.setxattr(path, "trusted.more", b"3")
        os.mkdir(path / "made")
        os.mknod(path / "made/zero", stat.S_IFCHR | 0o640, os.makedev(1, 5))
        os.mknod(path / "made/disk", stat.S_IFBLK | 0o640, os.makedev(8, 17))
        os.mkfifo(path / "made/fifo")
        os.symlink("../f1", path / "made/link")
        (path / "made/file").write_bytes(b"made")
        os.mkdir(path / "made/dir")
        for n, name in enumerate(("zero", "disk", "fifo", "link", "file", "dir")):
            os.chown(path / "made" / name, 7 + n, 8, follow_symlinks=False)
            os.rename(path / "made" / name, path / "made" / f"{name}2")
        os.chmod(path / "made/file2", 0o4711)
        os.chmod(path / "made/dir2", 0o3770)
        for file in path.glob("made/*2"):
            os.utime(file, ns=(1, 1), follow_symlinks=False)
        os.utime(path, ns=(5, 5))


@pytest.mark.sanitize
def test_of_root_without_capabilities(mount, scratch):
    """What root changes there is kept and reported, here and after a remount, filled or not."""
    make_root(scratch / "root")
    make_root(scratch / "native")
    for at, dirs, files in os.walk(scratch / "native"):  # the same times
        for name in (*dirs, *files):
            path = os.path.join(at, name)
            st = os.lstat(os.path.join(scratch / "root", os.path.relpath(at, scratch / "native"),
                                       name))
            os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns), follow_symlinks=False)
    m = mount(scratch / "root", "-o", "allow_other,chunk_size=16K", prefix=BARE)
    wanted = look(scratch / "native")
    assert differences(look(m.path), wanted) == {}
    changes(scratch / "native")
    changes(m.path)
    wanted = look(scratch / "native")
    assert differences(look(m.path), wanted) == {}
    before = inodes(m.path)
    m.umount()
    m = m.again(prefix=BARE)
    assert differences(look(m.path), wanted) == {}
    assert inodes(m.path) == before
    for at, _, files in os.walk(m.path):
        for name in files:
            path = os.path.join(at, name)
            if stat.S_ISREG(os.lstat(path).st_mode) and os.lstat(path).st_mode & 0o004:
                with open(path, "rb") as f:
                    f.read()
    assert differences(look(m.path), wanted) == {}
    m.umount()
    m = m.again(prefix=BARE)
    assert differences(look(m.path), wanted) == {}
    assert inodes(m.path) == before


def test_times_beyond_what_can_be_told(mount, scratch):
    """The nearest that can: never one that has wrapped into another century."""
    source, last = scratch / "source", ((1 << 63) - 1) // 10**9
    source.mkdir()
    for name in ("late", "kept", "partly"):
        (source / name).write_bytes(bytes(200_000))
    os.utime(source / "late", (13_000_000_000, 13_000_000_000))  # 2381
    m = mount(source, "-o", "rw,allow_other")
    (m / "born").write_bytes(b"born")
    for name in ("born", "kept", "partly"):
        os.utime(m / name, (13_000_000_000, 13_000_000_000))
    with open(m / "partly", "rb", buffering=0) as f:
        f.read(1)
    for _ in range(2):
        for name in ("late", "born", "kept", "partly"):
            assert int(os.stat(m / name).st_mtime) == last, name
        m.umount()
        m = m.again()
    (m / "partly").read_bytes(), (m / "late").read_bytes()
    assert int(os.stat(m / "partly").st_mtime) == int(os.stat(m / "late").st_mtime) == last
