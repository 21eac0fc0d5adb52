#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Readers beside a server whose answers are changed at random.

They see right bytes of one version within one open, right sizes and whole directories, or an
error, each within the reader's deadline; and all is right again once the server is.

By hand: random_lies.py --seconds 3600 [--seed N] [--build DIR] [--variant asan]
"""
import os
import pathlib
import random
import re
import stat
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import campaign  # noqa: E402
import mutating  # noqa: E402
import processes  # noqa: E402
import trees  # noqa: E402

WAIT = 3  # -o wait_timeout
SHORT = f"connect_timeout=1s,stall_timeout=500ms,wait_timeout={WAIT}s"
OPTIONS = ["retries=0", "retries=1", "retries=3,readahead=0", "passthrough=no,retries=0",
           "listing_ttl=0,retries=1", "connections=2", "retries=0,etag=no"]


def make_tree(root, choose):
    root = pathlib.Path(root)
    for i in range(24):
        size = choose.choice([0, 1, 4096, choose.randrange(9000), choose.randrange(400_000)])
        trees.put(root / f"d{i % 4}" / f"f{i}", choose.randbytes(size))
    trees.put(root / "big", choose.randbytes(3 << 20))
    return root


class Reader:
    """One process: random operations until the time is over."""

    def __init__(self, truth, mounted, choose, patience):
        self.truth, self.mounted, self.choose = truth, mounted, choose
        self.patience = patience
        self.files = [p.relative_to(truth) for p in sorted(truth.rglob("*")) if p.is_file()]
        self.done = self.failed = 0

    def run(self, until):
        while time.monotonic() < until:
            operation = self.choose.choice([self.pread, self.pread, self.whole, self.stat,
                                            self.walk])
            try:
                operation()
                self.done += 1
            except OSError:
                self.failed += 1

    def timed(self, what, call, *args):
        before = time.monotonic()
        try:
            return call(*args)
        finally:
            took = time.monotonic() - before
            if took > self.patience:
                raise RuntimeError(f"{what}: {took:.1f} s, {self.patience:.1f} s were allowed")

    def compare(self, name, offset, got, wanted, versions):
        """`versions`: those that this open can be of; one of them must be left."""
        if len(got) > len(wanted) or (wanted and not got):
            raise RuntimeError(f"{name}: {len(got)} bytes at {offset}, not {len(wanted)}")
        wanted = wanted[:len(got)]  # a page that failed ends a read
        for version, bytes_of in (("A", bytes), ("B", mutating.twisted)):
            if got != bytes_of(wanted):
                versions.discard(version)
        if not versions:
            a = next(i for i in range(len(got)) if got[i] != wanted[i])
            raise RuntimeError(f"{name}: wrong from {offset + a} on, or two versions in one open: "
                               f"{got[a:a + 16]!r}, not {wanted[a:a + 16]!r}")

    def pick(self):
        name = self.choose.choice(self.files)
        return name, (self.truth / name).read_bytes()

    def pread(self):
        name, wanted = self.pick()
        fd = self.timed(f"open {name}", os.open, self.mounted / name, os.O_RDONLY)
        try:
            versions = {"A", "B"}
            for _ in range(self.choose.randrange(1, 8)):
                offset = self.choose.randrange(len(wanted) + 100)
                length = self.choose.choice([1, 4096, 65536, 200_000])
                got = self.timed(f"read {name}", os.pread, fd, length, offset)
                self.compare(name, offset, got, wanted[offset:offset + length], versions)
        finally:
            os.close(fd)

    def whole(self):
        name, wanted = self.pick()
        fd = self.timed(f"open {name}", os.open, self.mounted / name, os.O_RDONLY)
        try:
            versions, at = {"A", "B"}, 0
            while got := self.timed(f"read {name}", os.pread, fd, 1 << 17, at):
                self.compare(name, at, got, wanted[at:at + (1 << 17)], versions)
                at += len(got)
            if at != len(wanted):
                raise RuntimeError(f"{name}: ended at {at} of {len(wanted)}")
        finally:
            os.close(fd)

    def stat(self):
        name, wanted = self.pick()
        st = self.timed(f"stat {name}", os.stat, self.mounted / name)
        if stat.S_ISDIR(st.st_mode):  # a redirect said so; an error by another name
            raise IsADirectoryError(name)
        if st.st_size != len(wanted):
            raise RuntimeError(f"{name}: {st.st_size} bytes long, not {len(wanted)}")

    def walk(self):
        directory = self.choose.choice(["", "d0", "d1", "d2", "d3"])
        got = sorted(self.timed(f"list {directory}", os.listdir, self.mounted / directory))
        wanted = sorted(os.listdir(self.truth / directory))
        if got != wanted:
            raise RuntimeError(f"{directory}/: {got}, not {wanted}")


def spawn(truth, mounted, seed, patience, until, told):
    """`told`: a directory; what the reader saw wrong is left there, by its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        Reader(truth, mounted, random.Random(seed), patience).run(until)
        status = 0
    except BaseException as e:  # the child ends here, whatever it was
        traceback.print_exc()
        (told / str(os.getpid())).write_text(str(e))
    finally:
        sys.stderr.flush()
        os._exit(status)


