#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A store whose disk loses its power: what was synced is there, nothing is mixed.

Disk:   a file system on a loop device; cut() drops what it has not written (its log, too)
Round:  changes at random, in the mount and in a native copy, syncs among them, then the cut.
        The disks' journals keep the order of metadata: what is found is what was there after one
        of the changes, none before the last sync. Bytes that were not synced are page by page
        one of those that were written since, or what was there before: never zeros for what was
        fetched, never remote bytes for what was synced
Events: directories that cannot be read; a last sync that fails; a daemon that dies first
By hand: crash_power.py [--build DIR] [--fs ext4|xfs] [--rounds N] [--seed N]
"""
import argparse
import errno
import os
import pathlib
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import campaign  # noqa: E402
import crashing  # noqa: E402
import faults  # noqa: E402
import mounting  # noqa: E402
import processes  # noqa: E402
from crash_points import EXCHANGE, pwrite, rename2  # noqa: E402
from crashing import CHUNK, Wrong  # noqa: E402
from power_disk import MAKE, Disk  # noqa: E402


def pages(content):
    return [content[i:i + CHUNK] for i in range(0, len(content), CHUNK)]


class Life:
    """What the bytes of one file may be after a cut."""

    def __init__(self, content, made):
        self.synced(content)
        if made:
            self.versions, self.loose = [[], *self.versions], True

    def synced(self, content):
        self.versions = [pages(content)]
        self.content, self.loose = content, False

    def written(self, content):
        if content != self.content:
            self.versions.append(pages(content))
            self.content, self.loose = content, True

    def wrong(self, got):
        sizes = [sum(map(len, v)) for v in self.versions]
        if not min(sizes) <= len(got) <= max(sizes):
            return f"{len(got)} bytes, never between {min(sizes)} and {max(sizes)}"
        for i, page in enumerate(pages(got)):
            # a shorter version is zeros where a longer one went on
            allowed = {v[i].ljust(CHUNK, b"\0") if i < len(v) else bytes(CHUNK)
                       for v in self.versions}
            if page.ljust(CHUNK, b"\0") in allowed:
                continue
            # the last page of one version, with what a longer one has after it
            if any(a[:n] + b[n:] == page.ljust(CHUNK, b"\0") for a in allowed for b in allowed
                   for n in {s % CHUNK for s in sizes}):
                continue
            return (f"page {i} of {len(got)} bytes is none of {len(allowed)}, "
                    f"{'zeros' if not any(page) else 'other'}; sizes were {sizes}")
        return None


class Round:
    def __init__(self, choose, m, native, d, since, fault):
        self.choose, self.m, self.since, self.fault = choose, m, since, fault
        self.native, self.mounted = str(native), str(m / d)
        self.states, self.told, self.durable = [], [], 0
        self.changed = []  # sets of native inode numbers, beside states: changed_by()
        self.alive = {}  # native inode number → Life
        self.note(set(), "start")

    def ino(self, path):
        """The native inode number; None: there is no such name."""
        try:
            return os.lstat(f"{self.native}/{path}").st_ino
        except FileNotFoundError:
            return None

    def changed_by(self, name, path, other, before, replaced):
        """Native inode numbers of what an operation changes, as the disk's journal has it. An fsync
        of one of these writes the log up to this change, and with it all changes before; one of any
        other inode, a name's old directory included, makes nothing durable (xfs: xfs_link,
        xfs_cross_rename). What a name stands for changes, so names do not tell.
        `before`: what `path` was; `replaced`: what `other` was; None: nothing"""
        directories = {self.ino(os.path.dirname(p) or ".") for p in (path, other) if p}
        if re.match("write|append|truncate|chmod|chown|utime|setxattr", name):
            return {before}
        if name == "link":  # the inode has one more link; its old name stays as it is
            return {before, self.ino(os.path.dirname(other) or ".")}
        if other and before == replaced:  # two names of one file: rename(2) does nothing
            return set()
        if name == "exchange":  # xfs has no new ctime for the files
            return directories
        if name.startswith("rename"):
            return {before, *directories}
        # made, or removed: the number of what was removed may come again for another, which is
        # then a later change
        return {self.ino(path), *directories} - {None}

    def note(self, changed, *what):
        state, now = crashing.snapshot(self.native, self.since), {}
        for path, told in state.items():
            if "content" not in told:
                continue
            ino = os.lstat(os.path.join(os.fsencode(self.native), path)).st_ino
            life = now.get(ino) or self.alive.get(ino)
            if life is None:  # a number may come again
                life = Life(told["content"], made=bool(self.states))
            life.written(told["content"])
            now[ino] = life
            told["life"] = life
        self.alive = now
        self.states.append(state)
        self.told.append(what)
        self.changed.append(changed)

    def pick(self, kind):
        found = [os.fsdecode(p) for p, t in self.states[-1].items()
                 if p and stat.S_IFMT(int(t["mode"], 8)) == kind]
        return self.choose.choice(sorted(found)) if found else None

    def fresh(self):
        where = self.pick(stat.S_IFDIR) or "."
        return f"{where}/n{len(self.states)}"

    def draw(self):
        """(name, what is changed, call of a directory, the other name, if there are two)"""
        c = self.choose
        file, other, directory = self.pick(stat.S_IFREG), self.pick(stat.S_IFREG), \
            self.pick(stat.S_IFDIR)
        new = self.fresh()
        size = len(self.states[-1].get(os.fsencode(file or ""), {}).get("content", b""))
        at, data = c.randrange(size + 1), c.randbytes(c.choice([100, CHUNK, 3 * CHUNK]))
        if c.random() < 0.5:
            at -= at % CHUNK
        anything = file if c.random() < 0.6 else self.pick(c.choice([stat.S_IFLNK, stat.S_IFIFO]))
        mode, when, name = c.choice([0o600, 0o640, 0o755]), c.randrange(1 << 30), c.randbytes(3)
        steps = [
            ("write", file, lambda d: pwrite(f"{d}/{file}", data, at)),
            ("write", file, lambda d: pwrite(f"{d}/{file}", data, at)),
            ("write", file, lambda d: pwrite(f"{d}/{file}", data, at)),
            ("append", file, lambda d: pwrite(f"{d}/{file}", data, size)),
            ("truncate", file, lambda d: os.truncate(f"{d}/{file}", at)),
            ("truncate to nothing", file, lambda d: os.truncate(f"{d}/{file}", 0)),
            ("create", new, lambda d: crashing.put(f"{d}/{new}", data)),
            ("unlink", anything, lambda d: os.unlink(f"{d}/{anything}")),
            ("rename", anything, lambda d: os.rename(f"{d}/{anything}", f"{d}/{new}"), new),
            ("rename over", file, lambda d: os.rename(f"{d}/{file}", f"{d}/{other}"), other),
            ("exchange", file, lambda d: rename2(f"{d}/{file}", f"{d}/{other}", EXCHANGE),
             other),
            ("link", file, lambda d: os.link(f"{d}/{file}", f"{d}/{new}"), new),
            ("mkdir", new, lambda d: os.mkdir(f"{d}/{new}")),
            ("rmdir", directory, lambda d: os.rmdir(f"{d}/{directory}")),
            ("rename directory", directory, lambda d: os.rename(f"{d}/{directory}", f"{d}/{new}"),
             new),
            ("symlink", new, lambda d: os.symlink("to", f"{d}/{new}")),
            ("chmod", file, lambda d: os.chmod(f"{d}/{file}", mode)),
            ("chmod directory", directory, lambda d: os.chmod(f"{d}/{directory}", mode | 0o100)),
            ("chown", anything,
             lambda d: os.chown(f"{d}/{anything}", 3, 4, follow_symlinks=False)),
            ("utime", file, lambda d: os.utime(f"{d}/{file}", (when, when))),
            ("setxattr", file, lambda d: os.setxattr(f"{d}/{file}", "user.x", name)),
        ]
        return c.choice([s for s in steps if s[1]])

    def sync(self):
        """Everything, one file, or a directory; what it makes durable."""
        how = self.choose.choice(["all", "file", "file", "directory"])
        if how == "all":
            done = self.m.program.run("sync", self.m.path)
            if done.returncode != 0:
                raise Wrong(f"sync: {done.stderr}")
            paths = [p for p, t in self.states[-1].items() if "content" in t]
            self.durable = len(self.states) - 1
        else:
            path = self.pick(stat.S_IFREG if how == "file" else stat.S_IFDIR)
            if path is None:
                return
            data = self.choose.random() < 0.3
            fd = os.open(f"{self.mounted}/{path}", os.O_RDONLY)
            try:
                (os.fdatasync if data else os.fsync)(fd)
            finally:
                os.close(fd)
            how = f"{'the data of ' if data else ''}{how} {path}"
            paths = [os.fsencode(path)] if os.fsencode(path) in self.states[-1] and \
                "content" in self.states[-1][os.fsencode(path)] else []
            # Its own last change; what came before that in the log is there, too. fdatasync(2) need
            # not write the log: ext4 and xfs keep the bytes, and lose a rename of others before
            ino = self.ino(path)
            own = [i for i, c in enumerate(self.changed) if ino in c and not data]
            self.durable = max([self.durable, *own])
        for p in paths:
            self.states[-1][p]["life"].synced(self.states[-1][p]["content"])
        self.told[-1] += (f"then synced {how}",)

    def look(self):
        path = self.pick(stat.S_IFREG)
        if path is None:
            return
        with open(f"{self.mounted}/{path}", "rb", buffering=0) as f:
            whole = self.states[-1][os.fsencode(path)]["content"]
            at = self.choose.randrange(len(whole) + 1)
            for offset, size in [(at, 100), (0, len(whole))][:self.choose.choice([1, 1, 2])]:
                got = os.pread(f.fileno(), size, offset)
                if got != whole[offset:offset + size]:
                    raise Wrong(f"{path}: read what is not there")

    def scan_fails(self):
        """A directory cannot be read: an error, and nothing that is taken for empty later."""
        self.fault.set(faults.SCAN, errno.EIO, self.choose.randrange(6))
        try:
            crashing.snapshot(self.mounted, self.since)
        except OSError:
            pass
        finally:
            self.fault.clear()

    def sync_fails(self):
        """The last thing before the power goes: nothing becomes durable by it."""
        self.fault.set(faults.SYNCS, errno.EIO, self.choose.randrange(3))
        states = len(self.states), self.durable
        path = self.pick(stat.S_IFREG)
        try:
            if path is None or self.choose.random() < 0.3:
                self.m.program.run("sync", self.m.path)
            else:
                fd = os.open(f"{self.mounted}/{path}", os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        except OSError as e:
            if e.errno != errno.EIO:
                raise Wrong(f"a sync that fails: {e!r}") from None
        self.fault.clear()
        self.told[-1] += ("then a sync failed",)
        assert states == (len(self.states), self.durable)

    def run(self, steps):
        for _ in range(steps):
            chance = self.choose.random()
            if chance < 0.03:
                self.scan_fails()
                continue
            if chance < 0.15:
                self.look()
                continue
            if chance < 0.25:
                self.sync()
                continue
            name, path, call, *others = self.draw()
            other = others[0] if others else None
            before, replaced = self.ino(path), self.ino(other) if other else None
            try:
                call(self.native)
            except OSError:
                continue
            call(self.mounted)
            self.note(self.changed_by(name, path, other, before, replaced), name, path, *others)

    def history(self):
        return "changes:\n" + "\n".join(f"  {i} {t}" for i, t in enumerate(self.told))

    def found(self, got):
        """Lines; none where it is what was there after one of the changes."""
        best = None
        for k in range(len(self.states) - 1, self.durable - 1, -1):
            wanted = self.states[k]
            lines = crashing.differences(self.strip(wanted, wanted),
                                         self.strip(got, wanted))
            lines += self.bytes_wrong(wanted, got)
            if not lines:
                return []
            if best is None or len(lines) < len(best):
                best = [f"nearest to the state after {k} of {len(self.states) - 1} changes, "
                        f"durable from {self.durable}:"] + lines
        return best

    @staticmethod
    def strip(state, wanted):
        """All but the bytes, and the times where bytes were not synced."""
        loose = {p for p, t in wanted.items() if "life" in t and t["life"].loose}
        return {p: {a: v for a, v in t.items() if a not in ("content", "size", "life")
                    and not (a == "mtime" and p in loose)} for p, t in state.items()}

    @staticmethod
    def bytes_wrong(wanted, got):
        return [f"{p!r}: {wrong}" for p, t in wanted.items()
                if "life" in t and "content" in got.get(p, {})
                and (wrong := t["life"].wrong(got[p]["content"]))]


def one_round(choose, program, disk, source, scratch, number, m, since, steps, fault):
    """Returns the mount that came after the cut."""
    d, native = f"r{number}", scratch / "native"
    subprocess.run(["rm", "-rf", native], check=True)
    subprocess.run(["cp", "-a", source / d, native], check=True)
    r = Round(choose, m, native, d, since, fault)
    r.run(steps)
    if choose.random() < 0.3:
        r.sync_fails()
    if choose.random() < 0.3:  # first the daemon, which may have been about to sync
        m.kill()
        disk.cut()
    else:
        disk.cut()
        m.kill()
    disk.umount()
    disk.mount()
    m = m.again()
    try:
        got = crashing.snapshot(m / d, since)
    except OSError as e:
        raise Wrong(f"after the cut: {e!r}\n{m.log()[-1500:]}\n{r.history()}") from None
    wrong = r.found(got)
    if wrong:
        raise Wrong("\n  ".join(wrong) + "\n" + r.history())
    left = crashing.leftovers(m.store)
    if left:
        raise Wrong(f"left in the store: {left}\n{m.log()[-1500:]}\n{r.history()}")
    try:
        crashing.work_on(m / d)
    except (OSError, AssertionError, subprocess.CalledProcessError) as e:
        raise Wrong(f"does not work on: {e!r}") from None
    return m


def torture(program, scratch, kind, seed, rounds, steps=60):
    """Returns what was wrong; the first of it ends it."""
    scratch, since = pathlib.Path(scratch), time.time_ns() - 10**9
    disk, source, fault = Disk(kind, scratch), scratch / "source", faults.Faults(scratch)
    for n in range(rounds):
        os.makedirs(source / f"r{n}")
        crashing.fixture(str(source / f"r{n}"))
        crashing.aged(str(source / f"r{n}"))
    try:
        m = program.mount(source, *crashing.OPTIONS, store=disk.path / "store", env=fault.env)
        for n in range(rounds):
            choose = random.Random(f"{seed} {n}")
            try:
                m = one_round(choose, program, disk, source, scratch, n, m, since,
                              choose.randrange(2, steps), fault)
            except Wrong as e:
                return [f"{kind}, seed {seed}, round {n}: {e}"]
        m.umount()
    finally:
        for m in program.mounts:
            m.abandon()
        disk.umount()
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--fs", choices=sorted(MAKE))
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int)
    args = parser.parse_args()
    seed = campaign.seed_of(args)
    processes.adopt()
    bad = 0
    for kind in [args.fs] if args.fs else sorted(MAKE):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-power-"))
        started = time.monotonic()
        scratch.chmod(0o755)
        program, wrong = mounting.Program(args.build, "plain", scratch), []
        try:
            wrong += torture(program, scratch, kind, seed, args.rounds)
        finally:
            wrong += program.close()
            shutil.rmtree(scratch, ignore_errors=True)
        print("\n".join(wrong + [f"{kind}: {args.rounds} rounds, seed {seed}, {len(wrong)} wrong, "
                                 f"{time.monotonic() - started:.0f} s"]), flush=True)
        bad += len(wrong)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
