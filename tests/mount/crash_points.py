#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""kill -9 before every single change that every operation makes of the store; crashing.py.

By hand: crash_points.py [--build DIR] [--rows REGEX] [--torn] [--epochs] [--event EVENT]
         [--vanish] [--list]
         crash_points.py --inject ENOSPC,EIO,… [--lasting]: one call fails instead; injecting.py
"""
import argparse
import ctypes
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import crashing  # noqa: E402
import injecting  # noqa: E402
import mounting  # noqa: E402
import processes  # noqa: E402
import vanishing  # noqa: E402
from crashing import CHUNK, FILE, Row, noise  # noqa: E402

NOREPLACE, EXCHANGE = 1, 2
BATCH = 16  # rows in one store
MOUNT = Row("mount and umount", None, [])


def rename2(a, b, flags):
    if processes.libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def pread(path, offset, size=1):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def pwrite(path, data, offset, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        while data:  # a short write tells no error
            written = os.pwrite(fd, data, offset)
            data, offset = data[written:], offset + written
    finally:
        os.close(fd)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))


# How "f" is before
STATES = {
    "remote": lambda d: None,
    "partial": lambda d: pread(f"{d}/f", 5 * CHUNK) and None,
    "whole": lambda d: read(f"{d}/f") and None,
    "kept": lambda d: os.chmod(f"{d}/f", 0o751),
    "kept partial": lambda d: (os.chmod(f"{d}/f", 0o751), pread(f"{d}/f", 5 * CHUNK)) and None,
    "kept whole": lambda d: (os.chmod(f"{d}/f", 0o751), read(f"{d}/f")) and None,
    "written": lambda d: pwrite(f"{d}/f", b"written before", 3 * CHUNK - 5),
    "born": lambda d: (os.unlink(f"{d}/f"), crashing.put(f"{d}/f", noise(9, FILE)),
                       os.setxattr(f"{d}/f", "user.a", b"2")) and None,
}

# What is done with it. Opening alone is no step: natively it leaves nothing
FILES = {
    "unlink": [lambda d: os.unlink(f"{d}/f")],
    "rename": [lambda d: os.rename(f"{d}/f", f"{d}/other/moved")],
    "rename noreplace": [lambda d: rename2(f"{d}/f", f"{d}/moved", NOREPLACE)],
    "rename over": [lambda d: os.rename(f"{d}/f", f"{d}/g")],
    "be replaced": [lambda d: os.rename(f"{d}/g", f"{d}/f")],
    "exchange": [lambda d: rename2(f"{d}/f", f"{d}/other/3", EXCHANGE)],
    "exchange with a directory": [lambda d: rename2(f"{d}/f", f"{d}/x", EXCHANGE)],
    "link": [lambda d: os.link(f"{d}/f", f"{d}/other/linked")],
    "chmod": [lambda d: os.chmod(f"{d}/f", 0o4711)],
    "chown": [lambda d: os.chown(f"{d}/f", 1, 2)],
    "utimens": [lambda d: os.utime(f"{d}/f", (7, 8))],
    "setxattr": [lambda d: os.setxattr(f"{d}/f", "user.b", b"new")],
    "removexattr": [lambda d: os.removexattr(f"{d}/f", "user.a")],
    "truncate to nothing": [lambda d: os.truncate(f"{d}/f", 0)],
    "truncate": [lambda d: os.truncate(f"{d}/f", 2 * CHUNK + 5)],
    "truncate at a chunk": [lambda d: os.truncate(f"{d}/f", 2 * CHUNK)],
    "extend": [lambda d: os.truncate(f"{d}/f", FILE + 2 * CHUNK)],
    "write": [lambda d: pwrite(f"{d}/f", b"a few bytes", 7 * CHUNK + 100)],
    "write a chunk": [lambda d: pwrite(f"{d}/f", noise(8, CHUNK), 8 * CHUNK)],
    "overwrite": [lambda d: pwrite(f"{d}/f", noise(7, FILE + 99), 0)],
    "append": [lambda d: pwrite(f"{d}/f", b"the end", FILE)],
    "open for writing": [lambda d: os.close(os.open(f"{d}/f", os.O_RDWR))],
    "read": [lambda d: read(f"{d}/f") and None],
}


NAMELESS = {}  # directory → descriptor


def nameless(d):
    NAMELESS[d] = os.open(f"{d}/other", os.O_TMPFILE | os.O_RDWR, 0o644)
    os.pwrite(NAMELESS[d], b"no name yet", 0)
    return [NAMELESS[d]]


def give_name(d):
    """os.link() does not follow by itself."""
    if processes.libc.linkat(-100, f"/proc/self/fd/{NAMELESS[d]}".encode(), -100,
                             f"{d}/other/named".encode(), 0x400) != 0:
        raise OSError(ctypes.get_errno(), "linkat")


def as_user(call, uid=1000):
    """call(d) as somebody else; the directory is open to all."""
    def step(d):
        def child():
            os.setgroups([]), os.setresgid(uid, uid, uid), os.setresuid(uid, uid, uid)
            try:
                call(d)
            except OSError as e:
                return e.errno
            return 0
        if error := processes.apart(child):
            raise OSError(error, "as a user")
    return step


def open_to_all(d):
    os.chmod(d, 0o1777)


def emptied(d):
    os.unlink(f"{d}/x/1"), os.unlink(f"{d}/x/y/2"), os.rmdir(f"{d}/x/y")


def changed(d):
    crashing.put(f"{d}/x/new", b"new")
    os.unlink(f"{d}/x/1")
    os.rename(f"{d}/x/y", f"{d}/x/z")


def opened(*names):
    return lambda d: [os.open(f"{d}/{n}", os.O_RDONLY) for n in names]


def others():
    def row(name, steps, prepare=lambda d: None, **more):
        return Row(name, prepare, steps if isinstance(steps, list) else [steps], **more)

    yield row("create", lambda d: touch(f"{d}/new"))
    yield row("create where a remote name was", lambda d: touch(f"{d}/f"),
              lambda d: os.unlink(f"{d}/f"))
    yield row("create and write", [lambda d: touch(f"{d}/x/new"),
                                   lambda d: pwrite(f"{d}/x/new", b"content", 0)])
    yield row("create as a user", as_user(lambda d: touch(f"{d}/new")), open_to_all)
    yield row("mkdir", lambda d: os.mkdir(f"{d}/new", 0o750))
    yield row("mkdir where a remote one was", lambda d: os.mkdir(f"{d}/empty"),
              lambda d: os.rmdir(f"{d}/empty"))
    yield row("mkdir where a remote file was", lambda d: os.mkdir(f"{d}/f"),
              lambda d: (read(f"{d}/f"), os.unlink(f"{d}/f")) and None)
    yield row("mkdir as a user", as_user(lambda d: os.mkdir(f"{d}/new")), open_to_all)
    yield row("mkfifo", lambda d: os.mkfifo(f"{d}/x/new", 0o604))
    yield row("mkfifo as a user", as_user(lambda d: os.mkfifo(f"{d}/new")), open_to_all)
    yield row("mknod", lambda d: os.mknod(f"{d}/new", 0o020600, os.makedev(1, 3)))
    yield row("mknod of a file", lambda d: os.mknod(f"{d}/new", 0o100600))
    yield row("symlink", lambda d: os.symlink("to", f"{d}/new"))
    yield row("symlink as a user", as_user(lambda d: os.symlink("to", f"{d}/new")), open_to_all)
    yield row("name what has none", give_name, nameless)
    yield row("rmdir", lambda d: os.rmdir(f"{d}/empty"))
    yield row("rmdir of an emptied one", lambda d: os.rmdir(f"{d}/x"), emptied)
    for how, prepare in (("", lambda d: None),
                         (" looked at", lambda d: read(f"{d}/x/y/2") and None),
                         (" changed", changed),
                         (" kept", lambda d: os.chmod(f"{d}/x", 0o711))):
        yield row(f"rename of a directory{how}", lambda d: os.rename(f"{d}/x", f"{d}/other/x"),
                  prepare)
        yield row(f"rename of a directory{how} over another",
                  lambda d: os.rename(f"{d}/x", f"{d}/empty"), prepare)
        yield row(f"exchange of directories{how}",
                  lambda d: rename2(f"{d}/x", f"{d}/other", EXCHANGE), prepare)
    yield row("rename of a directory over an emptied one",
              lambda d: os.rename(f"{d}/other", f"{d}/x"), emptied)
    yield row("rename of a new directory over an emptied one",
              lambda d: os.rename(f"{d}/new", f"{d}/x"),
              lambda d: (emptied(d), os.mkdir(f"{d}/new"), touch(f"{d}/new/in")) and None)
    yield row("rename twice", [lambda d: os.rename(f"{d}/x", f"{d}/x2"),
                               lambda d: os.rename(f"{d}/x2", f"{d}/x")])
    yield row("chmod of a directory", lambda d: os.chmod(f"{d}/x", 0o2711))
    yield row("chown of a directory", lambda d: os.chown(f"{d}/x", 3, 4))
    yield row("setxattr of a directory", lambda d: os.setxattr(f"{d}/x", "user.d", b"1"))
    for name in ("link", "fifo"):
        yield row(f"unlink of a {name}", lambda d, n=name: os.unlink(f"{d}/{n}"))
        yield row(f"rename of a {name}", lambda d, n=name: os.rename(f"{d}/{n}", f"{d}/{n}2"))
        yield row(f"rename of a {name} over a file",
                  lambda d, n=name: os.rename(f"{d}/{n}", f"{d}/f"))
        yield row(f"chown of a {name}",
                  lambda d, n=name: os.chown(f"{d}/{n}", 5, 6, follow_symlinks=False))
        yield row(f"utimens of a {name}",
                  lambda d, n=name: os.utime(f"{d}/{n}", (7, 8), follow_symlinks=False))
        yield row(f"link of a {name}",
                  lambda d, n=name: os.link(f"{d}/{n}", f"{d}/other/{n}", follow_symlinks=False))
        yield row(f"unlink of a changed {name}", lambda d, n=name: os.unlink(f"{d}/{n}"),
                  lambda d, n=name: os.chown(f"{d}/{n}", 5, 6, follow_symlinks=False))
        yield row(f"be replaced, a {name}", lambda d, n=name: os.rename(f"{d}/g", f"{d}/{n}"))
    for name, state in (("f", "kept"), ("f", "kept whole"), ("f", "born"), ("fifo", "remote")):
        yield row(f"set-id: chown of a {name}, {state}",
                  lambda d, n=name: os.chown(f"{d}/{n}", 1, 2),
                  lambda d, n=name, s=state: (STATES[s](d), os.chmod(f"{d}/{n}", 0o6755)) and None)
    for state in ("remote", "kept partial", "born"):
        for before, after in ((0o640, 0o4711), (0o4755, 0o2711), (0o6711, 0o644), (0o4755, 0o755)):
            yield row(f"set-id: chmod from {before:o} to {after:o}, {state}",
                      lambda d, m=after: os.chmod(f"{d}/f", m),
                      lambda d, s=state, m=before: (STATES[s](d), os.chmod(f"{d}/f", m)) and None)
    yield row("chmod of a fifo", lambda d: os.chmod(f"{d}/fifo", 0o604))
    for how, prepare in (("", lambda d: None), (" read", lambda d: read(f"{d}/h1") and None),
                         (" kept", lambda d: os.chmod(f"{d}/h1", 0o600)),
                         (" of which one is gone", lambda d: os.unlink(f"{d}/h2"))):
        yield row(f"hard links{how}, chmod", lambda d: os.chmod(f"{d}/h1", 0o640), prepare)
        yield row(f"hard links{how}, write", lambda d: pwrite(f"{d}/h1", b"1", 5000), prepare)
        yield row(f"hard links{how}, unlink", lambda d: os.unlink(f"{d}/h1"), prepare)
        yield row(f"hard links{how}, unlink all",
                  [lambda d: os.unlink(f"{d}/h1"), lambda d: os.unlink(f"{d}/other/h3")], prepare)
        yield row(f"hard links{how}, rename", lambda d: os.rename(f"{d}/h1", f"{d}/x/h"), prepare)
        yield row(f"hard links{how}, rename over", lambda d: os.rename(f"{d}/f", f"{d}/h1"),
                  prepare)
        yield row(f"hard links{how}, link", lambda d: os.link(f"{d}/h1", f"{d}/x/h"), prepare)
        yield row(f"hard links{how}, truncate", lambda d: os.truncate(f"{d}/h1", 0), prepare)
        yield row(f"hard links{how}, read", lambda d: read(f"{d}/h1") and None, prepare)
    for name in ("small", "none"):
        for what in ("unlink", "rename", "chmod", "utimens", "setxattr", "write", "overwrite",
                     "read", "truncate to nothing", "extend", "be replaced", "open for writing"):
            yield row(f"{name}: {what}", FILES[what],
                      fixture=lambda d, n=name: (crashing.fixture(d), os.unlink(f"{d}/f"),
                                                 os.rename(f"{d}/{n}", f"{d}/f")))
    yield row("unlink of an open file", lambda d: os.unlink(f"{d}/f"), opened("f"))
    yield row("rename over an open file", lambda d: os.rename(f"{d}/g", f"{d}/f"), opened("f"))
    yield row("unlink of an open link", lambda d: os.unlink(f"{d}/h1"), opened("h1"))
    yield row("chmod and chown and times", [lambda d: os.chmod(f"{d}/f", 0o600),
                                            lambda d: os.chown(f"{d}/f", 1, 1),
                                            lambda d: os.utime(f"{d}/f", (5, 5))])
    yield row("write and fsync", [lambda d: pwrite(f"{d}/f", b"12", 50, os.O_SYNC)])
    yield row("replace by rename", [lambda d: touch(f"{d}/f.new"),
                                    lambda d: pwrite(f"{d}/f.new", b"new content", 0),
                                    lambda d: os.rename(f"{d}/f.new", f"{d}/f")])


def rows(expression=""):
    found = [Row(f"{state}: {what}", prepare, steps)
             for what, steps in FILES.items() for state, prepare in STATES.items()]
    found += others()
    return [r for r in found if re.search(expression, r.name)]


def batch(args, some):
    """A store of their own for some of the rows: how many points, and what was wrong."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-crash-"))
    scratch.chmod(0o755)
    program = mounting.Program(args.build, "plain", scratch)
    try:
        if some == [MOUNT]:
            tried, wrong = injecting.Mounts(program, scratch).torture(args.inject, args.choose)
        else:
            kind = vanishing if args.vanish else crashing
            campaign = (injecting.Campaign(program, scratch, some, args.inject, args.lasting)
                        if args.inject else kind.Campaign(program, scratch, some))
            tried, wrong = campaign.torture(args.choose, epochs=args.epochs, torn=args.torn,
                                            keep_going=True, event=args.event)
    finally:
        complaints = program.close()
        shutil.rmtree(scratch, ignore_errors=True)
    for line in complaints:
        print(line, flush=True)
    return tried, wrong + complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rows", default="", help="regular expression of names")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--epochs", action="store_true", help="every crash ends the epoch, too")
    parser.add_argument("--torn", action="store_true", help="writes are done in half")
    parser.add_argument("--event", choices=crashing.EVENTS, help="instead of a kill in a step")
    parser.add_argument("--vanish", action="store_true", help="at the source, instead of a kill")
    parser.add_argument("--inject", metavar="ERRNO,…", help=",".join(injecting.ERRORS),
                        type=lambda names: names.split(","))
    parser.add_argument("--lasting", action="store_true", help="all later calls fail, too")
    parser.add_argument("--points", type=int, help="of each batch, at random; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    args = parser.parse_args()
    if args.list:
        print("\n".join(r.name for r in rows(args.rows)))
        return
    processes.adopt()
    found, started, bad, tried = rows(args.rows), time.monotonic(), 0, 0
    if args.inject:
        found += [r for r in injecting.verbs() if re.search(args.rows, r.name)]
    rng = random.Random(args.seed)
    rng.shuffle(found)
    args.choose = None
    if args.points:
        args.choose = lambda points: rng.sample(points, min(args.points, len(points)))
    batches = [found[at:at + BATCH] for at in range(0, len(found), BATCH)]
    if args.inject and re.search(args.rows, MOUNT.name):
        batches.append([MOUNT])
    for n, some in enumerate(batches):
        more, wrong = batch(args, some)
        tried, bad = tried + more, bad + len(wrong)
        print(f"{n + 1} of {len(batches)} batches, {tried} points, {bad} wrong, "
              f"{time.monotonic() - started:.0f} s", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
