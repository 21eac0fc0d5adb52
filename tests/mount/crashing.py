# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A daemon that dies before its Nth change of the store, and what has to be there then.

Row:    what is done in a directory of its own, beside a native one that tells what is right.
        `prepare(d)`, then `steps`, calls of `d` that a local file system does whole or not at all
Point:  (row, N): the daemon dies before, or half way in, the Nth call that changes the store
        (faults.py). What returned before is there; what was cut short is there whole or not at all
Events: instead of that, the Nth sync fails, once (SYNC), or directories cannot be read from the Nth
        time on (SCAN): a step works, or fails with that error and is not done. Then a kill -9.
        A directory that vanishes at the source: vanishing.py
After:  the mount works on: everything there can be changed, and removed for good
"""
import dataclasses
import errno
import os
import pathlib
import random
import signal
import stat
import subprocess
import time

import faults
import processes
import trees

OLD = 1_500_000_000
CHUNK = 4096
# A directory that cannot be read is tried twice: five times take 3 s
OPTIONS = ("-o", "rw,allow_other,dev,suid,chunk_size=4K,readahead=0,retries=1")
FILE = 15 * CHUNK + 7  # bytes of "f"
SYNC, SCAN = EVENTS = "sync", "scan"


@dataclasses.dataclass
class Row:
    name: str
    prepare: object
    steps: list
    fixture: object = None  # what is there at the source; default: fixture()


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def put(path, content, mode=0o644):
    trees.put(pathlib.Path(path), content)
    os.chmod(path, mode)


def fixture(d):
    put(f"{d}/f", noise(1, FILE), 0o755)
    os.setxattr(f"{d}/f", "user.a", b"1")
    put(f"{d}/g", noise(2, 2 * CHUNK))
    put(f"{d}/small", noise(3, 1000), 0o600)
    put(f"{d}/none", b"")
    put(f"{d}/h1", noise(4, 9000))
    os.makedirs(f"{d}/other"), os.makedirs(f"{d}/empty")
    os.link(f"{d}/h1", f"{d}/h2"), os.link(f"{d}/h1", f"{d}/other/h3")
    os.symlink("f", f"{d}/link")
    os.mkfifo(f"{d}/fifo", 0o640)
    put(f"{d}/x/1", b"one")
    put(f"{d}/x/y/2", noise(5, 5000))
    put(f"{d}/other/3", b"three")
    for path in ("x", "f", "fifo"):
        os.chown(f"{d}/{path}", 7, 8)


def aged(d):
    """Times that are long ago, of all that is there."""
    for top, directories, files in os.walk(d, topdown=False):
        for name in files + directories:
            os.utime(f"{top}/{name}", (OLD, OLD), follow_symlinks=False)
    os.utime(d, (OLD, OLD))


def contents(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:  # read(2) tells no name
        raise OSError(e.errno, e.strerror, path) from None


def snapshot(d, since):
    """All that has to be right of a directory, by path. Of directories not the time."""
    found, first = {}, {}
    for path in trees.walk(d):
        full = os.path.join(os.fsencode(d), path)
        st = os.lstat(full)
        told = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid),
                "xattrs": {n: os.getxattr(full, n, follow_symlinks=False)
                           for n in sorted(os.listxattr(full, follow_symlinks=False))}}
        if stat.S_ISDIR(st.st_mode):
            told["links"] = st.st_nlink
        else:
            told["mtime"] = "recent" if st.st_mtime_ns >= since else st.st_mtime_ns
            told["links"] = st.st_nlink, first.setdefault(st.st_ino, path)
        if stat.S_ISLNK(st.st_mode):
            told["target"] = os.readlink(full)
        if stat.S_ISREG(st.st_mode):
            told["content"], told["size"] = contents(full), st.st_size
        found[path] = told
    return found


def shown(what, value):
    return f"{len(value)} bytes" if what == "content" and value else repr(value)


def differences(wanted, got):
    lines = [f"{p!r} is missing" for p in sorted(wanted.keys() - got.keys())]
    lines += [f"{p!r} is there" for p in sorted(got.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & got.keys()):
        a, b = wanted[path], got[path]
        for what in sorted(a.keys() | b.keys()):
            x, y = a.get(what), b.get(what)
            if x == y:
                continue
            lines.append(f"{path!r}: {what}: {shown(what, y)}, not {shown(what, x)}")
            if what == "content" and x and y and len(x) == len(y):
                wrong = [i for i in range(0, len(x), CHUNK) if x[i:i + CHUNK] != y[i:i + CHUNK]]
                zero = [i for i in wrong if not any(y[i:i + CHUNK])]
                lines[-1] += f", chunks {[i // CHUNK for i in wrong]}, zeros {len(zero)}"
    return lines


def leftovers(store):
    """What a crash may leave for nobody: of the store, while it is mounted."""
    state = pathlib.Path(store) / "state"
    found = []
    for name in ("tmp", "unlinked", "orphans"):
        if (state / name).is_dir():
            found += [f"{name}/{p}" for p in os.listdir(state / name)]
    return found


def work_on(d):
    """Changes everything, then removes all; the names are free for good."""
    for path in trees.walk(d)[1:]:
        full = os.path.join(os.fsencode(d), path)
        if stat.S_ISREG(os.lstat(full).st_mode):
            with open(full, "rb") as f:
                before = f.read()
            with open(full, "ab") as f:
                f.write(b"+")
            with open(full, "rb") as f:
                assert f.read() == before + b"+", f"{path!r}: appending to it"
    names = sorted(os.listdir(d))
    for name in names:
        os.rename(f"{d}/{name}", f"{d}/{name}~")
    assert sorted(os.listdir(d)) == sorted(f"{n}~" for n in names)
    for name in names:
        subprocess.run(["rm", "-rf", f"{d}/{name}~"], check=True) if os.path.isdir(
            f"{d}/{name}~") and not os.path.islink(f"{d}/{name}~") else os.unlink(f"{d}/{name}~")
    assert os.listdir(d) == []
    for name in names[::2]:
        with open(f"{d}/{name}", "wb") as f:
            f.write(name.encode())


def partly(before, after, got):
    """As `before`, where a write has begun: its time comes first, as natively, then the bytes, of
    chunk after chunk. Never anything but what was there or what was written."""
    found = dict(before)
    for path in before.keys() & after.keys() & got.keys():
        a, b, c = (s[path].get("content") for s in (before, after, got))
        if None in (a, b, c) or a == b:
            continue
        mixed = len(c) in (len(a), len(b)) and all(
            c[i:i + CHUNK] in (a[i:i + CHUNK], b[i:i + CHUNK], a[i:i + CHUNK]
                               + b[len(a):i + CHUNK])
            for i in range(0, len(c), CHUNK))
        found[path] = {**before[path], "mtime": after[path]["mtime"]}
        if mixed and c != a and len(b) >= len(a):
            found[path].update(content=c, size=len(c))
    return found


class Wrong(Exception):
    """What was found at a point."""


def steps_of(row, d):
    """→ how many of the row's steps returned, and the error of the one that did not; None."""
    for done, step in enumerate(row.steps):
        try:
            step(d)
        except OSError as e:
            return done, e
    return len(row.steps), None


