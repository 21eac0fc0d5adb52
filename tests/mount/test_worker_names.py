# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A worker took over: every operation on an open file tells what it tells natively, whatever has
become of the file's names, and whatever the store has of it."""
import mmap
import os
import pathlib
import random
import shutil
import sys

import processes
import pytest
from dying import die

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "posix"))

import calls  # noqa: E402

SIZE = 9 * 16384 + 700  # a file that is cached whole is passed through
OPTIONS = ("-o", "keeper=auto,allow_other,chunk_size=16K,readahead=0")


def noise(seed, size=SIZE):
    return random.Random(seed).randbytes(size)


def put(path, content):
    with open(path, "wb") as f:
        f.write(content)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def pread(path, size, offset):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


# What the store has of "f" before; `d` is a directory of the mount, or of the native tree
STATES = {
    "remote": lambda d: None,
    "partial": lambda d: pread(f"{d}/f", 10, 40000),
    "fetched": lambda d: read(f"{d}/f"),
    "kept": lambda d: os.chmod(f"{d}/f", 0o604),
    "mixed": lambda d: put_at(f"{d}/f", b"changed", 20000),
    "owned": lambda d: (read(f"{d}/f"), put_at(f"{d}/f", b"changed", 20000)),
    "born": lambda d: (os.unlink(f"{d}/f"), put(f"{d}/f", noise(3))),
    "small": lambda d: (os.unlink(f"{d}/f"), os.rename(f"{d}/small", f"{d}/f")),
    "linked": lambda d: (os.unlink(f"{d}/f"), os.rename(f"{d}/h1", f"{d}/f")),
}


def put_at(path, data, offset):
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, data, offset)
    os.close(fd)


def unlink(*names):
    return lambda d: [os.unlink(f"{d}/{n}") for n in names]


def link(old, new):
    return lambda d: os.link(f"{d}/{old}", f"{d}/{new}")


def rename(old, new, flags=0):
    return lambda d: calls.renameat2(f"{d}/{old}", f"{d}/{new}", flags)


def unlink_all(d):
    for name in ("f", "h1", "h2"):
        if os.path.exists(f"{d}/{name}"):
            os.unlink(f"{d}/{name}")


# What becomes of the names of "f" while it is open
HISTORIES = {
    "none": [],
    "unlinked": [unlink("f")],
    "unlinked, made again": [unlink("f"), lambda d: put(f"{d}/f", b"another")],
    "linked": [link("f", "f2")],
    "linked, unlinked once": [link("f", "f2"), unlink("f")],
    "linked, the second unlinked": [link("f", "f2"), unlink("f2")],
    "linked, unlinked twice": [link("f", "f2"), unlink("f"), unlink("f2")],
    "linked, unlinked, linked": [link("f", "sub/f2"), unlink("f"), link("sub/f2", "f")],
    "renamed": [rename("f", "sub/f2")],
    "renamed, unlinked": [rename("f", "sub/f2"), unlink("sub/f2")],
    "replaced": [rename("g", "f")],
    "linked, replaced": [link("f", "f2"), rename("g", "f")],
    "linked, replaced twice": [link("f", "f2"), rename("g", "f"), rename("f", "f2")],
    "exchanged": [rename("f", "g", calls.EXCHANGE)],
    "exchanged, unlinked": [rename("f", "g", calls.EXCHANGE), unlink("g")],
    "all unlinked": [unlink_all],
    "its directory moved": [lambda d: os.rename(d, f"{d}~"), os.mkdir],
    "its directory removed": [shutil.rmtree],
}


def nameless(d):
    fd = os.open(f"{d}/sub", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, noise(8))
    return fd


def give_name(fd, d):
    calls.link_fd(fd, f"{d}/named")


# Of a descriptor of O_TMPFILE
NAMELESS = {
    "nameless": [],
    "nameless, named": [give_name],
    "nameless, named, unlinked": [give_name, lambda fd, d: os.unlink(f"{d}/named")],
}


def fixture(d):
    os.makedirs(f"{d}/sub")
    for name, seed, size in (("f", 1, SIZE), ("g", 2, 3000), ("small", 4, 1000), ("h1", 5, SIZE)):
        put(f"{d}/{name}", noise(seed, size))
    os.link(f"{d}/h1", f"{d}/h2")


def look(fd):
    st = os.fstat(fd)
    return oct(st.st_mode), st.st_uid, st.st_nlink, st.st_size, st.st_mtime_ns < 10**18


def mapped(fd):
    with mmap.mmap(fd, 0) as m:
        before = m[:100], m[-100:]
        m[30000 % len(m)] = 77
        m.flush()
        return before


