# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a change takes from a file: set-id bits and file capabilities, beside a native one."""
import ctypes
import mmap
import os
import struct

import pytest

USER = 65534
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
SIZE = 300 << 10  # several chunks, and more than passthrough leaves to the page cache
libc = ctypes.CDLL(None, use_errno=True)


def page():
    m = mmap.mmap(-1, 4096)
    m.write(b"d" * 4096)
    return m


def write(path, fd):
    os.pwrite(fd, b"w", 70000)


def append(path, fd):
    end = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(end, b"a")
    os.close(end)


def direct(path, fd):
    other = os.open(path, os.O_RDWR | os.O_DIRECT)
    os.pwritev(other, [page()], 8192)
    os.close(other)


def truncate(path, fd):
    os.truncate(path, 100000)


def ftruncate(path, fd):
    os.ftruncate(fd, 100001)


def cut(path, fd):
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


def allocate(path, fd):
    os.posix_fallocate(fd, 0, 4096)


def punch(path, fd):
    assert libc.fallocate(fd, 3, ctypes.c_long(65536), ctypes.c_long(4096)) == 0


def copy(path, fd):
    os.copy_file_range(fd, fd, 4096, 0, 200000)


def chown(path, fd):
    os.chown(path, -1, os.getegid())


def nothing(path, fd):
    os.pread(fd, 10, 0)


CHANGES = [write, append, direct, truncate, ftruncate, cut, allocate, punch, copy, chown, nothing]


def change(path, how, user, late, mode):
    """What is left of `mode` and the capability; `late`: they are given to an open file."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            def give():
                os.chmod(path, mode)
                os.setxattr(path, "security.capability", CAPABILITY)

            if not late:
                give()
            if not late and user:
                os.setresgid(USER, USER, USER), os.setresuid(USER, USER, USER)
            fd = os.open(path, os.O_RDWR)
            if late:
                os.pwrite(fd, b"x", 0)
                give()
                if user:
                    os.setresgid(USER, USER, USER), os.setresuid(USER, USER, USER)
            how(path, fd)
            os.close(fd)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0, how.__name__
    return oct(os.stat(path).st_mode), "security.capability" in os.listxattr(path)


def make(path, gid=USER):
    path.write_bytes(b"0123456789" * (SIZE // 10))
    os.chown(path, USER, gid)
    path.chmod(0o755)


def cases():
    for how in CHANGES:
        for user in (False, True):
            for late in (False, True):
                yield how, user, late


@pytest.mark.sanitize
@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_as_native(mount, scratch, passthrough, nobody):
    source, native = scratch / "source", scratch / "native"
    source.mkdir(), native.mkdir()
    states = ("born", "remote", "whole")
    modes = {"u": 0o4755, "ug": 0o6775, "g": 0o2745}
    every = [(f"{how.__name__}-{user:d}-{late:d}-{m}", how, user, late, mode)
             for how, user, late in cases() for m, mode in modes.items()]
    for name, *_ in every:
        make(native / name)
        for state in states[1:]:
            make(source / f"{name}-{state}")
    m = mount(source, "-o", f"allow_other,passthrough={passthrough}")
    wrong = []
    for name, how, user, late, mode in every:
        expected = change(native / name, how, user, late, mode)
        for state in states:
            path = m / f"{name}-{state}"
            if state == "born":
                make(path)
            elif state == "whole":
                path.read_bytes()
            found = change(path, how, user, late, mode)
            if found != expected:
                wrong.append((path.name, found, expected))
    assert not wrong
    before = {p.name: os.stat(p).st_mode for p in m.path.iterdir()}
    m.umount()
    m = m.again()
    assert {p.name: os.stat(p).st_mode for p in m.path.iterdir()} == before


def test_group_of_others(mount, scratch, nobody):
    """Without the group's x: who is no member loses it."""
    native, source = scratch / "native", scratch / "source"
    source.mkdir(), native.mkdir()
    m = mount(source, "-o", "allow_other")
    for path in native / "f", m / "f":
        make(path, gid=0)
    results = [change(top / "f", write, True, False, 0o2745) for top in (native, m.path)]
    assert results[0] == results[1] == (oct(0o100745), False)


@pytest.mark.parametrize("passthrough", ["auto", "no"])
@pytest.mark.parametrize("state", ["born", "remote", "whole"])
def test_mapping(mount, scratch, passthrough, state, nobody):
    """Linux leaves them; here what is written back takes them."""
    source = scratch / "source"
    source.mkdir()
    make(source / "f")
    m = mount(source, "-o", f"allow_other,passthrough={passthrough}")
    path = m / "f"
    if state == "born":
        path.unlink()
        make(path)
    elif state == "whole":
        path.read_bytes()

    def mapped(path, fd):
        view = mmap.mmap(fd, SIZE)
        view[0] = 1
        view.flush()
        view.close()

    assert change(path, mapped, True, False, 0o6755) == (oct(0o100755), False)
    assert path.read_bytes()[:2] == b"\x011"


def test_price_of_a_write(mount, scratch):
    """The kernel asks for the capability once, not before each write."""
    source = scratch / "source"
    source.mkdir()
    m = mount(source, "-o", "debug", env={"G_MESSAGES_DEBUG": "all"})
    with open(m / "f", "wb", buffering=0) as f:
        for _ in range(50):
            f.write(b"x" * 100)
    assert (m / "f").stat().st_size == 5000
    m.umount()
    assert m.log().count("opcode: CREATE") == 1
    assert m.log().count("opcode: GETXATTR") <= 2