class Campaign:
    """One store, many crashes; every point has a directory of its own."""

    def __init__(self, program, scratch, rows, user=None):
        self.program, self.scratch, self.user = program, pathlib.Path(scratch), user
        self.rows, self.source = rows, self.scratch / "source"
        self.faults = faults.Faults(program.scratch)
        self.since = time.time_ns() - 10**9
        self.allowed = {}
        self.checks = []  # (directory, what has to be there, a point)
        self.mounted = None
        self.options = OPTIONS
        self.event = None

    def fixture(self, row, d):
        os.makedirs(d)
        (row.fixture or fixture)(str(d))
        aged(d)

    def native(self, row):
        """What is there before the steps and after each, on a local file system."""
        d = self.scratch / "native" / row.name.replace(" ", "_")
        self.fixture(row, d)
        kept = row.prepare(str(d))
        states = [snapshot(d, self.since)]
        for step in row.steps:
            step(str(d))
            states.append(snapshot(d, self.since))
        for fd in kept or ():
            os.close(fd)
        subprocess.run(["rm", "-rf", d], check=True)
        return states

    def mount(self, *extra):
        # where steps are killed, nobody is to finish them; worker_points.py asks for a keeper
        alone = ("-o", "keeper=no") if self.event is None else ()
        options = (*alone, *self.options, *extra)
        if self.mounted is None:
            store = self.scratch / "store"
            m = self.program.mount(self.source, *options, store=store, user=self.user,
                                   env=self.faults.env)
        else:
            m = self.mounted.again(*options)
        # hundreds of mounts of one store: the last tells it all
        self.program.mounts[:], self.program.commands[:-2] = [m], []
        self.mounted = m
        return m

    def kill(self):
        if self.mounted.pid is not None:
            self.mounted.kill()

    def run(self, row, d, at, torn=False, epoch=False):
        """→ how many steps returned, how many calls were seen, and the one that ended it all."""
        kept = row.prepare(d)
        if epoch and self.program.run("sync", d, env=self.faults.env).returncode != 0:
            raise Wrong("sync failed")
        mode, error = {SYNC: (faults.SYNCS, errno.EIO), SCAN: (faults.SCAN, errno.EIO)}.get(
            self.event, (faults.TEAR if torn else faults.KILL, 0))
        self.faults.set(mode, error, left=at - 1)
        done, failed = steps_of(row, d)
        died = processes.reap(self.mounted.pid, 5) if failed and not self.event else None
        seen, call = self.faults.clear()
        for fd in kept or ():
            os.close(fd)
        if self.event and failed:
            if failed.errno not in (error, errno.EIO, errno.ENOMEM):
                raise Wrong(f"{row.name}, {self.event} {at} failed: {failed!r}")
            return done, seen, call
        if died is None and done < len(row.steps):
            raise Wrong("a step failed, and the daemon lives")
        if died is not None:
            self.mounted.pid = None
            subprocess.run(["umount", "-l", str(self.mounted.path)], capture_output=True)
            if died != -signal.SIGKILL:
                raise Wrong(f"the daemon ended with {died}: {self.mounted.log()[-2000:]}")
        return done, seen, call

    def count(self):
        """How many changes of the store each row takes; what it leaves is right, too."""
        counts = {}
        for i, row in enumerate(self.rows):
            self.allowed[row.name] = self.native(row)
            self.fixture(row, self.source / f"c{i}")
        m = self.mount()
        for i, row in enumerate(self.rows):
            d = str(m / f"c{i}")
            counts[row.name] = self.run(row, d, 1 << 40)[1]
            wrong = differences(self.allowed[row.name][-1], snapshot(d, self.since))
            if wrong:
                raise Wrong(f"{row.name}: without any crash:\n" + "\n".join(wrong))
        m.umount()
        subprocess.run(["rm", "-rf", self.source, self.scratch / "store"], check=True)
        self.mounted = None
        return counts

    def check(self, d, allowed, what):
        try:
            got = snapshot(d, self.since)
        except OSError as e:
            raise Wrong(f"{what}: {e!r}") from None
        allowed = allowed + [partly(a, b, got) for a, b in zip(allowed, allowed[1:])]
        found = [differences(a, got) for a in allowed]
        if not all(found):
            return got
        raise Wrong(f"{what}:\n" + "\nor\n".join("\n".join(f"  {line}" for line in f)
                                                 for f in found))

    def again(self, *extra):
        """Mounts; what was seen before is still there."""
        m = self.mount(*extra)
        for d, wanted, what in self.checks:
            self.check(m / d, [wanted], f"{what}, one more mount later")
        self.checks = []
        left, until = leftovers(m.store), time.monotonic() + 20
        while left and time.monotonic() < until:  # a listing on its way
            time.sleep(0.05)
            left = leftovers(m.store)
        for name in left:
            os.unlink(m.store / "state" / name)
        if left:
            raise Wrong(f"left in the store: {left}")
        return m

    def point(self, i, row, at, torn, epoch):
        states, d = self.allowed[row.name], f"p{i}"
        done, _, call = self.run(row, str(self.mounted / d), at, torn, epoch)
        if self.event:
            # what a sync did not bring to the disk may go with the epoch that it ended
            what = f"{row.name}, {self.event} {at} fails"
            self.check(self.mounted / d, states[done:done + 2], what)
            epoch = self.event == SYNC
        what = f"{row.name}, killed {'in' if torn else 'before'} call {at} ({call})" + (
            ", and the epoch ended" if epoch else "")
        self.kill()
        m = self.again(*(("-o", "end_epoch") if epoch else ()))
        # what was not synced may go with the epoch
        allowed = states[0 if epoch else done:done + 2]
        got = self.check(m / d, allowed, what)
        if i % 2:
            self.checks = [(d, got, what)]
            return
        try:
            work_on(m / d)
        except (OSError, AssertionError, subprocess.CalledProcessError) as e:
            raise Wrong(f"{what}: does not work on: {e!r}") from None
        self.checks = [(d, snapshot(m / d, self.since), f"{what}, worked on")]

    def tries(self, count):
        """At which of so many calls it is tried."""
        return range(1, count + (1 if self.event else 2))

    def torture(self, choose=None, epochs=False, torn=False, keep_going=False, event=None):
        """choose(points) → those that are tried. Returns how many, and what was wrong."""
        self.event = event
        counts, wrong = self.count(), []
        points = [(row, at, torn) for row in self.rows for at in self.tries(counts[row.name])]
        points = choose(points) if choose and points else points
        if not points:
            return 0, []
        for i, (row, at, torn) in enumerate(points):
            self.fixture(row, self.source / f"p{i}")
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user}:{self.user}", self.source], check=True)
        self.mount()
        for i, (row, at, torn) in enumerate(points):
            try:
                self.point(i, row, at, torn, epochs)
            except Wrong as e:
                wrong.append(str(e))
                print(e, flush=True)
                self.faults.clear()
                self.checks = []
                if not keep_going:
                    break
                self.kill()
                self.mount()
        if not wrong:
            self.kill()
            self.again()
            self.mounted.umount()
        return len(points), wrong
