# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A disk that is full, or read-only, from any step of any operation on, and a daemon that dies
between any two: the right errno, and the state before or the state after; with space again the
operation works.

Shape: each operation has a directory of its own, and a native copy to agree with
"""
import ctypes
import errno
import os

import pytest

import faults
import trees

CHUNK = 4096
OPTIONS = "rw,chunk_size=4K,readahead=0,passthrough=no"
ATTRIBUTES = ("type", "size", "content", "mode", "nlink", "links", "target", "xattrs")
NAMES_ONLY = tuple(a for a in ATTRIBUTES if a != "content")  # fetches nothing
libc = ctypes.CDLL(None, use_errno=True)
EXCHANGE = 2


def make_remote(d):
    """What the source has."""
    for n, (name, chunks) in enumerate([("whole", 3), ("part", 4), ("cold", 3), ("small", 0),
                                        ("mine", 2), ("was", 2), ("sub/x", 2), ("sub/y", 0),
                                        ("kept/x", 1), ("emptied/x", 1)]):
        trees.put(d / name, trees.noise(n, chunks * CHUNK + 100), 1_600_000_000 + n)
    (d / "bare").mkdir()
    os.symlink("small", d / "sym")
    os.mkfifo(d / "fifo")
    trees.put(d / "hard1", trees.noise(20, 3 * CHUNK), 1_600_000_000)
    os.link(d / "hard1", d / "hard2")
    os.setxattr(d / "cold", "user.colour", b"red")


def prepare(d):
    """What was done to it before, in the mount and natively."""
    (d / "whole").read_bytes()
    with open(d / "part", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 2 * CHUNK)
    (d / "mine").write_bytes(b"mine" * 3000)
    (d / "born").write_bytes(b"born" * 3000)
    os.unlink(d / "was")
    os.unlink(d / "emptied" / "x")
    os.chmod(d / "kept", 0o700)
    (d / "made").mkdir()


def exchange(a, b):
    if libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), EXCHANGE) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def patch(path, offset, data, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        while data:
            data = data[os.pwrite(fd, data, offset):]
    finally:
        os.close(fd)


def unlink_open(path):
    with open(path, "rb", buffering=0) as f:
        before = os.pread(f.fileno(), 50, 0)
        os.unlink(path)
        assert os.pread(f.fileno(), 50, 0) == before


def create(path, mode=0o644):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def nameless(d, name):
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.link(f"/proc/self/fd/{fd}", d / name, src_dir_fd=fd)
    finally:
        os.close(fd)


def allocate(path, offset, length):
    fd = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(fd, offset, length)
    finally:
        os.close(fd)


OPERATIONS = {
    "create": lambda d: create(d / "new"),
    "create-over-gone": lambda d: create(d / "was"),
    "create-in-remote": lambda d: create(d / "sub" / "new"),
    "tmpfile": lambda d: nameless(d, "new"),
    "mkdir": lambda d: os.mkdir(d / "new"),
    "mkdir-over-gone": lambda d: os.mkdir(d / "was"),
    "mkfifo": lambda d: os.mkfifo(d / "new"),
    "symlink": lambda d: os.symlink("born", d / "new"),
    "link-born": lambda d: os.link(d / "born", d / "new"),
    "link-cold": lambda d: os.link(d / "cold", d / "new"),
    "link-part": lambda d: os.link(d / "part", d / "sub" / "new"),
    "link-hard": lambda d: os.link(d / "hard1", d / "new"),
    **{f"unlink-{name}": (lambda d, name=name: os.unlink(d / name))
       for name in ("cold", "part", "whole", "mine", "born", "hard1", "sym", "fifo", "sub/x")},
    "unlink-open-part": lambda d: unlink_open(d / "part"),
    "unlink-open-mine": lambda d: unlink_open(d / "mine"),
    **{f"rmdir-{name}": (lambda d, name=name: os.rmdir(d / name))
       for name in ("bare", "made", "emptied")},
    **{f"rename-{a}-{b}": (lambda d, a=a, b=b: os.rename(d / a, d / b)) for a, b in (
        ("cold", "new"), ("part", "new"), ("born", "new"), ("mine", "sub/new"), ("sym", "new"),
        ("fifo", "new"), ("sub", "new"), ("kept", "new"), ("made", "sub/new"), ("hard1", "new"),
        ("cold", "mine"), ("mine", "cold"), ("born", "part"), ("part", "hard1"), ("hard1", "cold"),
        ("sub", "made"), ("sub", "bare"), ("made", "emptied"), ("kept", "emptied"),
        ("cold", "was"))},
    **{f"exchange-{a}-{b}": (lambda d, a=a, b=b: exchange(d / a, d / b)) for a, b in (
        ("cold", "born"), ("sub", "mine"), ("sub", "kept"), ("part", "sub/x"))},
    **{f"chmod-{name}": (lambda d, name=name: os.chmod(d / name, 0o600))
       for name in ("cold", "part", "sub", "mine", "hard1")},
    "chown-sym": lambda d: os.chown(d / "sym", 1, 1, follow_symlinks=False),
    "utime-cold": lambda d: os.utime(d / "cold", (5, 6)),
    "utime-part": lambda d: os.utime(d / "part", (5, 6)),
    "xattr-cold": lambda d: os.setxattr(d / "cold", "user.size", b"xxl"),
    "xattr-sub": lambda d: os.setxattr(d / "sub", "user.size", b"xxl"),
    "unxattr-cold": lambda d: os.removexattr(d / "cold", "user.colour"),
    **{f"cut-{name}-{size}": (lambda d, name=name, size=size: os.truncate(d / name, size))
       for name, size in (("cold", 0), ("small", 0), ("part", 0), ("part", 5000), ("cold", 99), ("hard1", 7),
                          ("part", 100_000), ("whole", 100), ("mine", 3), ("mine", 50_000))},
    "open-trunc-part": lambda d: os.close(os.open(d / "part", os.O_WRONLY | os.O_TRUNC)),
    **{f"write-{name}-{at}": (lambda d, name=name, at=at: patch(d / name, at, b"new" * 700))
       for name, at in (("cold", 100), ("part", 2 * CHUNK), ("whole", 5), ("mine", 10 * CHUNK),
                        ("hard2", 4096), ("part", 4 * CHUNK + 200), ("small", 0))},
    "allocate-mine": lambda d: allocate(d / "mine", 20_000, 30_000),
    "allocate-part": lambda d: allocate(d / "part", 0, 40_000),
}


class World:
    """Many directories, each remote at first: a native copy of each before and after."""

    def __init__(self, mount, scratch, env, per_operation, options=OPTIONS):
        self.source, self.native = scratch / "source", scratch / "native"
        for name in OPERATIONS:
            (self.source / name).mkdir(parents=True)
            for n in range(per_operation):
                make_remote(self.source / name / str(n))
        for name, operate in OPERATIONS.items():
            for when in ("before", "after"):
                d = self.native / when / name
                make_remote(d)
                prepare(d)
                if when == "after":
                    operate(d)
        self.mount = mount(self.source, "-o", options, env=env)

    def again(self):
        if self.mount.pid is not None:
            self.mount.umount()
        self.mount = self.mount.again()

    def differs(self, when, name, n, attributes=ATTRIBUTES):
        """Lines; none where the directory is as it should be."""
        try:
            return trees.differences(self.native / when / name, self.mount / name / str(n),
                                     attributes)
        except OSError as e:
            return [f"{e}: {self.mount.log()[-300:]}"]


def attempt(operate, d):
    try:
        operate(d)
    except OSError as e:
        return e.errno
    return 0


@pytest.mark.patience(300)
@pytest.mark.parametrize("mode,error", [(faults.GROWTH, errno.ENOSPC), (faults.CHANGES, errno.EROFS)],
                         ids=["full", "read-only"])
def test_from_any_step_on(mount, scratch, faulty, mode, error):
    """Of two copies, one until it works, and one until just before: that is remounted."""
    world, wrong, steps, state = World(mount, scratch, faulty.env, 2), [], 0, {}

    def sweep(name, n, last):
        """The number of the step from which on it worked."""
        nonlocal steps
        d = world.mount / name / str(n)
        prepare(d)
        state[name, n] = "before"
        for left in range(last):
            faulty.set(mode, error, left)
            told = attempt(OPERATIONS[name], d)
            first = faulty.clear()[1]
            steps += 1
            if told == 0:
                state[name, n] = "after"
            differences = world.differs(state[name, n], name, n, NAMES_ONLY)
            if told not in (0, error):
                differences.insert(0, errno.errorcode[told])
            wrong.extend(f"{name}, step {left} ({first}): {line}" for line in differences)
            if told == 0 or differences:
                return left
        return last

    for name in OPERATIONS:
        last = sweep(name, 0, 30)
        if state[name, 0] == "before":
            wrong.append(f"{name} never worked")
        sweep(name, 1, last)
    world.again()
    for (name, n), when in state.items():
        # what cannot be undone, for nothing can be done, is whole
        if mode == faults.CHANGES and when == "before" and not world.differs("after", name, n):
            continue
        wrong += [f"{name}, {when}, remounted: {line}" for line in world.differs(when, name, n)]
        if when == "before":
            if told := attempt(OPERATIONS[name], world.mount / name / str(n)):
                wrong.append(f"{name}, with space again: {errno.errorcode[told]}")
            wrong += [f"{name}, with space again: {line}" for line in world.differs("after", name, n)]
    assert not wrong, f"{len(wrong)} differences, {steps} steps:\n" + "\n".join(wrong)


# Whose steps are those of others: a crash costs a mount
ALIKE = {"mkdir-over-gone", "mkfifo", "link-part", "unlink-part", "unlink-whole", "unlink-fifo",
         "unlink-sub/x", "unlink-born", "rename-born-new", "rename-made-sub/new", "rename-fifo-new",
         "rename-part-new", "rename-born-part", "rename-hard1-new", "rename-mine-cold", "chmod-part",
         "chmod-mine", "utime-part", "xattr-sub", "rename-sub-bare", "rename-made-emptied",
         "exchange-sub-mine", "cut-hard1-7", "cut-mine-50000", "write-part-8192", "rmdir-made"}


def steps_of(world, faulty, names):
    """Operation → its number of steps, none of which fails."""
    found = {}
    for name in names:
        d = world.mount / name / "0"
        prepare(d)
        faulty.set(faults.KILL, 0, 10**6)
        assert attempt(OPERATIONS[name], d) == 0, name
        found[name] = faulty.clear()[0]
    return found


@pytest.mark.patience(300)
def test_killed_between_any_two_steps(mount, scratch, faulty):
    names = [n for n in OPERATIONS if n not in ALIKE]
    options = f"{OPTIONS},keeper=no"  # with one: test_worker_steps.py
    world = World(mount, scratch, faulty.env, 1, options)
    expected = steps_of(world, faulty, names)
    # the listings of the next mount have all of these; a few more, since steps may vary
    for name, steps in expected.items():
        for left in range(1, steps + 5):
            make_remote(world.source / name / str(left))
    world.mount.umount()
    world.mount = mount(world.source, "-o", options, env=faulty.env)
    wrong, steps = [], 0
    for name in names:
        for left in range(expected[name] + 5):
            d = world.mount / name / str(left)
            prepare(d)
            faulty.set(faults.KILL, 0, left)
            told = attempt(OPERATIONS[name], d)
            first = faulty.clear()[1]
            steps += 1
            if first is None:
                wrong += [f"{name}: {errno.errorcode[told]}"] if told else []
                break
            world.mount.abandon()
            world.mount = world.mount.again()
            before = world.differs("before", name, left)
            after = world.differs("after", name, left) if before else []
            if before and after:
                wrong.append(f"{name}, killed at step {left} ({first}): neither before: "
                             f"{before[:3]} nor after: {after[:3]}")
        else:
            wrong.append(f"{name}: more than {left} steps, {expected[name]} without a kill")
    assert not wrong, f"{len(wrong)} of {steps} steps:\n" + "\n".join(wrong)
