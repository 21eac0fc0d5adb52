#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Random reads of a mount, compared byte by byte with a plain copy.

Several processes read, map, splice, copy, execute and list; between rounds the mount is made
anew, at times after kill -9, at times with the server away for a while.

By hand: random_io.py --seconds 3600 [--seed N] [--build DIR]
"""
import contextlib
import faulthandler
import fcntl
import mmap
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import campaign  # noqa: E402
import lying  # noqa: E402
import processes  # noqa: E402
import trees  # noqa: E402

OPTIONS = [(), ("-o", "passthrough=no"), ("-o", "readahead=0"), ("-o", "listing_ttl=0"),
           ("-o", "readahead=256K,prefetch=1M"), ("-o", "threads=1")]


def make_tree(root, choose):
    root = pathlib.Path(root)
    for i in range(40):
        size = choose.choice([0, 1, 4096, choose.randrange(9000), choose.randrange(400_000)])
        trees.put(root / f"d{i % 5}" / f"f{i}", choose.randbytes(size))
    for i in range(4):
        trees.put(root / f"big{i}", choose.randbytes(choose.randrange(2 << 20, 12 << 20)))
    trees.make_program(root / "bin", 24 << 20)
    return root


class Reader:
    """One process: random operations until the time is over. Errors are only allowed in
    `stormy` rounds, in which the server is away for a while; wrong bytes never."""

    def __init__(self, truth, mounted, choose, stormy):
        self.truth, self.mounted, self.choose, self.stormy = truth, mounted, choose, stormy
        self.files = [os.fsdecode(p) for p in trees.walk(truth) if os.path.isfile(
            os.path.join(os.fsencode(truth), p))]
        self.views, self.done = [], 0

    def run(self, until):
        operations = [self.pread] * 6 + [self.whole, self.map, self.map, self.look, self.look,
                                         self.splice, self.execute, self.walk, self.stat, self.drop]
        while time.monotonic() < until:
            operation = self.choose.choice(operations)
            try:
                operation()
                self.done += 1
            except OSError as e:
                if not self.stormy:
                    raise RuntimeError(f"{operation.__name__}: {e}") from e

    def pick(self):
        name = self.choose.choice(self.files)
        return name, self.truth / name, self.mounted / name

    def same(self, name, offset, got, wanted):
        if got != wanted:
            where = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b),
                         min(len(got), len(wanted)))
            raise RuntimeError(f"{name}: wrong from {offset + where} on: {len(got)} bytes, "
                               f"{got[where:where + 16]!r}, not {wanted[where:where + 16]!r}")

    def pread(self):
        name, truth, mounted = self.pick()
        with open(truth, "rb", buffering=0) as a, open(mounted, "rb", buffering=0) as b:
            size = os.fstat(a.fileno()).st_size
            for _ in range(self.choose.randrange(1, 8)):
                offset = self.choose.randrange(size + 100)
                length = self.choose.choice([1, 4096, 65536, 200_000])
                got, wanted = (os.pread(f.fileno(), length, offset) for f in (b, a))
                # The kernel gives what it had before a page failed; never nothing
                if self.stormy and 0 < len(got) < len(wanted):
                    wanted = wanted[:len(got)]
                self.same(name, offset, got, wanted)

    def whole(self):
        name, truth, mounted = self.pick()
        self.same(name, 0, mounted.read_bytes(), truth.read_bytes())

    def map(self):
        """A mapping that is kept over many operations; faults happen in `look`."""
        name, truth, mounted = self.pick()
        if truth.stat().st_size and len(self.views) < 8:
            with open(mounted, "rb") as f:
                view = mmap.mmap(f.fileno(), 0, self.choose.choice([mmap.MAP_SHARED,
                                                                    mmap.MAP_PRIVATE]),
                                 mmap.PROT_READ)
            view.madvise(self.choose.choice([mmap.MADV_RANDOM, mmap.MADV_NORMAL,
                                             mmap.MADV_WILLNEED]))
            self.views.append((name, truth, view))

    def look(self):
        """In a child: a fault that fails is SIGBUS."""
        if not self.views:
            return
        name, truth, view = self.choose.choice(self.views)
        offset = self.choose.randrange(len(view))
        length = self.choose.choice([1, 5000, 100_000])
        pid = os.fork()
        if pid == 0:
            faulthandler.disable()  # the fault may be meant
            with open(truth, "rb") as f:
                wanted = os.pread(f.fileno(), min(length, len(view) - offset), offset)
            os._exit(0 if view[offset:offset + length] == wanted else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 1:
            raise RuntimeError(f"{name}: wrong in a mapping, {length} bytes from {offset}")
        if status != 0 and not (self.stormy and status == -signal.SIGBUS):
            raise RuntimeError(f"{name}: a fault ended with {status}")

    def splice(self):
        name, truth, mounted = self.pick()
        with open(truth, "rb") as a, open(mounted, "rb") as b:
            size = os.fstat(a.fileno()).st_size
            offset, length = self.choose.randrange(size + 1), self.choose.randrange(1, 60_000)
            reader, writer = os.pipe()
            try:
                fcntl.fcntl(writer, 1031, 1 << 17)  # F_SETPIPE_SZ
                n = os.splice(b.fileno(), writer, length, offset_src=offset)
                self.same(name, offset, os.read(reader, n) if n else b"",
                          os.pread(a.fileno(), n, offset))
                if n == 0 and offset < size:
                    raise RuntimeError(f"{name}: false end of file at {offset}")
            finally:
                os.close(reader)
                os.close(writer)

    def execute(self):
        offsets = [str(self.choose.randrange(24 << 20)) for _ in range(3)]
        here, there = (subprocess.run([p / "bin" / "program", *offsets], capture_output=True)
                       for p in (self.truth, self.mounted))
        if self.stormy and there.returncode == -signal.SIGBUS:
            return
        if (here.returncode, here.stdout) != (there.returncode, there.stdout):
            raise RuntimeError(f"program {offsets}: {there.returncode}, {there.stdout!r}, "
                               f"{there.stderr!r}, not {here.stdout!r}")

    def walk(self):
        directory = self.choose.choice(["", "d0", "d1", "d2", "d3", "d4", "bin"])
        here, there = (sorted(os.listdir(p / directory)) for p in (self.truth, self.mounted))
        if here != there:
            raise RuntimeError(f"{directory}/: {there}, not {here}")

    def stat(self):
        name, truth, mounted = self.pick()
        if truth.stat().st_size != mounted.stat().st_size:
            raise RuntimeError(f"{name}: size {mounted.stat().st_size}")

    def drop(self):
        """Pages go, so that the next reads come from the daemon or the local file."""
        name, _, mounted = self.pick()
        with open(mounted, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if self.views:
            self.views.pop(self.choose.randrange(len(self.views)))[2].close()


def spawn(truth, mounted, seed, stormy, until):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        reader = Reader(truth, mounted, random.Random(seed), stormy)
        reader.run(until)
        status = 0 if reader.done else 3
    except BaseException:  # the child ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def torture(program, server_of, seed, seconds, readers=6, round_s=4.0):
    """Returns the number of rounds; raises what was wrong."""
    choose = random.Random(seed)
    truth = make_tree(program.scratch / "truth", choose)
    server = server_of(truth)
    until, rounds, m = time.monotonic() + seconds, 0, None
    while rounds < 2 or time.monotonic() < until:
        options = choose.choice(OPTIONS) + (("-o", "end_epoch") if choose.random() < 0.3 else ())
        stormy = choose.random() < 0.3
        if stormy:
            options += ("-o", "retries=1,connect_timeout=500ms,stall_timeout=500ms,wait_timeout=2s")
        if m is None or choose.random() < 0.15:  # from nothing
            m = program.mount(server.url, *options)
        else:
            m = m.again(*(options or ("-o", "passthrough=auto")))
        end = min(max(until, time.monotonic() + 1), time.monotonic() + choose.uniform(0.5, 1.5) * round_s)
        pids = [spawn(truth, m.path, choose.randrange(1 << 60), stormy, end)
                for _ in range(readers)]
        try:
            if stormy:
                time.sleep(choose.uniform(0.1, 1))
                trouble = choose.choice([None, lying.stall(1000), lying.truncate(3000), lying.drop,
                                         lying.status(503), lying.wrong_range, lying.page,
                                         lying.ignore_range])
                if trouble is None:
                    server.stop()
                else:
                    server.lie("*", trouble)
                time.sleep(choose.uniform(0.1, 1.5))
                server.honest()
                if trouble is None:
                    server.start()
            statuses = [processes.reap(pid, 60) for pid in pids]
        except BaseException:
            for pid in pids:
                processes.end(pid)
            raise
        rounds += 1
        if statuses != [0] * readers and not (stormy and set(statuses) <= {0, 3}):
            raise AssertionError(f"seed {seed}, round {rounds}, options {options}, "
                                 f"stormy {stormy}: readers ended with {statuses}\n{m.log()[-3000:]}")
        if choose.random() < 0.3:
            m.kill()
        else:
            m.umount()
    return rounds


def main():
    args = campaign.parser(__doc__).parse_args()
    seed = campaign.seed_of(args)
    with contextlib.ExitStack() as servers, campaign.program(args, "random") as program:
        def serve(root):
            server = lying.LyingServer(root)
            servers.callback(server.stop)
            return server
        rounds = torture(program, serve, seed, args.seconds)
    print(f"{rounds} rounds, every byte as it should be")


if __name__ == "__main__":
    main()
