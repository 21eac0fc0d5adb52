# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Programs written for fanotify's pre-content events: the same binary with the kernel's events on a
local file system, and with those of a mount (lacunafs hsm). What the two tell is compared line by
line; where they may differ stands in a table here, and nothing else may."""
import os
import re
import shutil
import subprocess

import pytest

import trees
from hsm_programs import programs

__all__ = ["programs"]  # a fixture

SIZE = 300_000

# row: (the kernel's, the mount's, why); regular expressions for all of what follows the name
HEADERS = r"0\+4096=ok 0\+4096=ok 0\+4096=ok"
FAULTS = r"( \d+\+\d+=ok)*"
EVENTS = {
    "advised": (r" \| 0", r"( 0\+\d+=ok)? \| 0", "read-ahead is a READ like any other"),
    "read_ahead": (r" \| 0", r"( 0\+\d+=ok)? \| 0", "read-ahead is a READ like any other"),
    "read_nothing": (r" 0\+0=ok \| 0", r" \| 0", "no request is made of it"),
    "read_large": (r" 0\+3145728=ok \| 300000", r" 0\+1048576=ok \| 300000",
                   "a READ has at most 1 MiB, and the first one met the end"),
    "read_large_file": (r" 0\+3145728=ok \| 3145728",
                        r" 0\+1048576=ok 1048576\+1048576=ok 2097152\+1048576=ok \| 3145728",
                        "a READ has at most 1 MiB"),
    "read_nowait": (r" 4096\+4096=ok \| (0|100)", r" \| 0", "refused by the kernel: no request"),
    "write_append": (r" 0\+4096=ok \| 100", r" 299008\+4096=ok \| 100",
                     "a WRITE tells where it goes, not the position it came from"),
    "collapsed": (r" 8192\+8192=ok \| 0", r" \| EOPNOTSUPP", "no such request"),
    "inserted": (r" 8192\+8192=ok \| 0", r" \| EOPNOTSUPP", "no such request"),
    "mapped": (r" 8192\+12288=ok \| 0", r" \| 0", "mmap() sends no request"),
    "mapped_shared": (r" 0\+303104=ok \| 0", r" \| 0", "mmap() sends no request"),
    "mapped_read": (r" 0\+303104=ok \| 0", rf" \d+\+\d+=ok{FAULTS} \| 0",
                    "asked for as pages are touched"),
    "mapped EIO": (r" 8192\+12288-EIO \| EIO", r" \| 0", "mmap() sends no request"),
    "program": (rf" {HEADERS} 0\+\d+=ok( \d+\+\d+=ok)+ \| 0", rf" {HEADERS}{FAULTS} \| 0",
                "segments are mapped, which sends no request; pages are asked for as touched"),
}
CALLS = {
    "bytes of two": (r"\d+", r"96", "kernels count the records' heads alone, or all of them"),
}
DESCRIPTORS = {
    "changed under a write": ("0", "EDEADLK", "the kernel's lock is held while a mount is asked"),
}
NO_GROUP = "a user has no group of the kernel"
PRIVILEGED = {
    "init 0x4": ("EINVAL", "EPERM", NO_GROUP),
    "mark 0x1 0x40000020 d": ("0", "EPERM", NO_GROUP),
    "mark 0x1 0x100000 d#1": ("EEXIST", "0", "it did not get the other mark"),
    "mark 0x1 0x10000 p": ("0", "EPERM", NO_GROUP),
    "mark 0x2 0x10000 p": ("0", "ENOENT", NO_GROUP),
    "mark of a content group": ("EINVAL", "EBADF", NO_GROUP),
}


def native(point, *argv):
    """With the kernel's events, on a bind mount of its own: nobody else is asked for anything."""
    script = 'mount --bind "$0" "$0" && exec "$@"'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, point, *argv], text=True,
                          capture_output=True, timeout=100)
    if done.returncode == 3 and "fanotify" in done.stderr:
        pytest.skip(f"no pre-content events of the kernel here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def emulated(lacunafs, *argv, user=None):
    done = lacunafs.run("hsm", "--", *argv, user=user)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def lines_of(text, separator):
    """name → what follows; the n-th of a name has its number behind it."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(separator)
        count = sum(1 for n in found if n.rstrip("#0123456789") == name.rstrip("#0123456789"))
        found[name if name not in found else f"{name}#{count}"] = rest
    return found


def compare(kernel, mount, differences, separator):
    here, there = (lines_of(text, separator) for text in (kernel, mount))
    wrong = []
    assert list(here) == list(there)
    for name in here:
        table = differences.get(name) or differences.get(name.partition("#")[0])
        if table is None and here[name] != there[name]:
            wrong.append(f"{name}: kernel{separator}{here[name]}, mount{separator}{there[name]}")
        if table and not (re.fullmatch(table[0], here[name]) and
                          re.fullmatch(table[1], there[name])):
            wrong.append(f"{name}: not as in the table: {here[name]!r}, {there[name]!r}")
    assert not wrong, "\n".join(wrong)


def make_rows(directory, program):
    """A file for each row, by its name."""
    directory.mkdir()
    names = subprocess.run([program, "--names"], capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        path = directory / name
        if name.startswith("program"):
            shutil.copy("/bin/true", path)
        elif name == "script":
            path.write_text("#!/bin/true\n")
            path.chmod(0o755)
        else:
            path.write_bytes(trees.noise(7, (3 << 20) if name == "read_large_file" else SIZE))
    return names.splitlines()


def make_files(directory):
    directory.mkdir()
    for name in ("a", "b", "d/c"):
        trees.put(directory / name, trees.noise(3, 20_000))
    (directory / "l").symlink_to("a")
    os.mkfifo(directory / "p")


@pytest.mark.parametrize("by", ["mount", "file", "parent"])
def test_events(mount, lacunafs, programs, scratch, by):
    """What each operation causes, by each kind of mark."""
    names = make_rows(scratch / "n0", programs["events"])
    make_rows(scratch / "source", programs["events"])
    m = mount(scratch / "source")
    assert m.fill("").returncode == 0
    kernel = native(scratch / "n0", programs["events"], by, scratch / "n0")
    events = emulated(lacunafs, programs["events"], by, m.path)
    assert len(kernel.splitlines()) == len(names)
    assert set(EVENTS) <= set(names)
    compare(kernel, events, EVENTS, " |")


@pytest.mark.sanitize
@pytest.mark.parametrize("program, table", [("calls", CALLS), ("descriptors", DESCRIPTORS)])
def test_calls(mount, lacunafs, programs, scratch, program, table):
    for name in ("n0", "source"):
        make_files(scratch / name)
    m = mount(scratch / "source")
    assert m.fill("").returncode == 0
    compare(native(scratch / "n0", programs[program], scratch / "n0"),
            emulated(lacunafs, programs[program], m.path), table, ": ")


@pytest.mark.sanitize
def test_crowd(lacunafs, mount, programs, scratch):
    """8 threads that handle, 1,000 that read: nothing is lost, nothing comes twice."""
    for name in ("n0", "source"):
        make_files(scratch / name)
    m = mount(scratch / "source")
    argv = ["8", "1000", "3"]
    assert native(scratch / "n0", programs["crowd"], scratch / "n0", *argv) == \
        emulated(lacunafs, programs["crowd"], m.path, *argv) == "3000 events, 3000 reads\n"


def test_others_are_the_kernels(lacunafs, mount, programs, scratch):
    """A group for a local file system is the kernel's, also under `lacunafs hsm`."""
    make_files(scratch / "n0")
    plain = native(scratch / "n0", programs["calls"], scratch / "n0")
    wrapped = native(scratch / "n0", *lacunafs.argv("hsm", "--", programs["calls"]),
                     scratch / "n0")
    compare(plain, wrapped, {}, ": ")


MIXED = """group: 0
marked: 0
and less: 0
marked: 0
and less: 0
event 0x10000 of {0}/a, 24 bytes, reads 1, answered 8
event 0x100000 of {0}/a, 48 bytes, reads 1, answered 8
read: 0
event 0x10000 of {1}/a, 24 bytes, reads 1, answered 8
event 0x100000 of {1}/a, 48 bytes, reads 1, answered 8
read: 0
opens no more: 0
opens no more: 0
event 0x100000 of {0}/a, 48 bytes, reads 1, answered 8
read: 0
event 0x100000 of {1}/a, 48 bytes, reads 1, answered 8
read: 0
flushed: 0
read: 0
read: 0
"""
ALONE = """group: 0
marked: EPERM
and less: EPERM
marked: EPERM
and less: 0
read: 0
event 0x100000 of {1}/a, 48 bytes, reads 1, answered 8
read: 0
opens no more: ENOENT
opens no more: 0
read: 0
event 0x100000 of {1}/a, 48 bytes, reads 1, answered 8
read: 0
flushed: 0
read: 0
read: 0
"""


@pytest.mark.sanitize
def test_mixed(lacunafs, mount, programs, scratch):
    """One group for a local file and for one of a mount, and for what else the kernel tells."""
    for name in ("n0", "source"):
        make_files(scratch / name)
    m = mount(scratch / "source")
    assert m.fill("").returncode == 0
    native(scratch / "n0", programs["calls"], scratch / "n0")  # or there is nothing to mix with
    assert emulated(lacunafs, programs["mixed"], scratch / "n0", m.path) == \
        MIXED.format(scratch / "n0", m.path)


def test_mixed_without_privileges(lacunafs, mount, programs, scratch, nobody):
    """What the kernel would have to tell stays refused."""
    lacunafs.give(nobody)
    for name in ("n0", "source"):
        make_files(scratch / name)
    m = mount(scratch / "source", user=nobody)
    assert emulated(lacunafs, programs["mixed"], scratch / "n0", m.path, user=nobody) == \
        ALONE.format(scratch / "n0", m.path)


@pytest.mark.parametrize("program, table", [("calls", CALLS), ("descriptors", DESCRIPTORS)])
def test_calls_without_privileges(lacunafs, mount, programs, scratch, nobody, program, table):
    """Nothing of the calls is root's alone, but what is asked of the kernel."""
    lacunafs.give(nobody)
    for name in ("n0", "source"):
        make_files(scratch / name)
        for path in (scratch / name).iterdir():
            os.chown(path, nobody, nobody, follow_symlinks=False)
    m = mount(scratch / "source", user=nobody)
    kernel = native(scratch / "n0", programs[program], scratch / "n0")
    compare(kernel, emulated(lacunafs, programs[program], m.path, user=nobody),
            {**table, **PRIVILEGED}, ": ")


@pytest.mark.parametrize("argv, status", [
    (["--", "true"], 0), (["--", "sh", "-c", "exit 7"], 7), (["sh", "-c", "exit 7"], 7),
    (["--", "sh", "-c", "kill -9 $$"], -9), (["--", "/nowhere/program"], 127), (["--", "/"], 126),
    (["--name", "x", "--", "sh", "-c", "test $LACUNAFS_HSM_NAME = x"], 0),
    (["--mount=/", "--", "sh", "-c", "test $LACUNAFS_HSM_MOUNT = /"], 0),
    (["--mount", "/nowhere", "--", "true"], 1), (["--", "sh", "-c", "ls /proc/self/fd | wc -l"], 0),
    ([], 2), (["--"], 2), (["--frobnicate", "--", "true"], 2)])
def test_command(lacunafs, argv, status):
    """The command is run in place of us: what it ends with is what is seen."""
    done = lacunafs.run("hsm", *argv)
    assert done.returncode == status, done.stderr
    ours = argv and status in (1, 2, 126, 127) or not argv
    assert bool(re.fullmatch(r"lacunafs: .+\n", done.stderr)) == ours, done.stderr
    plain = subprocess.run(["sh", "-c", "ls /proc/self/fd | wc -l"], capture_output=True, text=True)
    if "wc" in " ".join(argv):
        assert done.stdout == plain.stdout


def test_preloaded_already(lacunafs):
    done = lacunafs.run("hsm", "--", "sh", "-c", "echo $LD_PRELOAD",
                        env={"LD_PRELOAD": "libm.so.6"})
    assert re.fullmatch(r".*/lacunafs-hsm\.so:libm\.so\.6\n", done.stdout), done


def test_only_one_mount(lacunafs, mount, programs, scratch):
    """--mount: to a program, the others are what they are to the kernel."""
    for name in ("n0", "source"):
        make_files(scratch / name)
    m = mount(scratch / "source")
    done = lacunafs.run("hsm", "--mount", scratch, "--", programs["populate"], scratch / "source",
                        m.path)
    assert (done.returncode, done.stderr) == (3, "fanotify: Operation not supported\n")
