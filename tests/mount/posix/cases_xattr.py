# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Extended attributes."""
import calls
import subprocess

from case import *
from kit import noise

CREATE, REPLACE = os.XATTR_CREATE, os.XATTR_REPLACE


def round_trip(size):
    def run(w):
        value = noise(size + 9, size)
        for name in ("file", "dir"):
            os.setxattr(name, "user.v", value)
            same(os.getxattr(name, "user.v"), value, name)
            same(os.listxattr(name), ["user.v"], name)
        fd = os.open("file", os.O_RDONLY)
        same(os.getxattr(fd, "user.v"), value)
        os.setxattr("file", "user.v", b"short")
        same(os.getxattr(fd, "user.v"), b"short")
        os.setxattr(fd, "user.v", value)
        same(os.getxattr("file", "user.v"), value)
        os.removexattr(fd, "user.v")
        same(os.listxattr("file"), [])
    return run


for _size in (0, 1, 100, 255, 256, 1000, 3000):
    add(f"xattr.of-{_size}-bytes", round_trip(_size), "file dir")


@case("file dir fifo symlink")
def flags(w):
    for name in ("file", "dir"):
        fails("ENODATA", os.getxattr, name, "user.x")
        fails("ENODATA", os.removexattr, name, "user.x")
        fails("ENODATA", os.setxattr, name, "user.x", b"1", REPLACE)
        os.setxattr(name, "user.x", b"1", CREATE)
        fails("EEXIST", os.setxattr, name, "user.x", b"2", CREATE)
        same(os.getxattr(name, "user.x"), b"1")
        os.setxattr(name, "user.x", b"2", REPLACE)
        os.setxattr(name, "user.x", b"3")
        same(os.getxattr(name, "user.x"), b"3")
        os.removexattr(name, "user.x")
        fails("ENODATA", os.removexattr, name, "user.x")
    fails("EINVAL", os.setxattr, "file", "user.x", b"", 4)
    fails("EEXIST|ENODATA", os.setxattr, "file", "user.x", b"", CREATE | REPLACE)


@case("xattrs")
def those_that_were_there(w):
    same(sorted(os.listxattr("xattrs")), ["user.one", "user.two"])
    same(os.getxattr("xattrs", "user.two"), bytes(range(256)))
    fails("EEXIST", os.setxattr, "xattrs", "user.one", b"", CREATE)
    os.setxattr("xattrs", "user.one", b"other", REPLACE)
    os.setxattr("xattrs", "user.three", b"3")
    os.removexattr("xattrs", "user.two")
    same(sorted(os.listxattr("xattrs")), ["user.one", "user.three"])
    fails("ENODATA", os.getxattr, "xattrs", "user.two")
    same(os.getxattr("xattrs", "user.one"), b"other")
    os.removexattr("xattrs", "user.one"), os.removexattr("xattrs", "user.three")
    same(os.listxattr("xattrs"), [])
    same(read("xattrs"), b"xattrs")


@case("xattrs")
def they_go_with_the_file(w):
    os.link("xattrs", "linked")
    os.rename("xattrs", "moved")
    write("moved", b"other content")
    os.truncate("moved", 3)
    for name in ("moved", "linked"):
        same(sorted(os.listxattr(name)), ["user.one", "user.two"])
    os.setxattr("linked", "user.one", b"by the other")
    same(os.getxattr("moved", "user.one"), b"by the other")
    subprocess.run(["cp", "-a", "moved", "copied"], check=True)
    same(sorted(os.listxattr("copied")), ["user.one", "user.two"])


@case("xattrs")
def sizes_and_erange(w):
    import ctypes
    buffer = ctypes.create_string_buffer(300)

    def get(size):
        return calls.check(calls.libc.getxattr(b"xattrs", b"user.two", buffer, size), "getxattr")

    def listed(size):
        return calls.check(calls.libc.listxattr(b"xattrs", buffer, size), "listxattr")
    same((get(0), get(256), get(300)), (256, 256, 256))
    fails("ERANGE", get, 255)
    fails("ERANGE", get, 1)
    same((listed(0), listed(18), listed(300)), (18, 18, 18))
    fails("ERANGE", listed, 17)
    fails("ERANGE", listed, 1)


@case("file")
def names(w):
    long = "user." + "n" * 250
    for name in (long, "user.x y", "user.\u00fc", "user.a.b.c", "user.A", "user.a", b"user.\xff"):
        os.setxattr("file", name, b"v")
        same(os.getxattr("file", name), b"v")
    same(len(os.listxattr("file")), 7)
    fails("ERANGE", os.setxattr, "file", long + "n", b"")
    fails("ERANGE", os.setxattr, "file", "", b"")
    fails("EINVAL", os.setxattr, "file", "user.", b"")
    for name in ("nonsense", "none.x", "users.x", "user"):
        fails("EOPNOTSUPP", os.setxattr, "file", name, b"")
        fails("EOPNOTSUPP|ENODATA", os.getxattr, "file", name)
    fails("E2BIG", os.setxattr, "file", "user.x", bytes(65537))
    fails("ENOENT", os.setxattr, "missing", "user.x", b"")
    fails("ENOTDIR", os.getxattr, "file/x", "user.x")