def wrongs(truth, mounted):
    """What is not as the honest server has it."""
    found = []
    for path in [truth, *sorted(truth.rglob("*"))]:
        name = path.relative_to(truth)
        try:
            if path.is_dir() and sorted(os.listdir(mounted / name)) != sorted(os.listdir(path)):
                found.append(f"{name}/: {os.listdir(mounted / name)}")
            elif path.is_file() and (mounted / name).read_bytes() != path.read_bytes():
                found.append(f"{name}: {os.stat(mounted / name).st_size} bytes, "
                             f"not the {path.stat().st_size}")
        except OSError as e:
            found.append(f"{name}: {e.strerror}")
    return found


def recover(program, m, truth, seconds):
    """Until all is right; what is of version B is told to look again."""
    until = time.monotonic() + seconds
    while found := wrongs(truth, m.path):
        if time.monotonic() > until:
            raise AssertionError(f"not right {seconds} s after the server was: {found}")
        program.run("refresh", m.path)
        time.sleep(0.2)


def slowness(m):
    """How much slower this machine is now than an idle one: 1 and more."""
    before = time.monotonic()
    for _ in range(5):
        m.status()
    return max(1.0, (time.monotonic() - before) / 0.25)


def account(server, truth, text):
    """The changed answers about the files and directories that `text` names."""
    names = {"/" if p == truth else str(p.relative_to(truth)) + ("/" if p.is_dir() else "")
             for p in [truth, *truth.rglob("*")]}
    named = [n for n in re.findall(r"[\w/]+", text) if n in names]
    return "\n".join(line for n in dict.fromkeys(named) for line in server.told(n.lstrip("/")))


def torture(program, seed, seconds, readers=5, round_s=4.0, index=None):
    """Returns the number of rounds; raises what was wrong."""
    choose = random.Random(seed)
    truth = make_tree(program.scratch / "truth", choose)
    told = pathlib.Path(tempfile.mkdtemp(dir=program.scratch))
    until, rounds = time.monotonic() + seconds, 0
    while rounds == 0 or time.monotonic() < until:
        style = index or choose.choice(["json", "html", "python"])
        server = mutating.MutatingServer(truth, random.Random(choose.randrange(1 << 60)),
                                         index=style)
        options = choose.choice(OPTIONS)
        try:
            m = program.mount(server.url, "-o", f"{SHORT},{options}")
            # an operation may be a look-up of each directory, an attribute and a read
            patience = 4 * WAIT * slowness(m) + 2
            server.wild = choose.choice([0.1, 0.3, 0.6, 0.9])
            end = time.monotonic() + choose.uniform(0.5, 1.5) * round_s
            pids = [spawn(truth, m.path, choose.randrange(1 << 60), patience, end, told)
                    for _ in range(readers)]
            try:
                statuses = [processes.reap(pid, 3 * patience + 2 * round_s) for pid in pids]
            except BaseException:
                for pid in pids:
                    processes.end(pid)
                raise
            rounds += 1
            if statuses != [0] * readers:
                wrong = "\n".join(p.read_text() for p in told.iterdir())
                raise AssertionError(f"seed {seed}, round {rounds}, index {style}, options "
                                     f"{options}: readers ended with {statuses}\n{wrong}\n"
                                     f"{m.log()[-3000:]}\n{account(server, truth, wrong)}")
            server.wild = 0
            try:
                recover(program, m, truth, 5 * patience)
            except AssertionError as e:
                raise AssertionError(f"seed {seed}, round {rounds}, index {style}, options "
                                     f"{options}: {e}\n{m.log()[-3000:]}\n"
                                     f"{account(server, truth, str(e))}") from None
            m.umount()
        finally:
            server.stop()
    return rounds


def main():
    parser = campaign.parser(__doc__)
    parser.add_argument("--index", choices=["json", "html", "python"])
    args = parser.parse_args()
    seed = campaign.seed_of(args)
    with campaign.program(args, "lies") as program:
        rounds = torture(program, seed, args.seconds, index=args.index)
    print(f"{rounds} rounds: right, or an error")


if __name__ == "__main__":
    main()
