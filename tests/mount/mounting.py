# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""One lacunafs under test, and its mounts.

Readiness: the exit status of `lacunafs mount`; nothing is polled
Insists:   that umount succeeds, that the daemon ends with 0, and that neither it nor a
           sanitizer complained
Users:     `user` is a uid; commands then run as it, without privileges
"""
import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess

import processes

# KEEPER=no: the mounts of every test that does not ask for a keeper have none.
WITHOUT = ["-o", "keeper=no"] if os.environ.get("KEEPER") == "no" else []

# What a log may never hold. G_LOG levels, sanitizers, assertions.
COMPLAINTS = re.compile(r"CRITICAL|\(process:\d+\).*(ERROR|WARNING)|runtime error:|Sanitizer|"
                        r"Assertion|data race|double free|corrupted")


class Program:
    """The binary of one build, run in an environment of its own under `scratch`."""

    def __init__(self, build, variant, scratch):
        self.path = pathlib.Path(build).resolve() / "fuse" / "lacunafs"
        self.variant, self.scratch = variant, pathlib.Path(scratch)
        self.commands, self.mounts = [], []
        self.reports = self.scratch / "sanitizer"
        for name in ("cache", "run", "home", "sanitizer"):
            (self.scratch / name).mkdir()
            (self.scratch / name).chmod(0o1777 if name == "sanitizer" else 0o755)
        common = f"log_path={self.reports}/r:exitcode=99"
        self.env = {
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": f"{self.scratch}/home",
            "XDG_CACHE_HOME": f"{self.scratch}/cache", "XDG_RUNTIME_DIR": f"{self.scratch}/run",
            "LC_ALL": "C.UTF-8",
            # GLib's slices move blocks between threads under locks that sanitizers do not see
            "G_SLICE": "always-malloc",
            "ASAN_OPTIONS": common + ":detect_leaks=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": common + ":print_stacktrace=1:halt_on_error=1",
            # By default a program with threads sleeps for a second before it exits
            "TSAN_OPTIONS": common + ":second_deadlock_stack=1:atexit_sleep_ms=50"}

    def give(self, uid):
        """Makes the environment's directories `uid`'s."""
        for name in ("cache", "run", "home"):
            os.chown(self.scratch / name, uid, uid)

    def argv(self, *args, user=None):
        # Thread sanitizers of 2022 know no kernel with so much address randomness.
        before = ["setarch", "-R"] if self.variant == "tsan" else []
        if user is not None:
            before += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return before + [str(self.path)] + [str(a) for a in args]

    def run(self, *args, user=None, env=None, timeout=90, input=None, prefix=()):
        argv = list(prefix) + self.argv(*args, user=user)
        shown = " ".join(f"{k}={shlex.quote(v)}" for k, v in (env or {}).items())
        self.commands.append(f"{shown} {shlex.join(argv)}".strip())
        # Output to files: a daemon that inherits a pipe would keep it open
        with open(self.scratch / "out", "w+b") as out, open(self.scratch / "err", "w+b") as err:
            stdin = subprocess.PIPE if input else subprocess.DEVNULL
            with processes.Child(argv, env={**self.env, **(env or {})}, stdin=stdin, stdout=out,
                                 stderr=err, cwd=self.scratch) as child:
                if input:
                    child.communicate(input, timeout)
                status = processes.wait(child, timeout)
            out.seek(0), err.seek(0)
            return subprocess.CompletedProcess(argv, status, out.read().decode(errors="replace"),
                                               err.read().decode(errors="replace"))

    def start(self, *args, user=None, env=None, **options):
        """The same in the background, with pipes."""
        argv = self.argv(*args, user=user)
        self.commands.append(shlex.join(argv) + " &")
        return subprocess.Popen(argv, env={**self.env, **(env or {})}, text=True,
                                stdin=subprocess.DEVNULL, **options)

    def mount(self, source, *args, point=None, store=None, **options):
        m = Mount(self, source, args, point, store, **options)
        self.mounts.append(m)
        return m

    def repeat(self):
        env = " ".join(f"{k}={shlex.quote(v)}" for k, v in self.env.items() if k != "PATH")
        return "\n".join([f"export {env}"] + self.commands)

    def complaints(self):
        found = []
        for report in sorted(self.reports.iterdir()):
            found.append(f"{report.name}:\n{report.read_text(errors='replace')[:6000]}")
        for m in {m.store: m for m in self.mounts}.values():  # some have hundreds of one store
            found += [line for line in m.log().splitlines() if COMPLAINTS.search(line)]
        return found

    def close(self):
        """Ends every mount; what was wrong, as text. For the end of a test."""
        wrong = []
        self.end_programs()
        for m in reversed(self.mounts):
            if m.pid is not None:
                try:
                    m.umount()
                except (AssertionError, subprocess.TimeoutExpired) as e:
                    wrong.append(str(e))
                finally:
                    m.abandon()
        return wrong + self.sweep() + self.complaints()

    def end_programs(self):
        """Those that a test started from a mount or beside one and did not end, since it failed."""
        made = self.scratch.parent.name.startswith("lacunafs-")  # what all tests compile
        top = self.scratch.parent if made else self.scratch
        for pid in processes.children():
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            except OSError:
                continue
            program = words[1] if "python" in words[0] and len(words) > 1 else words[0]
            if program.startswith(f"{top}/"):
                processes.end(pid)

    def is_named_by(self, pid):
        try:
            said = pathlib.Path(f"/proc/{pid}/cmdline").read_text(errors="surrogateescape")
            return f"{self.scratch}/" in said + os.readlink(f"/proc/{pid}/cwd") + "/"
        except OSError:
            return False

    def sweep(self):
        """What no Mount knows of: of a test that failed between two steps, or in a namespace. The
        mounts that were left, as text."""
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            left = [(fields[4], line.split(" - ")[1].split()[0]) for line in f
                    if (fields := line.split())[4].startswith(f"{self.scratch}/")]
        ours = [point for point, kind in left if kind == "fuse.lacunafs"]
        for point in reversed(ours):
            subprocess.run(["umount", "-l", point], capture_output=True)
        for pid in processes.children():  # daemons of other programs of this build go on
            if processes.executable(pid) == str(self.path) and self.is_named_by(pid):
                processes.end(pid)
        return [f"left mounted: {point}" for point in ours]


class Mount:
    def __init__(self, program, source, args, point, store, user=None, env=None, prefix=()):
        self.program, self.source, self.args = program, source, [str(a) for a in args]
        number = len(program.mounts)
        self.path = pathlib.Path(point or program.scratch / f"m{number}")
        self.store = pathlib.Path(store or program.scratch / f"s{number}")
        self.user, self.env, self.prefix, self.pid = user, env, prefix, None
        for made in (self.path, self.store):
            if not made.exists():
                made.mkdir(mode=0o700 if made == self.store else 0o755)
                if user is not None:
                    os.chown(made, user, user)
        self.start()

    def start(self):
        before = processes.children()
        args = WITHOUT + self.args
        words = ",".join(args).split(",")
        self.kept = "keeper=auto" in words or "keeper=no" not in words
        done = self.program.run("mount", self.source, self.path, "--store", self.store, *args, user=self.user, env=self.env, prefix=self.prefix)
        assert done.returncode == 0, f"mount: {done.returncode}: {done.stderr}{self.log()}"
        new = [p for p in processes.children() - before
               if processes.executable(p) == str(self.program.path)]
        assert len(new) == 1, f"not one daemon but {new}"
        self.pid = new[0]

    def again(self, *args, **changes):
        """Another mount of this store, where this one was."""
        return self.program.mount(changes.pop("source", self.source), *(args or self.args),
                                  point=self.path, store=self.store, user=self.user,
                                  env=self.env, **changes)

    def __truediv__(self, name):
        return self.path / name

    def log_settle(self, seconds=5):
        """Until what was logged has been written, by a daemon that answers."""
        def waits():
            done = self.program.run("status", "--json", self.path, user=self.user, env=self.env,
                                    timeout=seconds)
            return done.returncode == 0 and json.loads(done.stdout)["log"]["waiting"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            processes.wait_until(lambda: not waits(), seconds)

    def log(self):
        if self.pid is not None:
            self.log_settle()
        text = ""
        for name in ("log.1", "log"):
            try:
                text += (self.store / "state" / name).read_text(errors="surrogateescape")
            except OSError:
                pass
        return text

    def status(self, name=None):
        """`status --json` of the mount, or of one file in it."""
        what = self.path if name is None else self.path / name
        done = self.program.run("status", "--json", what, user=self.user, env=self.env)
        assert done.returncode == 0, f"status: {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    def fill(self, *names):
        return self.program.run("fill", *(self.path / n for n in names), user=self.user,
                                env=self.env)

    def umount(self, seconds=30):
        done = self.program.run("umount", self.path, user=self.user, env=self.env)
        assert done.returncode == 0, f"umount: {done.returncode}: {done.stderr}"
        status = processes.reap(self.pid, seconds)
        assert status is not None, f"the daemon still runs {seconds} s after umount"
        self.pid = None
        assert status == 0, f"the daemon ended with {status}: {self.log()[-3000:]}"

    def kill(self):
        """As a crash would."""
        os.kill(self.pid, signal.SIGKILL)
        self.abandon()

    def worker(self):
        """The pid of the worker, a child of the keeper beside the guard; None: there is none now.
        Without a keeper the daemon's."""
        if not self.kept:
            return self.pid
        text = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        for pid in text.split():
            try:
                name, rest = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)
            except OSError:
                continue
            if rest.split()[0] not in "ZX" and not name.endswith("-guard"):
                return int(pid)
        return None

    def kill_worker(self, number=signal.SIGKILL):
        """As a crash of the daemon would: the next worker takes over."""
        worker = self.worker()
        if worker is not None:
            os.kill(worker, number)
        return worker

    def abandon(self):
        """Leaves nothing behind, whatever happened."""
        if self.pid is None:
            return
        if subprocess.run(["umount", "-l", str(self.path)], capture_output=True).returncode != 0:
            subprocess.run(["fusermount3", "-u", "-z", str(self.path)], capture_output=True)
        processes.end(self.pid)
        self.pid = None
