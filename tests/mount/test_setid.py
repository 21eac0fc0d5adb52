# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a change takes from a file: set-id bits and file capabilities, beside a native one."""
import ctypes
import mmap
import os
import stat
import struct

import pytest

import processes

USER = 65534
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
ACL = "system.posix_acl_access"
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


def compare(mount, scratch, passthrough):
    """Each change of each kind of file, beside the same of a native one."""
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


@pytest.mark.sanitize
def test_as_native(mount, scratch, nobody):
    compare(mount, scratch, "no")


def test_as_native_in_passthrough(mount, scratch, nobody):
    """With the plain build only: the daemon does less of the same."""
    compare(mount, scratch, "auto")


def test_group_of_others(mount, scratch, nobody):
    """Without the group's x: who is no member loses it."""
    native, source = scratch / "native", scratch / "source"
    source.mkdir(), native.mkdir()
    m = mount(source, "-o", "allow_other")
    for path in native / "f", m / "f":
        make(path, gid=0)
    results = [change(top / "f", write, True, False, 0o2745) for top in (native, m.path)]
    assert results[0] == results[1] == (oct(0o100745), False)


def test_the_mode_of_an_acl(mount, scratch):
    """An ACL is the mode, too: what then goes, goes from that."""
    native, source = scratch / "native", scratch / "source"
    source.mkdir(), native.mkdir()
    make(source / "f")
    m = mount(source, "-o", "allow_other")
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, who) for tag, perm, who in (
        (1, 6, 0xffffffff), (2, 7, 1001), (4, 7, 0xffffffff), (16, 7, 0xffffffff),
        (32, 6, 0xffffffff)))
    make(native / "f")
    results = []
    for top in (native, m.path):
        os.chmod(top / "f", 0o4755)
        os.setxattr(top / "f", ACL, acl)
        os.chown(top / "f", 0, 0)
        results.append((oct(os.stat(top / "f").st_mode), os.getxattr(top / "f", ACL)))
    assert results[0] == results[1] and results[0][0] == oct(0o100676)


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("gid", [999, USER])
def test_acl_by_its_owner(mount, scratch, nobody, kind, user, gid):
    """Who is not of the group loses the set-group-id bit with an ACL that he sets."""
    native, source = scratch / "native", scratch / "source"
    source.mkdir(), native.mkdir()
    m = mount(source, "-o", "allow_other")
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 7, 0xffffffff)
                                          for tag in (1, 4, 32))
    results = []
    for top in (native, m.path):
        path = top / "f"
        path.mkdir() if kind == "directory" else make(path)
        os.chown(path, USER, gid)
        os.chmod(path, 0o2755)
        pid = os.fork()
        if pid == 0:
            try:
                if user:
                    os.setgroups([]), os.setresgid(USER, USER, USER), os.setresuid(USER, USER, USER)
                os.setxattr(path, ACL, acl)
            except OSError as e:
                os._exit(e.errno)
            os._exit(0)
        results.append((os.waitpid(pid, 0)[1], oct(os.stat(path).st_mode)))
    assert results[0] == results[1]
    assert bool(int(results[0][1], 8) & stat.S_ISGID) == (not user or gid == USER)


def test_chown_to_nobody_in_particular(mount, scratch):
    native, source = scratch / "native", scratch / "source"
    source.mkdir(), native.mkdir()
    m = mount(source)
    for top in native, m.path:
        make(top / "f")
        os.mknod(top / "d", 0o600 | 0o10000)
        for name in "f", "d":
            os.chmod(top / name, 0o6755)
            os.chown(top / name, -1, -1)
    for name in "f", "d":
        assert oct((m / name).stat().st_mode) == oct((native / name).stat().st_mode)


@pytest.mark.parametrize("passthrough", ["auto", "no"])
@pytest.mark.parametrize("state", ["born", "remote", "whole"])
def test_mapping(mount, scratch, passthrough, state, nobody):
    """What is written through a mapping takes no set-id bits."""
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

    native = scratch / "native"
    make(native)
    # the capability goes with the daemon's own write; natively it stays
    assert change(path, mapped, True, False, 0o6755)[0] == \
        change(native, mapped, True, False, 0o6755)[0]
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