@case("file")
def fifty_of_them(w):
    for i in range(50):
        os.setxattr("file", f"user.n{i}", b"v%d" % i)
    same(sorted(os.listxattr("file")), sorted(f"user.n{i}" for i in range(50)))
    for i in range(0, 50, 2):
        os.removexattr("file", f"user.n{i}")
    same({n: os.getxattr("file", n) for n in os.listxattr("file")},
         {f"user.n{i}": b"v%d" % i for i in range(1, 50, 2)})


@case("file dir fifo socket symlink dangling")
def user_names_are_for_files_and_directories(w):
    for name in ("fifo", "socket", "symlink", "dangling"):
        fails("EPERM", os.setxattr, name, "user.x", b"", follow_symlinks=False)
        fails("EPERM|ENODATA", os.getxattr, name, "user.x", follow_symlinks=False)
        w.note(outcome(os.getxattr, name, "user.x", follow_symlinks=False))
        same(os.listxattr(name, follow_symlinks=False), [])
    os.setxattr("symlink", "user.x", b"of the file")
    same(os.getxattr("file", "user.x"), b"of the file")
    fails("ENOENT", os.setxattr, "dangling", "user.x", b"")


@case("file dir symlink fifo", users="root")
def privileged_names(w):
    for name in ("file", "dir", "symlink", "fifo"):
        for attribute in ("trusted.x", "security.x"):
            os.setxattr(name, attribute, b"v", follow_symlinks=False)
            same(os.getxattr(name, attribute, follow_symlinks=False), b"v", name)
        same(sorted(os.listxattr(name, follow_symlinks=False)), ["security.x", "trusted.x"], name)
        os.removexattr(name, "trusted.x", follow_symlinks=False)
        same(os.listxattr(name, follow_symlinks=False), ["security.x"], name)
    os.setxattr("file", "trusted.hidden", b"v")
    same(as_user(lambda: outcome(os.setxattr, "file", "trusted.x", b"")), "EPERM")
    same(as_user(lambda: outcome(os.getxattr, "file", "trusted.hidden")), "ENODATA")
    same(as_user(lambda: os.listxattr("file")), ["security.x"])


@case("file", users="user")
def privileged_names_are_roots(w):
    fails("EPERM", os.setxattr, "file", "trusted.x", b"")
    fails("EPERM", os.setxattr, "file", "security.x", b"")
    fails("EPERM", os.setxattr, "file", "security.capability",
          bytes.fromhex("0100000200040000000000000000000000000000"))
    fails("ENODATA", os.getxattr, "file", "trusted.x")


@case("file dir", users="user")
def take_the_permission(w):
    os.setxattr("file", "user.x", b"1")
    os.chmod("file", 0o400)
    fails("EACCES", os.setxattr, "file", "user.x", b"2")
    fails("EACCES", os.removexattr, "file", "user.x")
    same(os.getxattr("file", "user.x"), b"1")
    os.chmod("file", 0o200)
    fails("EACCES", os.getxattr, "file", "user.x")
    os.setxattr("file", "user.x", b"2")
    os.chmod("file", 0o644)
    same(os.getxattr("file", "user.x"), b"2")
    os.chmod("dir", 0o555)
    fails("EACCES", os.setxattr, "dir", "user.x", b"2")
    os.chmod("dir", 0o755)


@case("file")
def stamps(w):
    before = os.stat("file")
    tick()
    os.setxattr("file", "user.x", b"1")
    after = os.stat("file")
    assert after.st_ctime_ns > before.st_ctime_ns
    same(after.st_mtime_ns, before.st_mtime_ns)
    tick()
    os.removexattr("file", "user.x")
    assert os.stat("file").st_ctime_ns > after.st_ctime_ns


@case("file", users="root")
def capabilities(w):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr("file", "security.capability", capability)
    same(os.getxattr("file", "security.capability"), capability)
    os.chmod("file", 0o755)
    same(os.getxattr("file", "security.capability"), capability)
    os.chown("file", 12, 34)
    fails("ENODATA", os.getxattr, "file", "security.capability")
    subprocess.run(["setcap", "cap_net_raw=ep", "file"], check=True)
    got = subprocess.run(["getcap", "file"], check=True, capture_output=True, text=True).stdout
    same(got, "file cap_net_raw=ep\n")
