#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Every page says which file, place and version it is of; everything goes on at once.

Readers (read, O_DIRECT, sendfile, shared, private and executable mappings), writers (pwrite,
O_DIRECT, append, mappings with and without msync, truncate, fsync, rename, link, unlink, new
files), evict, refresh, sync and fill, a source whose files get other versions, sizes and types,
and kill -9 with another mount, at times beside readers that still hold what the old one gave them.

By hand: page_stamps.py --seconds 3600 [--seed N] [--build DIR] [--variant plain|asan|tsan]

What is right. One open is one open(2), with the mappings made from it, until both are gone.
  Place     a page has the number of the place it is read from, and its file's identity. A name of
            the readers' has one file; a name of a writer's has any of that writer's files, but
            one open has one.
  Version   the pages of the source in one open are of one version. It is not older than any that
            was seen in an open that began before this one did and ended its first read before
            that, nor than one that was there before a `refresh FILE` that ended with 0 before
            this open (of a file whose type stays); nor newer than what was published. Which version it is, is settled by the
            first page read, not by the open: a file of which nothing is here yet has none.
  End       a file ends where its version ends; none is empty.
  Zeros     never, but in a writer's file that was extended by truncate.
  Torn      a page of two stamps: never in a file that only the source changes. (What is written
            while it is read may be torn, on any file system.)
  Own       a writer reads back what it wrote last, by whichever way, and the source's version
            that its file had when it was changed first.
  kill -9   all that a system call wrote is there, all that was stored to a mapping and msync'ed
            or fsync'ed, and of the rest either; a name's change is done or not. With end_epoch,
            as after a crash of the machine: all that was fsync'ed, and of what was not, what was
            written since, or the source's.
  Errors    EIO (EFAULT in a mapping) where a version is wanted that the source has no more,
            ENOENT, EISDIR and ENOTDIR where types change. They are counted, and when all is
            quiet and refreshed, none is left: each file of the readers then is the source's,
            byte for byte.
