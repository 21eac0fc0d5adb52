#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Random changes of a mount and of a native copy, compared step by step and tree by tree.

Several processes change a folder each, and read one that is shared; every step must tell the
same in both trees, and after each round the trees are compared completely. In between the mount
is made anew, at times after kill -9 (also in the middle of a step), at times as after a crash of
the machine once everything was synced; meanwhile files are evicted, refreshed and synced.

By hand: random_ops.py --seconds 3600 [--seed N] [--build DIR] [--native] [--without NAME,…]
"""
import collections
import os
import pathlib
import pickle
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.join(os.path.dirname(os.path.abspath(__file__)), "posix")]

import campaign  # noqa: E402
import kit  # noqa: E402
import mounting  # noqa: E402
import posix_chooser  # noqa: E402
import posix_steps  # noqa: E402
import processes  # noqa: E402
from dying import Deaths, Upgrades  # noqa: E402
from random_trees import (SINCE, USER, WORKERS, Trouble, compare, explained, folder,  # noqa: E402
                          related, settle)

# dev: a device node that cannot be opened would tell another errno than natively
BASE = ("-o", "rw,allow_other,dev,suid,chunk_size=16K")
OPTIONS = [(), ("-o", "passthrough=no"), ("-o", "readahead=0"), ("-o", "threads=1"),
           ("-o", "readahead=64K,prefetch=1M"), ("-o", "listing_ttl=0")]
GONE = ("ENOTCONN", "ECONNABORTED", "EIO")  # what a daemon that was killed leaves
# Not beside kill -9: a fault on a mapping would be SIGBUS, and a kept descriptor has no name
UNSAFE = ("mapped", *posix_chooser.KEPT)


def make_tree(root, choose, without=()):
    root = pathlib.Path(root)
    for name in [folder(i) for i in range(WORKERS)] + ["shared"]:
        for at in ("d/e/f", "g", "empty"):
            (root / name / at).mkdir(parents=True)
        for i in range(24):
            size = choose.choice([0, 1, 4096, choose.randrange(9000), choose.randrange(400_000)])
            path = root / name / choose.choice(["", "d", "d/e", "d/e/f", "g"]) / f"f{i}"
            kit.put(path, choose.randbytes(size), choose.choice([0o644, 0o600, 0o755]))
        kit.put(root / name / "big", choose.randbytes(2 << 20))
        kit.hard(str(root / name / "hard"))
        os.link(root / name / "hard", root / name / "d" / "hard3")
        if "links" in without:
            for path in (root / name / "hard2", root / name / "d" / "hard3"):
                path.unlink()
                kit.put(path, b"no link")
        kit.sparse(root / name / "sparse"), kit.xattrs(root / name / "xattrs")
        kit.acl(root / name / "acl"), kit.acldir(root / name / "acldir")
        os.symlink("f1", root / name / "link"), os.symlink("d", root / name / "dirlink")
        os.mkfifo(root / name / "fifo")
        for i, path in enumerate(kit.everything(root / name)):
            if name == "user":
                os.chown(path, USER, USER, follow_symlinks=False)
            os.utime(path, ns=(SINCE - 10**15, SINCE - i * 10**9 - 1), follow_symlinks=False)
    return root


class Worker:
    """One process at work in its folder of both trees, and what it sends back."""

    def __init__(self, number, truth, mounted, seed, steps, crash, without):
        self.number, self.truth, self.mounted, self.without = number, truth, mounted, without
        self.seed, self.steps, self.crash = seed, steps, crash
        self.reader, writer = os.pipe()
        hold, self.held = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.reader), os.close(self.held)
                if self.user:
                    os.setgroups([posix_chooser.TEAM])
                    os.setresgid(USER, USER, USER)
                    os.setresuid(USER, USER, USER)
                os.umask(0o022)
                try:
                    answer = self.work()
                except Trouble as e:
                    answer = ("wrong", str(e))
                except BaseException:  # the child ends here, whatever it was
                    answer = ("wrong", traceback.format_exc())
                with os.fdopen(writer, "wb") as f:
                    pickle.dump(answer, f)
                os.read(hold, 1)  # descriptors stay open until then
                status = 0
            finally:
                os._exit(status)
        os.close(writer), os.close(hold)

    @property
    def user(self):
        return self.number == WORKERS - 1

    def work(self):
        choose = random.Random(self.seed)
        # By a descriptor: by its path, a mount that is gone is an empty directory
        mounted = f"/proc/self/fd/{os.open(self.mounted, os.O_PATH | os.O_DIRECTORY)}"
        sides = posix_steps.Side(mounted), posix_steps.Side(self.truth)
        chooser = posix_chooser.Chooser(choose, self.truth, folder(self.number), not self.user,
                                        (*self.without, *(UNSAFE if self.crash else ())))
        done = collections.deque(maxlen=2000)
        for i in range(self.steps):
            step, arguments = chooser.draw()
            if i % 10 == 9:
                path = f"shared/{choose.choice(['big', 'hard', 'sparse', 'd/hard3'])}"
                step, arguments = "read", (path, choose.randrange(2 << 20), 70_000)
            done.append((i, step, arguments))
            got = posix_steps.told(sides[0], step, arguments)
            done[-1] += (got,)
            if self.crash and got in GONE:
                return "crashed", (step, arguments), list(done)
            wanted = posix_steps.told(sides[1], step, arguments)
            if got != wanted:
                if self.crash and step in ("read", "kept_read") and isinstance(got, tuple) \
                        and got == posix_steps.told(sides[1], step, (*arguments[:-1], got[0])) \
                        and posix_steps.told(sides[0], step, arguments) in GONE:
                    return "crashed", (step, arguments), list(done)  # as far as was cached
                if step in posix_steps.READS:
                    again = posix_steps.told(sides[0], step, arguments)
                    looks = [posix_steps.told(s, "look", arguments[:1])
                             for s in sides if isinstance(arguments[0], str)]
                    wanted = f"{wanted!r:.300}; asked again, it told {again!r:.300}; " \
                        f"by now it is {looks}"
                raise Trouble(f"step {i}: {step}{arguments!r:.300}\n"
                              f"told {got!r:.300}\n not {wanted!r:.300}\n"
                              f"(its last error: {sides[0].error})\n"
                              + related(done, arguments))
        return "done", None, list(done)

    def answer(self, seconds):
        """("done" | "crashed", the step that was cut short, the steps)"""
        pieces = []
        until = time.monotonic() + seconds
        import select
        while select.select([self.reader], [], [], max(0, until - time.monotonic()))[0]:
            piece = os.read(self.reader, 1 << 20)
            if not piece:
                break
            pieces.append(piece)
        else:
            raise Trouble(f"{folder(self.number)}: no end after {seconds} s")
        if not pieces:
            raise Trouble(f"{folder(self.number)}: ended with {processes.reap(self.pid, 5)}")
        answer = pickle.loads(b"".join(pieces))
        if answer[0] == "wrong":
            raise Trouble(f"{folder(self.number)}: {answer[1]}")
        return answer

    def end(self):
        try:
            os.write(self.held, b"x")  # its siblings have copies: no end of file by closing
        except BrokenPipeError:
            pass
        os.close(self.held), os.close(self.reader)
        if processes.reap(self.pid, 10) is None:
            processes.end(self.pid, 2)


def move_around(choose, truth, mounted):
    """What only one process may do: folders of folders change places."""
    for _ in range(3):
        a, b = choose.sample(range(WORKERS - 1), 2)
        at = os.path.join(truth, folder(a))
        pool = sorted(n for n in os.listdir(at) if os.path.isdir(os.path.join(at, n))
                      and not os.path.islink(os.path.join(at, n)))
        if not pool:
            continue
        name = choose.choice(pool)
        if any(os.lstat(p).st_nlink > 1 for p in kit.everything(os.path.join(at, name))
               if not os.path.isdir(p) or os.path.islink(p)):
            continue  # one file in two folders would be two processes'
        arguments = f"{folder(a)}/{name}", f"{folder(b)}/{choose.choice(['a', 'b', 'moved'])}", \
            choose.choice([0, 1])
        got, wanted = (posix_steps.told(posix_steps.Side(s), "rename", arguments)
                       for s in (mounted, truth))
        if got != wanted:
            raise Trouble(f"rename{arguments}: told {got!r}, not {wanted!r}")


class Verbs:
    """evict, refresh and sync, as far as they exist, while the workers work."""

    STRIKES = 18  # a request that was worked on at so many deaths of the worker fails

    def __init__(self, program, choose):
        self.program, self.choose, self.killer = program, choose, None
        help = program.run("--help").stdout if program else ""
        self.there = [v for v in ("evict", "refresh", "sync") if v in help]

    def one(self, truth, m):
        if not self.there:
            time.sleep(0.1)
            return
        verb = self.choose.choice(self.there)
        if verb == "sync":
            before = self.killer.count if self.killer else 0
            done = self.program.run("sync", m.path)
            died = self.killer.count - before if self.killer else 0
            if done.returncode != 0 and died < self.STRIKES:
                raise Trouble(f"sync: {done.returncode}: {done.stderr}, {died} deaths")
            return
        top = self.choose.choice([folder(i) for i in range(WORKERS)] + ["shared"])
        try:
            names = sorted(os.listdir(os.path.join(truth, top)))
        except OSError:
            return
        done = self.program.run(verb, *(m.path / top / n for n in self.choose.sample(
            names, min(len(names), 5))))
        if done.returncode < 0 or done.returncode > 2:  # it may say no
            raise Trouble(f"{verb}: {done.returncode}: {done.stderr}")


class Plain:
    """In the place of a mount: a second native copy, to try the test itself."""

    def __init__(self, source, path):
        subprocess.run(["cp", "-a", source, path], check=True)
        self.path = pathlib.Path(path)

    def again(self, *_):
        return self

    def umount(self):
        pass

    kill = umount

    def log(self):
        return ""


def one_round(choose, truth, m, verbs, steps, without):
    """What each worker told that was at work when the daemon was killed; or what all told."""
    crash = choose.random() < 0.25 and not isinstance(m, Plain) and "crash" not in without
    workers = [Worker(i, truth, m.path, choose.randrange(1 << 60), steps * (10 if crash else 1),
                      crash, without) for i in range(WORKERS)]
    try:
        if crash:
            time.sleep(choose.uniform(0.05, 1.0))
            m.kill()
            return [(w, w.answer(60)) for w in workers], ()
        until = time.monotonic() + 60
        import select
        while len(select.select([w.reader for w in workers], [], [], 0)[0]) < WORKERS:
            if time.monotonic() > until:
                break
            verbs.one(truth, m)
        answers = [w.answer(60 if verbs.killer is None else 200) for w in workers]
        if found := compare(truth, m.path):
            raise Trouble(explained(found, answers))
        return [], answers
    finally:
        for w in workers:
            w.end()


def shorter(log):
    """Its end, without the lines of which there are hundreds."""
    return "\n".join(line for line in log.splitlines() if " took over " not in line)[-3000:]


def torture(program, scratch, seed, seconds, steps=400, start=None, without=(), deaths=0,
            death=Deaths):
    """Returns the number of rounds; raises what was wrong. `deaths`: seconds between two deaths of
    the daemon's worker (`death`: or upgrades), of which nobody may learn; 0: none. Then returns
    their number, too."""
    choose, scratch = random.Random(seed), pathlib.Path(scratch)
    source = make_tree(scratch / "source", choose, without)
    truth = scratch / "truth"
    verbs = Verbs(program, choose)
    until, rounds, m, end_epoch = time.monotonic() + seconds, 0, None, False
    answers = ()  # of the round before
    died = 0
    while rounds < 2 or deaths and died < 5 or time.monotonic() < until:
        options = BASE + choose.choice(OPTIONS) + (("-o", "keeper=auto") if deaths else ())
        if end_epoch and choose.random() < 0.5:
            options += ("-o", "end_epoch")
        if m is None or not start and choose.random() < 0.15:  # from nothing
            subprocess.run(["rm", "-rf", truth], check=True)
            subprocess.run(["cp", "-a", source, truth], check=True)
            m = start(source) if start else program.mount(source, *options)
        else:
            m = m.again(*options)
        rounds += 1
        try:
            # Lazy things stay untouched at times
            if choose.random() < 0.5 and (found := compare(truth, m.path)):
                raise Trouble("after mounting:\n" + explained(found, answers))
            move_around(choose, truth, m.path)
            killer = death(m, choose.randrange(1 << 60), deaths) if deaths else None
            verbs.killer = killer
            try:
                crashed, answers = one_round(choose, truth, m, verbs, steps, without)
            finally:
                died += killer.stop() if killer else 0
            end_epoch = False
            if found := re.findall(".*: storing it: .*", m.log()):
                raise Trouble("the store refused:\n" + "\n".join(found))
            if crashed:
                m = m.again(*BASE)
                for worker, (kind, cut, steps_of) in crashed:
                    if kind == "crashed":
                        settle(worker, cut, truth, m.path, steps_of)
                    elif found := compare(truth, m.path, folder(worker.number)):
                        raise Trouble("after kill -9:\n" + "\n".join(found[:40]))
            if choose.random() < 0.3:
                if "sync" in verbs.there and choose.random() < 0.5:
                    done = program.run("sync", m.path)
                    if done.returncode != 0:
                        raise Trouble(f"sync: {done.stderr}")
                    end_epoch = True
                m.kill()
            else:
                m.umount()
                end_epoch = True
        except Trouble as e:
            raise AssertionError(f"seed {seed}, round {rounds}, options {options}:\n{e}\n"
                                 f"{shorter(m.log())}") from None
    return (rounds, died) if deaths else rounds


def main():
    parser = campaign.parser(__doc__)
    parser.add_argument("--steps", type=int, default=400, help="of each process in a round")
    parser.add_argument("--native", action="store_true", help="two native trees: tries the test")
    parser.add_argument("--without", default="", help="steps not to take; links: in the source; "
                        "crash: kill -9 beside steps")
    parser.add_argument("--deaths", type=float, default=0, metavar="SECONDS",
                        help="between two deaths of the worker, which nobody may notice; implies "
                        "--without crash")
    parser.add_argument("--upgrades", action="store_true",
                        help="in place of deaths: to another program, and back")
    args = parser.parse_args()
    if args.deaths:
        args.without += ",crash"
    seed = campaign.seed_of(args)
    processes.adopt()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-random-"))
    scratch.chmod(0o755)
    program = None if args.native else mounting.Program(args.build, args.variant, scratch)
    wrong = []
    try:
        rounds = torture(program, scratch, seed, args.seconds, args.steps,
                         (lambda s: Plain(s, scratch / "plain")) if args.native else None,
                         args.without.split(","), args.deaths,
                         Upgrades if args.upgrades else Deaths)
    except AssertionError as e:
        sys.exit(str(e))
    finally:
        if program:
            wrong = program.close()
        shutil.rmtree(scratch, ignore_errors=True)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{rounds} rounds, both trees the same")


if __name__ == "__main__":
    main()