def give(path, kind, mode):
    if kind == "file":
        path.write_bytes(b"")
    else:
        os.mknod(path, {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}[kind] | 0o644)
    os.chown(path, USER, 100)
    os.chmod(path, mode)


def test_chown_beside_a_native_one(mount, scratch, nobody):
    """To nobody else as well; by the owner, who is not of the group, and by root."""
    source, native = scratch / "source", scratch / "native"
    source.mkdir(), native.mkdir()
    m = mount(source, "-o", "allow_other")
    every = [(f"{kind}-{mode:o}-{uid}-{gid}-{user:d}", kind, mode, uid, gid, user)
             for kind in ("file", "fifo", "socket") for mode in (0o6755, 0o2745, 0o4111, 0o2646)
             for uid, gid in ((-1, -1), (USER, USER), (-1, USER)) for user in (False, True)]
    for top in native, m.path:
        for name, kind, mode, *_ in every:
            give(top / name, kind, mode)
        for user in False, True:
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    if user:
                        os.setgroups([]), os.setresgid(*[USER] * 3), os.setresuid(*[USER] * 3)
                    for name, _, _, uid, gid, by in every:
                        if by == user:
                            os.chown(top / name, uid, gid)
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0

    def told(top):
        return {p.name: (oct((st := p.lstat()).st_mode), st.st_uid, st.st_gid)
                for p in top.iterdir()}

    assert told(m.path) == told(native)
    m.umount()
    m = m.again()
    assert told(m.path) == told(native)


@pytest.mark.parametrize("user", [False, True])
def test_readers_in_passthrough(mount, scratch, user, nobody):
    """The file stays in their mode; what is written comes to us all the same."""
    source, native = scratch / "source", scratch / "native"
    source.mkdir(), native.mkdir()
    make(source / "f", gid=100), make(native / "f", gid=100)
    m = mount(source, "-o", "allow_other")
    (m / "f").read_bytes()
    processes.wait_until(lambda: m.status("f")["mode"] == "none", 5)
    for mode in 0o6755, 0o2745, 0o4711:
        with open(m / "f", "rb") as reader:
            expected = change(native / "f", write, user, False, mode)
            assert change(m / "f", write, user, False, mode) == expected
            assert reader.read() == (native / "f").read_bytes()


def test_not_written_in_passthrough(mount, scratch, nobody):
    """Where a mapping would come to nobody's notice; read in it as ever."""
    (scratch / "source").mkdir()
    m = mount(scratch / "source")
    if not m.status()["passthrough"]["usable"]:
        pytest.skip("no passthrough here")

    def mode(name, how):
        assert processes.wait_until(lambda: m.status(name)["mode"] == "none", 60)
        with open(m / name, how):
            return m.status(name)["mode"]

    for name, bits, capable in (("plain", 0, False), ("u", 0o4000, False), ("g", 0o2000, False),
                                ("capable", 0, True)):
        make(m / name)
        os.chmod(m / name, 0o755 | bits)
        if capable:
            os.setxattr(m / name, "security.capability", CAPABILITY)
        assert mode(name, "r+b") == ("cached" if bits or capable else "passthrough"), name
        assert mode(name, "rb") == "passthrough", name


def test_a_file_without_a_name_is_born_with_them(mount, scratch, nobody):
    """O_TMPFILE: the kernel knows of them, and takes them at the first write."""
    def made(top, write):
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(nobody)
                os.setuid(nobody)
                fd = os.open(top, os.O_TMPFILE | os.O_RDWR, 0o6755)
                told = stat.S_IMODE(os.fstat(fd).st_mode)
                if write:
                    os.write(fd, b"x" * SIZE)
                told = told << 12 | stat.S_IMODE(os.fstat(fd).st_mode)
                (scratch / "told").write_text(str(told))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        return oct(int((scratch / "told").read_text()))

    for name in ("source", "native"):
        (scratch / name).mkdir()
        os.chown(scratch / name, nobody, nobody)
    (scratch / "told").touch()
    os.chown(scratch / "told", nobody, nobody)
    m = mount(scratch / "source", "-o", "allow_other,suid")
    for write in (False, True):
        assert made(m.path, write) == made(scratch / "native", write)