A failure is printed with the seed; since processes race, a seed repeats the choices only.
"""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import campaign  # noqa: E402
import lying  # noqa: E402
import mounting  # noqa: E402
import processes  # noqa: E402
import stamp_readers  # noqa: E402
import stamp_source  # noqa: E402
import stamp_workers  # noqa: E402
import stamp_writers  # noqa: E402
import stamps  # noqa: E402

READERS, WRITERS = 4, 2
BASE = ("-o", "retries=2,connect_timeout=2s,stall_timeout=4s,wait_timeout=10s")
OPTIONS = [(), ("passthrough=no",), ("readahead=0",), ("readahead=0", "passthrough=no"),
           ("threads=1",), ("threads=1", "passthrough=no")]
VERBS = ["evict", "evict", "refresh", "refresh", "refresh", "fill", "sync"]
TTLS = ["0", "200ms", "1s", "300s"]


def run_verb(program, *argv):
    done = subprocess.run(program.argv(*argv), env=program.env, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=120)
    if done.returncode not in (0, 1):
        raise stamps.Wrong(f"{argv}: {done.returncode}: {done.stderr.decode()}")
    return done


def verbs(worker, program, without):
    """evict, refresh, fill and sync, of whatever."""
    choose = random.Random(worker.seed)
    known = [v for v in VERBS if v not in without]
    while not worker.over() and known:
        verb = choose.choice(known)
        f = choose.randrange(stamp_source.FILES)
        name = stamp_source.place(f)
        what = choose.random()
        if what < 0.15:
            name = choose.choice(["d", "d/e", "w0", "w1"])
        elif what < 0.3:
            name = f"w{choose.randrange(WRITERS)}/r{choose.randrange(stamp_source.WRITTEN)}"
        elif what > 0.9 and verb != "fill":
            name = ""
        settled, generation = worker.table.settled[f], worker.table.generation
        if generation % 2:
            time.sleep(0.05)
            continue
        done = run_verb(program, verb, pathlib.Path(worker.path) / name)
        worker.count("verbs")
        # where the type changes, the version may be gone before refresh asks for it
        if f % 4 and (verb, name, done.returncode, worker.table.generation) == \
                ("refresh", stamp_source.place(f), 0, generation):
            worker.table.raise_to(worker.table.refreshed, f, settled)
        time.sleep(choose.uniform(0, 0.05))


class Native:
    """In the place of a mount: the source itself, to try the test."""

    def __init__(self, path):
        self.path = path

    def umount(self):
        pass

    def log(self):
        return ""


class Campaign:
    def __init__(self, program, choose, http, scratch, without=(), fixed=None):
        self.program, self.choose, self.without = program, choose, without
        self.fixed = fixed
        self.table = stamps.Table()
        scratch.mkdir()
        self.source = stamp_source.Source(scratch / "source", self.table, WRITERS)
        self.source.only_readers = program is None
        self.source.types = "types" not in without
        self.server = stamp_source.Server(scratch / "source", index=choose.choice(
            ["json", "python", "html"])) if http else None
        self.chunk = choose.choice(["4K", "16K", "64K", "64K"])
        self.m, self.round, self.chosen, self.wrong = None, 0, None, []
        self.writers = {n: (stamp_writers.Writer.start(n), self.table.losses)
                        for n in range(WRITERS)}

    def mount(self, epoch=False):
        if self.program is None:
            self.m = Native(self.source.root)
            return
        self.chosen = (*(self.choose.choice(OPTIONS) if self.fixed is None else ()),
                       f"listing_ttl={self.choose.choice(TTLS)}", f"chunk_size={self.chunk}",
                       *(("end_epoch",) if epoch else ()), *(self.fixed or ()))
        options = (*BASE, "-o", ",".join(self.chosen))
        where = self.server.url if self.server else str(self.source.root)
        self.m = self.m.again(*options) if self.m else self.program.mount(where, *options)
        self.table.generation += self.table.generation % 2

    def kill(self):
        """Who holds something of it goes on to."""
        if self.program is None:
            return
        self.table.generation += 1
        if processes.executable(self.m.pid) is None:
            raise stamps.Wrong("the daemon has died")
        self.m.kill()
        epoch = self.choose.random() < 0.3
        self.table.lose(epoch)
        self.table.slot(0)[stamps.Table.COUNTS.index("kills")] += 1
        self.mount(epoch)

    def workers(self):
        made, seed = [], lambda: self.choose.randrange(1 << 60)

        def start(work, *arguments):
            made.append(stamp_workers.Worker(len(made) + 1, self.table, self.m, seed(), work,
                                             *arguments))
        for n, known in self.writers.items():
            start(stamp_writers.work, n, *known, self.without)
        pace = self.choose.choice([0.01, 0.05, 0.3])
        start(stamp_source.work, self.source, pace)
        if self.program:
            start(verbs, self.program, self.without)
        for _ in range(READERS):
            start(stamp_readers.work, WRITERS)
        return made

    def one_round(self, seconds):
        self.round += 1
        self.table.stop = 0
        kills = 0 if "kill" in self.without else self.choose.choice([0, 0, 1, 2, 4])
        until = time.monotonic() + seconds
        # A stalled look-up now and then, where a file's size is asked for by itself
        if self.server and self.choose.random() < 0.4:
            self.server.lie("*/f[0-9]*", lying.delay(0.7), times=self.choose.randrange(1, 20),
                            methods=("HEAD",))
        workers = self.workers()
        try:
            moments = sorted(self.choose.uniform(0, seconds) for _ in range(kills))
            began = time.monotonic()
            while not self.table.stop and time.monotonic() < until:
                if moments and time.monotonic() - began > moments[0]:
                    moments.pop(0)
                    self.kill()
                time.sleep(0.02)
            self.table.stop = 1
            # the slowest step is a verb over all files, each of which may wait for its deadline
            answers = [w.answer(120) for w in workers]
            self.take(answers)
        finally:
            self.table.stop = 1
            if self.server:
                self.server.honest()
            for w in workers:
                w.end()

    def take(self, answers):
        for n, (*known, wrong) in zip(list(self.writers), answers):
            self.writers[n] = known
            if wrong:
                del self.writers[n]
                self.wrong += wrong
        for wrong in answers[-READERS:]:
            self.wrong += wrong

    def settle(self, seconds):
        """All is quiet: what is shown is the source's. `seconds` is how long it may take."""
        until, wrong, said = time.monotonic() + seconds, ["never looked"], ""
        while wrong:
            if time.monotonic() > until:
                text = f"quiet and refreshed, but:\n{chr(10).join(wrong)}\n{said}"
                if not self.table.tally:
                    raise stamps.Wrong(text)
                self.wrong.append(text)
                return
            if self.program:
                said = run_verb(self.program, "refresh", self.m.path).stderr.decode()
            wrong = [text for f in range(stamp_source.FILES) if (text := self.differs(f))]

    def differs(self, f):
        kind, identity, version = self.source.state(f)
        path = self.m.path / stamp_source.place(f)
        try:
            if kind is None:
                return f"{path} is there" if os.path.lexists(path) else None
            path = path / "inner" if kind == "dir" else path
            got = path.read_bytes()
        except OSError as e:
            return f"{e}, not version {version}"
        wanted = stamps.content(identity, version)
        if got == wanted:
            return None
        stamp = stamps.cells(got[:stamps.CELL])[0] if got else None
        return f"{path}: {len(got)} bytes of {stamp}, not {len(wanted)} of version {version}"

    def log(self):
        return self.m.log()[-3000:] if self.m else ""


