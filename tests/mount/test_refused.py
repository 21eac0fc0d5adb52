# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a mount cannot do is refused with the errno that says so, at once, and fetches nothing."""
import ctypes
import errno
import fcntl
import os
import struct
import subprocess

import pytest

import processes
import trees

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
FSGETXATTR, FSSETXATTR = 0x801c581f, 0x401c5820
IMMUTABLE, APPEND = 0x10, 0x20
COLLAPSE, INSERT = 0x08, 0x20


def errno_of(call):
    try:
        call()
    except OSError as e:
        return e.errno
    return 0


def checked(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


@pytest.fixture
def lazy(mount, serve, scratch):
    """(mount, server) with a file of which nothing is there, and one that was made."""
    trees.put(scratch / "source" / "f", trees.noise(1, 300_000))
    server = serve(scratch / "source")
    m = mount(server.url, "-o", "rw,allow_other" if os.geteuid() == 0 else "rw")
    (m / "made").write_bytes(bytes(300_000))
    os.stat(m / "f")
    return m, server


@pytest.mark.parametrize("name", ["f", "made", "."])
@pytest.mark.skipif(os.geteuid() != 0, reason="sets what only root may set")
def test_flags_of_chattr(lazy, name):
    m, server = lazy
    fd = os.open(m / name, os.O_RDONLY)
    try:
        flags = struct.unpack("=I4x", fcntl.ioctl(fd, GETFLAGS, bytes(8)))[0]
        assert flags == 0
        for wanted in (IMMUTABLE, APPEND):
            assert errno_of(lambda: fcntl.ioctl(fd, SETFLAGS, struct.pack("=Q", wanted))) \
                == errno.EOPNOTSUPP
        fcntl.ioctl(fd, SETFLAGS, bytes(8))  # none: as it is
        assert fcntl.ioctl(fd, FSGETXATTR, bytes(28)) == bytes(28)
        assert errno_of(lambda: fcntl.ioctl(fd, FSSETXATTR, struct.pack("=I24x", 8))) \
            == errno.EOPNOTSUPP
    finally:
        os.close(fd)
    if name != ".":
        with open(m / name, "r+b") as f:  # and it is writable as before
            assert f.read(1) is not None
    assert server.bytes_sent("/f") <= 300_000


@pytest.mark.parametrize("mode", [COLLAPSE, INSERT])
@pytest.mark.parametrize("name", ["f", "made"])
def test_ranges_that_move(lazy, name, mode):
    m, server = lazy
    fd = os.open(m / name, os.O_RDWR)
    try:
        result = libc.fallocate(fd, mode, ctypes.c_long(4096), ctypes.c_long(4096))
        assert (result, ctypes.get_errno()) == (-1, errno.EOPNOTSUPP)
    finally:
        os.close(fd)
    assert os.stat(m / name).st_size == 300_000
    assert server.bytes_sent("/f") == 0


def test_file_handles(lazy):
    """One that is given out must be good for as long as the file is."""
    m, _ = lazy
    handle, mount_id = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 8 + 128), \
        ctypes.c_int()
    result = libc.name_to_handle_at(-100, os.fsencode(m / "f"), handle, ctypes.byref(mount_id), 0)
    assert (result, ctypes.get_errno()) == (-1, errno.EOPNOTSUPP)


@pytest.mark.skipif(os.geteuid() != 0, reason="an idmapped mount needs root")
def test_idmapped(lazy):
    m, _ = lazy
    holder = subprocess.Popen(["unshare", "-U", "sleep", "60"])
    try:
        mine = os.readlink("/proc/self/ns/user")
        assert processes.wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/user") != mine)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{holder.pid}/{name}", "w", encoding="ascii") as f:
                f.write("0 100000 65536\n")
        users = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY)
    finally:
        holder.kill()
        holder.wait()
    tree = checked(428, -100, os.fsencode(m.path), 1 | os.O_CLOEXEC)  # open_tree
    attributes = struct.pack("=QQQQ", 0x00100000, 0, 0, users)
    got = errno_of(lambda: checked(442, tree, b"", 0x1000, attributes, len(attributes)))
    os.close(tree), os.close(users)
    assert got == errno.EINVAL
