# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""One system call of the store fails in the middle of an operation; crashing.py.

Point:  (row, N, errno): of the calls for the store that may have that errno, the Nth fails, and with
        `lasting` all after it (faults.py says which calls may). ENOMEM is that of a system call
Caller: the operation works, and all of it is there; or it fails with that errno, or EIO, and
        nothing of it is there, or all (what fails may be the look at the result): `done` counts
        these. If nothing is there, it works without the fault. EMFILE is not seen: it is waited for
        (within `wait_timeout`, if it lasts)
After:  a kill -9 and a mount later the same is there, for all points since the last one, and
        nothing is left over in the store. A sync that fails ends the epoch for all of them
Verbs:  `evict`, `refresh`, … change nothing that a reader of the tree sees, whether they work or not
"""
import errno
import os
import time

import crashing
import faults
from crashing import Row, Wrong

ERRORS = {"ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, "EIO": errno.EIO, "EMFILE": errno.EMFILE,
          "ENOMEM": errno.ENOMEM}
FULL = errno.ENOSPC, errno.EDQUOT
KINDS = {errno.ENOSPC: faults.CHANGE | faults.GROW | faults.FLUSH,
         errno.EDQUOT: faults.CHANGE | faults.GROW | faults.FLUSH,
         errno.EMFILE: faults.OPEN, errno.EIO: 0xff,
         errno.ENOMEM: faults.CHANGE | faults.GROW | faults.LOOK | faults.OPEN}
SYNCS = "fsync", "fdatasync", "syncfs"
TOGETHER = 24  # points between two kills
mounted = None  # where a row's directory is one of this mount, its verbs run


def verb(*argv, name="f"):
    """A step: `lacunafs ARGV d/name`; nothing on a local file system."""
    def step(d):
        if mounted is None or not str(d).startswith(f"{mounted.path}/"):
            return
        done = mounted.program.run(*argv, f"{d}/{name}" if name else d)
        if done.returncode != 0:
            raise OSError(errno.EIO, done.stderr.strip() or "no message", argv[0])
    return step


def read(path):
    with open(path, "rb") as f:
        f.read()


def verbs():
    def whole(d):
        for name in ("f", "h1", "x/y/2"):
            read(f"{d}/{name}")

    def fsync(d):
        fd = os.open(f"{d}/f", os.O_RDWR)
        try:
            os.pwrite(fd, b"synced", 70)
            os.fsync(fd)
        finally:
            os.close(fd)

    yield Row("verb: evict", whole, [verb("evict")])
    yield Row("verb: evict a directory", whole, [verb("evict", name="")])
    yield Row("verb: evict, read", whole, [verb("evict"), lambda d: read(f"{d}/f")])
    yield Row("verb: refresh", whole, [verb("refresh", name="")])
    yield Row("verb: fill", lambda d: None, [verb("fill", name="")])
    yield Row("verb: pin", lambda d: None, [verb("pin"), verb("unpin")])
    yield Row("verb: sync", lambda d: os.truncate(f"{d}/f", 5), [verb("sync", name="")])
    yield Row("verb: verify", whole, [verb("verify", "--repair", name="")])
    yield Row("verb: seal", lambda d: os.chmod(f"{d}/f", 0o600),
              [lambda d: verb("seal", name="f")(d)])
    yield Row("verb: status", whole, [verb("status")])
    yield Row("write, fsync", lambda d: None, [fsync])
    yield Row("list", lambda d: None, [lambda d: os.listdir(f"{d}/x")])


class Campaign(crashing.Campaign):
    def __init__(self, program, scratch, rows, errors=tuple(ERRORS), lasting=False):
        super().__init__(program, scratch, rows)
        self.errors = [ERRORS[name] for name in errors]
        self.lasting = lasting
        self.done = 0  # points whose caller got an error, though all was done
        self.kept = ()  # descriptors of the row
        self.waiting = []  # (directory, what has to be there, a point) since the last kill
        # a fault that lasts is waited for
        self.options = (self.options[0], self.options[1] + ",wait_timeout=2s")

    def mount(self, *extra):
        global mounted
        mounted = super().mount(*extra)
        return mounted

    def arm(self, error, at):
        self.faults.set(faults.LASTING if self.lasting else faults.ONE, error, left=at - 1,
                        store=os.path.realpath(self.mounted.store))

    def run(self, row, d, at, torn=False, epoch=False, error=errno.EIO):
        """→ how many steps returned, the calls' kinds, the call that failed, and the error."""
        self.kept = row.prepare(d) or ()
        self.arm(error, at)
        done, failed = crashing.steps_of(row, d)
        kinds = self.faults.kinds()
        _, call = self.faults.clear()
        if call is None:
            self.release()
        return done, kinds, call, failed

    def release(self):
        for fd in self.kept:
            os.close(fd)
        self.kept = ()

    def tries(self, kinds):
        return [(n, error) for error in self.errors
                for n in range(1, 1 + sum(bool(k & KINDS[error]) for k in kinds))]

    def told_right(self, row, failed, error, call):
        allowed = {error, errno.EIO}
        if error == errno.EMFILE:  # a verb names the files
            allowed = {errno.EIO} if self.lasting or row.name.startswith("verb") else set()
        if failed and (call is None or failed.errno not in allowed):
            raise Wrong(f"the caller got {failed!r}")

    def again(self, *extra):
        waiting, self.waiting = self.waiting, []
        m = super().again(*extra)
        for d, wanted, what in waiting:
            self.check(m / d, [wanted], f"{what}, after a kill")
        return m

    def repeat(self, row, d, done):
        """The rest, without a fault."""
        for step in row.steps[done:]:
            try:
                step(d)
            except OSError as e:
                raise Wrong(f"without the fault: {e!r}") from None

    def ended(self, name, states):
        """A sync failed, and with it the epoch: what was not synced may go."""
        self.kill()
        self.waiting = []
        self.again()
        self.check(self.mounted / name, states, "after the kill")

    def after(self, i, row, d, done, failed):
        """What has to be there, once it has been looked at and tried again."""
        states = self.allowed[row.name]
        got = self.check(d, states[done:done + 2] if failed else [states[done]], "then")
        if not failed:
            return states[done]
        if not crashing.differences(states[done + 1], got):
            self.done += crashing.differences(states[done], got) != []
            return got
        if i % 2:
            self.repeat(row, d, done)
            return self.check(d, [states[-1]], "tried again")
        return got

    def point(self, i, row, at, torn, epoch):
        (at, error), states, name = at, self.allowed[row.name], f"p{i}"
        d = str(self.mounted / name)
        try:
            done, _, call, failed = self.run(row, d, at, error=error)
        except OSError as e:
            raise Wrong(f"{row.name}: before it: {e!r}") from None
        what = f"{row.name}, {errno.errorcode[error]} at {at} ({call}, {failed!r})"
        try:
            self.told_right(row, failed, error, call)
            if call in SYNCS or (self.lasting and self.mounted.status()["store"]["failed"]):
                self.ended(name, states[:done + 2])
                return
            self.waiting.append((name, self.after(i, row, d, done, failed), what))
        except Wrong as e:
            raise Wrong(f"{what}: {e}") from None
        finally:
            self.release()
        if len(self.waiting) >= TOGETHER:
            self.kill()
            self.again()