def torture(program, scratch, seed, seconds, round_s=4.0, sources=("dir", "http"), without=(),
            tally=None, fixed=None, least=None):
    """Returns the number of rounds and what was counted; raises what was wrong, or puts it into
    the list `tally` and goes on. `least`: until as much was counted, it goes on for
    up to eleven times as long."""
    choose, totals = random.Random(seed), {}
    pathlib.Path(scratch).mkdir(exist_ok=True)
    until, rounds, campaigns = time.monotonic() + seconds, 0, 0

    def goes_on():
        now, few = time.monotonic(), any(totals.get(n, 0) < k for n, k in (least or {}).items())
        return rounds < 2 or now < until or (few and now < until + 10 * seconds)

    while goes_on():
        http = sources[campaigns % len(sources)] == "http"
        campaigns += 1
        c = Campaign(program, choose, http, pathlib.Path(scratch) / f"c{campaigns}", without,
                     fixed)
        c.table.tally = tally is not None
        try:
            c.mount()
            for _ in range(choose.choice([1, 2, 3])):
                left = until - time.monotonic()
                c.one_round(min(round_s, max(1, left)) if left > 0 else round_s)
                rounds += 1
                if choose.random() < 0.7:
                    c.settle(60 if tally is None else 5)
                if choose.random() < 0.5:
                    c.kill()
                else:
                    c.m.umount()
                    c.mount(choose.random() < 0.5)
                if time.monotonic() > until:
                    break
            c.m.umount()
        except (stamps.Wrong, AssertionError) as e:
            raise AssertionError(f"seed {seed}, round {rounds + 1}, {'http' if http else 'dir'}, "
                                 f"options {c.chosen}:\n{e}\n{c.log()}") from None
        finally:
            if c.server:
                c.server.stop()
            for name, n in c.table.counts().items():
                totals[name] = totals.get(name, 0) + n
            if tally is not None:
                tally += [f"{'http' if http else 'dir'} {c.chosen}: {text}" for text in c.wrong]
        shutil.rmtree(pathlib.Path(scratch) / f"c{campaigns}")
    return rounds, totals


def main():
    parser = campaign.parser(__doc__)
    parser.add_argument("--round", type=float, default=4, help="seconds")
    parser.add_argument("--source", choices=["dir", "http"], help="default: both in turn")
    parser.add_argument("-o", metavar="OPTIONS", help="of each mount, not drawn")
    parser.add_argument("--without", default="", help="steps of writers, verbs, and: kill, types")
    parser.add_argument("--tally", action="store_true", help="go on, and count what is wrong")
    parser.add_argument("--native", action="store_true", help="no mount: tries the test itself")
    args = parser.parse_args()
    seed = campaign.seed_of(args)
    processes.adopt()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-stamps-"))
    program = None if args.native else mounting.Program(args.build, args.variant, scratch)
    wrong, tally = [], [] if args.tally else None
    try:
        rounds, counts = torture(program, scratch, seed, args.seconds, args.round,
                                 ("dir",) if args.native else
                                 (args.source,) if args.source else ("dir", "http"),
                                 args.without.split(","), tally,
                                 None if args.o is None else tuple(args.o.split(",")))
    except AssertionError as e:
        wrong = [str(e)]
    finally:
        if program:
            wrong += program.close()
        shutil.rmtree(scratch, ignore_errors=True)
    if wrong:
        sys.exit("\n".join(wrong))
    if tally:
        print("\n".join(text[:1500] for text in tally))
    verdict = f"{len(tally)} times wrong" if tally else "every page as it should be"
    print(f"{rounds} rounds, {verdict}: "
          + ", ".join(f"{n} {name}" for name, n in counts.items()))


if __name__ == "__main__":
    main()