def link_again(fd, d):
    calls.link_fd(fd, f"{d}.linked")
    return os.stat(f"{d}.linked").st_nlink


def tell(call, *arguments):
    try:
        return call(*arguments)
    except OSError as e:
        return calls.name_of(e.errno)
    except AssertionError as e:
        return str(e)


OPERATIONS = {
    "fstat": lambda fd, d: None,
    "read": lambda fd, d: os.pread(fd, 5000, 30000),
    "fchmod": lambda fd, d: os.fchmod(fd, 0o751),
    "fchown": lambda fd, d: os.fchown(fd, 1, 2),
    "write": lambda fd, d: os.pwrite(fd, b"w" * 3000, 50000),
    "futimens": lambda fd, d: os.utime(fd, ns=(5, 6 * 10**9)),
    "fsetxattr": lambda fd, d: os.setxattr(fd, "user.n", b"1", os.XATTR_CREATE),
    "fgetxattr": lambda fd, d: os.getxattr(fd, "user.n"),
    "flistxattr": lambda fd, d: os.listxattr(fd),
    "map": lambda fd, d: processes.apart(lambda: tell(mapped, fd)),
    "fallocate": lambda fd, d: calls.fallocate(fd, 0, SIZE, 5000),
    "punch": lambda fd, d: calls.fallocate(fd, calls.PUNCH_HOLE | calls.KEEP_SIZE, 17000, 9000),
    "fsync": lambda fd, d: os.fsync(fd),
    "fremovexattr": lambda fd, d: os.removexattr(fd, "user.n"),
    "extend": lambda fd, d: os.ftruncate(fd, 2 * SIZE),
    "truncate": lambda fd, d: os.ftruncate(fd, 20000),
    "all": lambda fd, d: os.pread(fd, 3 * SIZE, 0),
    "link": link_again,
}


def contents(top):
    return {p.relative_to(top): (p.lstat().st_nlink, read(p) if p.is_file() else None)
            for p in sorted(top.rglob("*"))}


class File:
    """A file in both trees, and what is left to be done with its names."""

    def __init__(self, sides, where, name, state, steps):
        self.name, self.steps = name, [lambda d, fd, s=s: s(d) for s in steps]
        self.at = [f"{side}/{where}" for side in sides]
        if state:
            for d in self.at:
                state(d)
        self.fds = [os.open(f"{d}/f", os.O_RDWR) if state else nameless(d) for d in self.at]

    def go_on(self):
        step = self.steps.pop(0) if self.steps else lambda d, fd: None
        for d, fd in zip(self.at, self.fds):
            step(d, fd)

    def do(self, call):
        """What it told natively and in the mount, where they differ."""
        got, wanted = ((tell(call, fd, d), tell(look, fd)) for d, fd in zip(self.at, self.fds))
        return [] if got == wanted else [f"{self.name}: {got!r:.200}, not {wanted!r:.200}"]


def files_of(sides):
    for at, (name, steps) in enumerate(HISTORIES.items()):
        for state, prepare in STATES.items():
            yield File(sides, f"{state}/{at}", f"{state}, {name}", prepare, steps)
    for at, (name, steps) in enumerate(NAMELESS.items()):
        file = File(sides, f"remote/{len(HISTORIES) + at}", name, None, [])
        file.steps = [lambda d, fd, s=s: s(fd, d) for s in steps]
        yield file


def test_every_operation_on_a_descriptor(mount, scratch):
    """Each is in turn the first one after a takeover."""
    try_all(mount, scratch, False)


@pytest.mark.sanitize
def test_every_operation_and_every_change_of_names(mount, scratch):
    """So is each change of names before."""
    try_all(mount, scratch, True)


def try_all(mount, scratch, between):
    source, truth = scratch / "source", scratch / "truth"
    for state in STATES:
        for at in range(len(HISTORIES) + len(NAMELESS)):
            fixture(source / state / str(at)), fixture(truth / state / str(at))
    m = mount(source, *OPTIONS)
    files = list(files_of((m.path, truth)))
    while any(f.steps for f in files):
        if between:
            die(m)
        for f in files:
            f.go_on()
    wrong = []
    for name, call in OPERATIONS.items():
        die(m)
        wrong += [f"{name}: {w}" for f in files for w in f.do(call)]
    assert not wrong, "\n".join(wrong)
    die(m)
    assert contents(m.path) == contents(truth)
    for fd in [fd for f in files for fd in f.fds]:
        os.close(fd)