def changed(d):
    """What was done in a fixture() before."""
    os.chmod(f"{d}/f", 0o4711)
    os.unlink(f"{d}/small"), os.unlink(f"{d}/h2")
    os.rename(f"{d}/x", f"{d}/z")
    crashing.put(f"{d}/empty/new", b"new")
    with open(f"{d}/g", "r+b") as f:
        f.write(b"changed")
    read(f"{d}/other/3")


class Mounts:
    """A fault in a mount, in its end, or in the first look at what is there: the mount works, or fails
    with one line, and the next one works; the look is right, or fails, and the next one is right."""

    def __init__(self, program, scratch):
        self.program, self.faults = program, faults.Faults(program.scratch)
        self.since = time.time_ns() - 10**9
        for name in ("source", "native"):
            crashing.fixture(scratch / name), crashing.aged(scratch / name)
        changed(scratch / "native")
        self.mounted = program.mount(scratch / "source", *crashing.OPTIONS, env=self.faults.env,
                                     store=scratch / "store")
        changed(self.mounted.path)
        self.store = os.path.realpath(self.mounted.store)
        self.wanted = self.shape()
        native = crashing.snapshot(scratch / "native", self.since)
        if wrong := crashing.differences(native, self.wanted):
            raise Wrong("\n".join(wrong))

    def shape(self):
        return crashing.snapshot(self.mounted.path, self.since)

    def counted(self, call, error=errno.EIO, at=1 << 40):
        """→ the kinds of the calls for the store, the one that failed, and what was said."""
        self.faults.set(faults.ONE, error, left=at - 1, store=self.store)
        said = ""
        try:
            call()
        except (AssertionError, OSError) as e:
            said = str(e)
        kinds = self.faults.kinds()
        return kinds, self.faults.clear()[1], said

    def look(self):
        if wrong := crashing.differences(self.wanted, self.shape()):
            raise Wrong("\n  ".join(wrong))

    def start(self):
        self.mounted = self.mounted.again()

    def end(self):
        self.mounted.umount()

    def point(self, call, at, error):
        try:
            _, failed, said = self.counted(call, error, at)
        except Wrong as e:
            raise Wrong(f"{call.__name__}, {errno.errorcode[error]} at {at} "
                        f"({self.faults.clear()[1]}): {e}") from None
        what = f"{call.__name__}, {errno.errorcode[error]} at {at} ({failed}): "
        if said and call == self.end:
            raise Wrong(what + said)
        if said and call == self.look and error == errno.EMFILE:
            raise Wrong(what + said)
        if said and call == self.start and "mount: 1: lacunafs: " not in said:
            raise Wrong(f"{what}no message: {said}")
        if call == self.end or (said and call == self.start):
            self.program.mounts[:] = self.program.mounts[:1]
            self.start()
        if wrong := crashing.differences(self.wanted, self.shape()):
            raise Wrong(f"{what}afterwards: " + "\n  ".join(wrong))
        if left := crashing.leftovers(self.mounted.store):
            raise Wrong(f"{what}left in the store: {left}")

    def torture(self, errors, choose=None):
        """→ how many points, and what was wrong."""
        kinds = {call: self.counted(call)[0] for call in (self.end, self.start, self.look)}
        points = [(call, n, ERRORS[name]) for call in kinds for name in errors
                  for n in range(1, 1 + sum(bool(k & KINDS[ERRORS[name]]) for k in kinds[call]))]
        wrong = []
        points = choose(points) if choose else points
        for call, at, error in points:
            try:
                if call != self.end:
                    self.end()
                if call == self.look:
                    self.start()
                self.point(call, at, error)
            except Wrong as e:
                wrong.append(str(e))
                print(e, flush=True)
                self.faults.clear()
                self.mounted.abandon()
                self.start()
        return len(points), wrong
