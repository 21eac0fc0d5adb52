#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Churn on one mount, which comes to rest between cycles: then memory, descriptors, threads, tables
and the files of the store are as they were after the first cycle.

A cycle is all PHASES, in a random order, while status, metrics and verify are asked for; then
nothing is open, what was made is removed, cached data is evicted, and the kernel forgets all inodes.
`--only` runs some of the phases: which of them leaks?

By hand, as root:
    soak.py --seconds 1800 [--names 1000000] [--only lists,storm] [--options keeper=no] [--seed N]
"""
import argparse
import contextlib
import ctypes
import json
import mmap
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import campaign  # noqa: E402
import handlers  # noqa: E402
import lying  # noqa: E402
import mounting  # noqa: E402
import processes  # noqa: E402
import soak_gauges  # noqa: E402
import trees  # noqa: E402

THEN = 1_600_000_000
FOLDERS = 10  # of the names that are looked up and forgotten
OPTIONS = ("min_free=0,listing_ttl=200ms,retries=1,connect_timeout=1s,stall_timeout=1s,"
           "wait_timeout=4s,mirror_retry=50ms")
MS_NOSUID, MS_NODEV, MS_REMOUNT = 2, 4, 32
REFRESH = 900  # seconds; 40 us for each inode that is known, on a busy machine
TRIM = 3  # seconds after which the heap of forgotten inodes is the kernel's (fuse/inode/trim.c)
WAITS = 30  # seconds, for what comes back by itself: the flusher has five
SHARE = 4 << 20  # bytes that the quota leaves for cached data


class Soak:
    """`names`: so many are looked up a cycle; `work`: operations of a thread or phase a cycle."""

    def __init__(self, program, seed, names, work, options=""):
        self.program, self.choose, self.work, self.names = program, random.Random(seed), work, names
        self.root = program.scratch / "source"
        self.make_source()
        self.server = lying.LyingServer(self.root)
        self.list_names()
        quota = SHARE + 128 * names
        self.m = program.mount(self.server.url, "-o", f"{OPTIONS},quota={quota}{options}")
        self.quiet, self.done, self.wrong = threading.Lock(), threading.Event(), []

    def make_source(self):
        for n in range(24):
            trees.put(self.root / "data" / f"f{n}", trees.noise(n, n * 17_000), THEN)
        for n in range(16):
            trees.put(self.root / "large" / f"l{n}", trees.noise(100 + n, SHARE // 8), THEN)
        shutil.copy("/bin/true", self.root / "data" / "program")
        for n in range(FOLDERS):
            (self.root / "names" / str(n)).mkdir(parents=True)

    def list_names(self):
        when = "Sun, 13 Sep 2020 12:26:40 GMT"
        for folder in range(FOLDERS):
            rows = [{"name": f"file-{folder}-{n}", "type": "file", "mtime": when, "size": n + 1}
                    for n in range(self.names // FOLDERS)]
            self.server.pages[f"/names/{folder}/"] = ("application/json", json.dumps(rows).encode())

    def threads(self, call, count):
        def run(n):
            try:
                call(n, random.Random(seeds[n]))
            except Exception as e:  # pylint: disable=broad-except
                self.wrong.append(f"{call.__name__}: {e!r}")
        seeds = [self.choose.random() for _ in range(count)]
        running = [threading.Thread(target=run, args=(n,)) for n in range(count)]
        for t in running:
            t.start()
        for t in running:
            t.join()
        assert not self.wrong, self.wrong[0]

    def storm(self, _cycle):
        """Local names: all that can be done to them, and they are gone at the end."""
        self.threads(self.storm_one, 4)

    def storm_one(self, number, choose):
        top = self.m / f"storm{number}"
        top.mkdir()
        for n in range(self.work):
            path, other = top / f"n{n % 50}", top / f"o{choose.randrange(50)}"
            path.write_bytes(choose.randbytes(choose.choice([0, 10, 5000, 70_000])))
            os.setxattr(path, "user.soak", b"x" * choose.randrange(1, 100))
            with open(path, "ab") as f:
                f.write(b"more")
                os.fsync(f.fileno())
                os.replace(path, other)
                f.write(b"after the rename")
            with contextlib.suppress(FileExistsError):
                os.link(other, top / f"link{choose.randrange(20)}")
            with contextlib.suppress(FileExistsError):
                os.symlink("nowhere", top / f"symlink{n % 10}")
            with open(other, "rb") as f:
                other.unlink()
                f.read()
        shutil.rmtree(top)

    def lists(self, cycle):
        """A server whose names, kinds and sizes are others each time, some of them removed here."""
        for step in range(3):
            top, name = self.root / "changing", f"{cycle}-{step}"
            if top.exists():
                shutil.rmtree(top)
            for n in range(self.work):
                trees.put(top / f"f{n}", b"x" * (n + step), THEN + step + cycle)
                trees.put(top / f"new-{name}-{n}", b"new", THEN)
            for n in range(4):
                trees.put(top / f"dir-{name}-{n}" / "inner" / "file", b"deep", THEN)
                trees.put(top / f"kind{n}" / "file" if step % 2 else top / f"kind{n}", b"k", THEN)
            self.program.run("refresh", self.m.path, timeout=REFRESH)
            found = [path for path in self.walk(self.m / "changing") if path.is_file()]
            assert len(found) >= self.work, found
            for path in found[:20]:
                with contextlib.suppress(OSError):  # the next listing may be there
                    path.read_bytes()
            for n in range(3):  # always the same: a name that was removed stays marked as gone
                with contextlib.suppress(FileNotFoundError):
                    (self.m / "changing" / f"f{n}").unlink()
        shutil.rmtree(self.root / "changing")
        self.program.run("refresh", self.m.path, timeout=REFRESH)
        self.walk(self.m.path / "changing")

    def walk(self, top):
        return [pathlib.Path(path) / name for path, _, files in os.walk(top) for name in files]

    def data(self, _cycle):
        """Reads in part and in whole, writes in part, mappings, programs, pins."""
        names = [self.m / "data" / f"f{n}" for n in range(1, 24)]
        for path in self.choose.sample(names, 12):
            with open(path, "rb") as f:
                os.pread(f.fileno(), 1000, self.choose.randrange(path.stat().st_size))
        self.program.run("fill", *names)
        for path in self.choose.sample(names, 6):
            assert processes.apart(lambda path=path: self.mapped(path)) == path.read_bytes()
        subprocess.run([self.m / "data" / "program"], check=True)
        for path in self.choose.sample(names, 6):
            self.program.run("pin", path)
            self.program.run("evict", path)
            self.program.run("unpin", path)
        self.program.run("refresh", self.m / "data")
        self.program.run("evict", self.m / "data")

    def mapped(self, path):
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as pages:
            return pages[:]

    def large(self, _cycle):
        """More than the quota has room for."""
        for n in range(16):
            assert (self.m / "large" / f"l{n}").read_bytes() == trees.noise(100 + n, SHARE // 8)

    def handlers(self, cycle):
        """They come, are asked, leave, and are killed."""
        for n in range(3):
            h = handlers.Handler(self.m, name=f"h{cycle}-{n}", mode="every" if n == 1 else "holes")
            assert h.mark(handlers.MOUNT) == 0
            assert h.mark(handlers.FILE, self.m / "data" / "f3") == 0
            serving = handlers.Serving(h, lambda event: (handlers.FETCH, 0))
            (self.m / "data" / f"f{5 + n}").read_bytes()
            serving.stop()
            self.program.run("handlers", self.m.path, "--dismiss", f"h{cycle}-{n}")
            self.program.run("evict", self.m / "data")
        with subprocess.Popen(
                [sys.executable, handlers.__file__, self.m.path, "hang", self.root,
                 json.dumps({"name": "killed"})], env={**os.environ, **self.program.env},
                stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline().startswith("ready")
            child.kill()
        done = self.program.run("handlers", self.m.path, "--dismiss", "killed")
        assert done.returncode == 0, done.stderr
        with self.program.start("trace", self.m.path, stdout=subprocess.PIPE) as trace:
            (self.m / "data" / "f9").read_bytes()
            trace.kill()

    def failures(self, _cycle):
        """A server that goes, comes, refuses, stalls, and ends in the middle."""
        lies = [lying.status(503), lying.status(404), lying.drop, lying.truncate(100), lying.page,
                lying.stall(50), lying.wrong_range]
        for n in range(len(lies)):
            self.server.lie("/data/f*", lies[n], times=3)
            for k in self.choose.sample(range(1, 24), 3):
                with contextlib.suppress(OSError):
                    (self.m / "data" / f"f{k}").read_bytes()
            self.server.honest()
        self.server.stop()
        for n in range(10):
            with contextlib.suppress(OSError):
                (self.m / "data" / f"f{n}").read_bytes()
        self.server.start()
        assert processes.wait_until(self.answers, WAITS)

    def answers(self):
        try:
            return (self.m / "data" / "f7").read_bytes() == trees.noise(7, 7 * 17_000)
        except OSError:
            return False

    def lookups(self, _cycle):
        """Names that are looked up, each with its attributes, and forgotten."""
        each = [subprocess.Popen(["find", *(self.m / "names" / str(n) for n in numbers), "-type", "f",
                                  "-printf", "%s\n"], stdout=subprocess.PIPE)
                for numbers in (range(FOLDERS // 2), range(FOLDERS // 2, FOLDERS))]
        found = [child.communicate()[0].count(b"\n") for child in each]
        assert [child.returncode for child in each] == [0, 0]
        assert sum(found) == self.names // FOLDERS * FOLDERS

    def partly(self, _cycle):
        """Writes into files that are not here. As local changes they stay: all are of the same."""
        for n in range(18, 24):
            with open(self.m / "data" / f"f{n}", "r+b") as f:
                f.write(trees.noise(n, n * 17_000)[:3000])
                if n % 2:
                    os.fsync(f.fileno())

    def observe(self):
        """Other clients of the control socket, all the time."""
        verbs = [("status", "--json"), ("metrics",), ("handlers",), ("verify",)]
        while not self.done.wait(0.2):
            with self.quiet:
                verb, *rest = self.choose_verb(verbs)
                with self.program.start(verb, *rest, self.m.path, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE) as child:
                    complaint = child.communicate()[1]
                if child.returncode not in (0, 1):
                    self.wrong.append(f"{verb}: {child.returncode}: {complaint}")

    def choose_verb(self, verbs):
        verbs.append(verbs.pop(0))
        return verbs[0]

    def forget(self):
        """The kernel drops the names and inodes of this mount alone, unlike drop_caches."""
        flags = MS_REMOUNT | MS_NOSUID | MS_NODEV
        if processes.libc.mount(None, os.fsencode(self.m.path), None, flags, None) != 0:
            raise OSError(ctypes.get_errno(), "remount")

    def rest(self, gauges, base):
        """→ what the daemon holds now."""
        self.server.honest()
        with self.quiet:
            self.program.run("evict", self.m.path)
            self.forget()
            time.sleep(TRIM)
            return gauges.settle(base, WAITS)


PHASES = ("storm", "lists", "data", "large", "handlers", "failures", "lookups", "partly")


def run_cycle(soak, cycle, phases):
    phases = list(phases)
    soak.choose.shuffle(phases)
    for phase in phases:
        getattr(soak, phase)(cycle)
        assert not soak.wrong, soak.wrong[0]


def torture(program, seed, seconds, names, work, phases=PHASES, least=5, options=""):
    """→ what was held after each cycle, the warm-up first; raises what grew."""
    soak = Soak(program, seed, names, work, options)
    fusectl = soak_gauges.Fusectl(program.scratch)
    gauges, cycles, until = soak_gauges.Gauges(soak.m, soak.server, fusectl), [], \
        time.monotonic() + seconds
    observer = threading.Thread(target=soak.observe)
    observer.start()
    print(soak_gauges.heading(), flush=True)
    try:
        while len(cycles) < least or time.monotonic() < until:
            run_cycle(soak, len(cycles), phases)
            cycles.append(soak.rest(gauges, cycles[0] if cycles else {}))
            print(soak_gauges.line(len(cycles) - 1, cycles[-1]), flush=True)
    finally:
        soak.done.set()
        observer.join()
        soak.server.stop()
        fusectl.close()
    wrong = soak_gauges.growing(cycles)
    assert not wrong, "\n".join(wrong)
    return cycles


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--work", type=int, default=200)
    parser.add_argument("--only", default=",".join(PHASES))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--options", default="", help="more mount options, such as keeper=no")
    parser.add_argument("--build", default="build")
    parser.add_argument("--variant", choices=["plain", "asan", "tsan"], default="plain")
    args = parser.parse_args()
    seed = campaign.seed_of(args)
    processes.adopt()
    with tempfile.TemporaryDirectory(prefix="lacunafs-soak-") as scratch:
        program = mounting.Program(args.build, args.variant, scratch)
        try:
            cycles = torture(program, seed, args.seconds, args.names, args.work,
                             args.only.split(","), options=f",{args.options}".rstrip(","))
        except (AssertionError, OSError) as e:
            sys.exit(f"{e!r}\n{program.mounts[0].log()[-3000:]}")
        finally:
            wrong = program.close()
        if wrong:
            sys.exit("\n".join(wrong))
    print(f"{len(cycles)} cycles: all came back")


if __name__ == "__main__":
    main()
