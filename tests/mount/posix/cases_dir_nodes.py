# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""mknod: devices, fifos and sockets."""
import socket

from case import *


@case("file")
def mknod_kinds(w):
    os.umask(0o022)
    os.mknod("f", 0o666)
    os.mknod("g", 0o100600)
    os.mknod("p", stat.S_IFIFO | 0o666)
    os.mknod("s", stat.S_IFSOCK | 0o755)
    same([stat.S_IFMT(os.lstat(n).st_mode) for n in "fgps"],
         [stat.S_IFREG, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK])
    same([mode_of(n) for n in "fgps"], [0o644, 0o600, 0o644, 0o755])
    write("f", b"content")
    same(read("f"), b"content")
    fails("EPERM", os.mknod, "d", stat.S_IFDIR | 0o755)
    st = os.lstat("p")
    same((st.st_uid, st.st_gid, st.st_nlink, st.st_size), (os.getuid(), os.getgid(), 1, 0))


@case(users="root")
def mknod_devices(w):
    for i, (kind, major, minor) in enumerate([(stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 7, 0),
                                              (stat.S_IFCHR, 511, 70_000),
                                              (stat.S_IFBLK, 4095, (1 << 20) - 1)]):
        os.mknod(f"d{i}", kind | 0o640, os.makedev(major, minor))
        st = os.lstat(f"d{i}")
        same((stat.S_IFMT(st.st_mode), os.major(st.st_rdev), os.minor(st.st_rdev)),
             (kind, major, minor))
        os.rename(f"d{i}", f"e{i}")
        os.chmod(f"e{i}", 0o600)
        os.chown(f"e{i}", 12, 34)
        after = os.lstat(f"e{i}")
        same((after.st_rdev, after.st_ino, after.st_uid), (st.st_rdev, st.st_ino, 12))
    os.mknod("whiteout", stat.S_IFCHR, 0)  # as overlayfs has it; here it is nothing special
    same(os.lstat("whiteout").st_rdev, 0)
    assert "whiteout" in os.listdir(".")
    os.link("e0", "linked")
    same(os.lstat("linked").st_rdev, os.makedev(1, 3))


@case("device", users="user")
def mknod_devices_are_roots(w):
    fails("EPERM", os.mknod, "c", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    fails("EPERM", os.mknod, "b", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    os.unlink("device")


@case("fifo")
def a_fifo_works(w):
    for name in ("fifo", "made"):
        if name == "made":
            os.mkfifo(name)
        reader = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(name, os.O_WRONLY)
        os.write(writer, b"through")
        same(os.read(reader, 100), b"through")
        os.rename(name, "moved")
        os.write(writer, b"again")
        os.unlink("moved")
        same(os.read(reader, 100), b"again")


@case()
def a_socket_works(w):
    server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    server.bind("s")
    same(stat.S_ISSOCK(os.lstat("s").st_mode), True)
    fails("EADDRINUSE", socket.socket(socket.AF_UNIX).bind, "s")
    server.listen()
    os.rename("s", "t")
    client.connect("t")
    other, _ = server.accept()
    client.send(b"through")
    same(other.recv(100), b"through")
    os.unlink("t")
    fails("ENOENT", socket.socket(socket.AF_UNIX).connect, "t")
