# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Processes and mounts of one run, which all end with it.

Processes: each is a child of ours, ended by its own id
Mounts:    those below the scratch directory, and no others
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = ("walk", "file", "small", "start", "precontent")
PATIENCE = 900  # s, for one sample


class Failed(Exception):
    """One line: what a column could not do."""


def mounts():
    """Mount points, innermost last."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        return [line.split(" ")[4].replace("\\040", " ") for line in f]


class Scratch:
    """A directory, and what runs in it."""

    def __init__(self, parent):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-bench.", dir=parent))
        self.children = []
        self.number = 0

    def new(self, name):
        self.number += 1
        path = self.path / f"{name}.{self.number}"
        path.mkdir()
        return path

    def build(self, build=None):
        """`build`: of this project; with it the tools that need the library, too."""
        for tool in TOOLS:
            subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", self.path / tool,
                            HERE / f"{tool}.c"], check=True)
        if build is not None:
            subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", f"-I{HERE.parents[1]}/include", "-o",
                            self.path / "roundtrip", HERE / "roundtrip.c",
                            f"-L{build}/lib", "-llacuna", f"-Wl,-rpath,{build}/lib"], check=True)

    def tool(self, name, *arguments):
        """A tool's line of output, as words."""
        argv = [str(a) for a in (self.path / name, *arguments)]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"{name}: nothing after {PATIENCE} s") from None
        if done.returncode != 0:
            raise Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip()
                         else f"{name}: status {done.returncode}")
        return done.stdout.split()

    def spawn(self, argv, log, **options):
        with open(log, "ab") as out:
            child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                     stdout=options.pop("stdout", out), stderr=out,
                                     start_new_session=True, **options)
        child.log = log
        self.children.append(child)
        return child

    def end(self, child, patience=20):
        """Waits, then asks it to end, then insists."""
        for step in (None, signal.SIGTERM, signal.SIGKILL):
            if step is not None and child.poll() is None:
                child.send_signal(step)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience)
                break
        if child in self.children:
            self.children.remove(child)

    def remove(self):
        for path in reversed([m for m in mounts() if m.startswith(f"{self.path}/")]):
            subprocess.run(["umount", "-l", path], check=False)
        for child in list(self.children):
            child.terminate()
            self.end(child)
        shutil.rmtree(self.path)


def complaint(child):
    """The last line of a child's log."""
    lines = pathlib.Path(child.log).read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"status {child.poll()}, and not a word"


def wait_mounted(child, path, patience=60):
    until = time.monotonic() + patience
    while str(path) not in mounts():
        if child.poll() is not None:
            raise Failed(complaint(child))
        if time.monotonic() > until:
            raise Failed(f"no mount after {patience} s: {complaint(child)}")
        time.sleep(0.005)
    os.stat(path)


def unmount(path):
    """Busy mounts are tried again for a moment, then left to their end."""
    for _ in range(50):
        if str(path) not in mounts():
            return
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "-l", path], capture_output=True, check=False)


def descendants(pid):
    """The process and all below it."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += descendants(int(child))
    return found


def resident(pid):
    """{field: bytes} of a process and all below it: VmRSS, and what smaps tells."""
    sums = {"VmRSS": 0, "Pss": 0, "Private_Dirty": 0, "Anonymous": 0}
    for one in descendants(pid):
        for name in ("status", "smaps_rollup"):
            for line in pathlib.Path(f"/proc/{one}/{name}").read_text().splitlines():
                field, _, value = line.partition(":")
                if field in sums:
                    sums[field] += int(value.split()[0]) * 1024
    return sums


def used(path):
    """Bytes of the disk, of a directory and all below it."""
    done = subprocess.run(["du", "-sx", "--block-size=1", path], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise Failed(done.stderr.strip().splitlines()[-1])
    return int(done.stdout.split()[0])


def pages_drop():
    """What is in the page cache goes, dirty pages to the disk first."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1\n", encoding="ascii")
