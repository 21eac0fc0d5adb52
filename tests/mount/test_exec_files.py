# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What becomes of files that are executed, beside a native file system: who replaces his program,
execs that fail, users, names of one remote file, what is lazy yet."""
import errno
import os
import pathlib
import shutil
import subprocess

import pytest

import lying
import processes
from test_exec_rules import (LAZY, Running, error_of, made, place, place_kind, run,
                             settled)

__all__ = ["made", "place"]  # fixtures
# Without a page of its old program, a process takes the file FD for it
SWAP = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
/* PR_SET_MM_EXE_FILE, by the call that asks for less than CAP_SYS_RESOURCE */
static int exe_set(int fd)
{
	char stat[4096];
	FILE *f = fopen("/proc/self/stat", "r");
	stat[fread(stat, 1, sizeof stat - 1, f)] = 0;
	unsigned long v[53] = {0};
	int field = 3;
	strtok(strrchr(stat, ')') + 2, " ");
	for (char *word; field < 52 && (word = strtok(NULL, " "));)
		v[++field] = strtoul(word, NULL, 10);
	struct prctl_mm_map map = {
		.start_code = v[26], .end_code = v[27], .start_stack = v[28],
		.start_data = v[45], .end_data = v[46], .start_brk = v[47],
		.brk = (unsigned long)sbrk(0), .arg_start = v[48], .arg_end = v[49],
		.env_start = v[50], .env_end = v[51], .exe_fd = fd,
	};
	return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) < 0 ? errno : 0;
}
__attribute__((constructor)) static void swap(void)
{
	char own[4096], line[8192], mode = getenv("SWAP")[0];
	int fd = atoi(getenv("SWAP") + 1);
	ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
	own[n < 0 ? 0 : n] = 0;
	unsigned long from[64], to[64], count = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, maps))
		if (strstr(line, own) && count < 64 &&
		    sscanf(line, "%lx-%lx", &from[count], &to[count]) == 2)
			count++;
	for (unsigned long i = 0; mode == 'u' && i < count; i++)
		munmap((void *)from[i], to[i] - from[i]);
	char answer = (char)exe_set(fd), wait;
	if (write(1, &answer, 1) != 1 || read(0, &wait, 1) < 0)
		_exit(1);
	_exit(0);
}
"""


@pytest.fixture(scope="module")
def swap(session_scratch):
    root = session_scratch / "swap"
    root.mkdir()
    (root / "swap.c").write_text(SWAP)
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-z,now", "-o", root / "swap.so",
                    root / "swap.c"], check=True)
    return root / "swap.so"


class Swapping:
    """A process of `old` that made `new` its program; `error` is what it got."""

    def __init__(self, library, old, new, unmapped=True):
        fd = os.open(new, os.O_RDONLY)
        env = {"LD_PRELOAD": str(library), "SWAP": f"{'u' if unmapped else 'm'}{fd}"}
        self.process = subprocess.Popen([old], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=env, pass_fds=[fd])
        os.close(fd)
        self.error = self.process.stdout.read(1)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


def test_another_program_in_its_place(place, swap):
    hold, other = place / "hold", place / "linked"
    with Swapping(swap, hold, other, unmapped=False) as p:
        # In passthrough what it has mapped is the local file, in which nobody looks
        hidden = "passthrough" in place_kind[place]
        assert p.error == (0 if hidden else errno.EBUSY)
        assert error_of(os.open, other if hidden else hold, os.O_WRONLY) == errno.ETXTBSY
    assert settled(os.open, hold, os.O_WRONLY) == 0
    with open(other, "r+b"), Swapping(swap, hold, other) as p:
        assert p.error == errno.EACCES
    with Swapping(swap, hold, other) as p:
        assert p.error == 0
        assert settled(os.open, hold, os.O_WRONLY) == 0
        assert error_of(os.open, other, os.O_WRONLY) == errno.ETXTBSY
        assert error_of(os.truncate, other, 0) == errno.ETXTBSY
    assert settled(os.open, other, os.O_WRONLY) == 0


def test_another_exec_lets_go(place):
    """The child that has it executes something else."""
    hold = place / "hold"
    with Running("/bin/sh", "-c", f"{hold} </dev/null; echo next; exec {hold}") as r:
        assert r.process.stdout.readline() == "next\n"
        assert r.process.stdout.readline() == "ready\n"
        assert error_of(os.open, hold, os.O_WRONLY) == errno.ETXTBSY
    assert settled(os.open, hold, os.O_WRONLY) == 0
    with Running(hold, "exec", "/bin/cat") as r:
        assert error_of(os.open, hold, os.O_WRONLY) == errno.ETXTBSY
        r.process.stdin.write("\n")
        r.process.stdin.flush()
        processes.wait_until(lambda: os.readlink(f"/proc/{r.pid}/exe") != str(hold), 5)
        assert settled(os.open, hold, os.O_WRONLY) == 0


def header(program, edit):
    """`program` with other bytes in its ELF header."""
    content = bytearray(program.read_bytes())
    edit(content)
    return bytes(content)


def other_machine(content):
    content[18:20] = b"\xff\x7f"


def no_segments(content):
    content[56:58] = b"\0\0"


FAILS = {
    "of another machine": (lambda hold: header(hold, other_machine), errno.ENOEXEC),
    "without segments": (lambda hold: header(hold, no_segments), errno.ENOEXEC),
    "cut off": (lambda hold: hold.read_bytes()[:40], errno.ENOEXEC),
    "empty": (lambda hold: b"", errno.ENOEXEC),
    "script of nothing": (lambda hold: b"#!/nowhere/to/be/found\n" + b"\n" * 300_000, errno.ENOENT),
    "script of a directory": (lambda hold: b"#!/tmp\n" + b"\n" * 300_000, errno.EACCES),
}


def test_execs_that_fail(place, made):
    """Each was an open for execution; none denies a thing, nor leaves a count behind."""
    for name, (make, wanted) in FAILS.items():
        path = place / name
        path.write_bytes(make(made / "hold"))
        path.chmod(0o755)
        assert settled(run, path) == wanted, name
        for _ in range(5):
            assert error_of(os.open, path, os.O_RDWR) == 0, name
            assert settled(run, path) == wanted, name
        path.write_bytes((made / "hold").read_bytes())
        with Running(place / name):
            assert error_of(os.open, path, os.O_RDWR) == errno.ETXTBSY, name


@pytest.mark.sanitize
def test_execs_that_the_source_fails(mount, serve, scratch, made):
    """EIO at the first byte, and later as though nothing had been."""
    source = scratch / "source"
    source.mkdir()
    shutil.copy(made / "hold", source / "hold")
    server = serve(source)
    m = mount(server.url, "-o", "readahead=0,retries=0")
    assert os.stat(m / "hold").st_size  # known, with nothing of it here
    server.lie("/hold", lying.status(500))
    assert run(m / "hold") == errno.EIO
    assert error_of(os.open, m / "hold", os.O_RDWR) == 0
    server.honest()
    with Running(m / "hold"):
        assert error_of(os.open, m / "hold", os.O_RDWR) == errno.ETXTBSY
    assert settled(os.open, m / "hold", os.O_RDWR) == 0


@pytest.mark.sanitize
def test_names_of_one_remote_file(mount, scratch, made):
    """In two directories, and whichever the kernel saw first: one file, one count."""
    source = scratch / "source"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
    shutil.copy(made / "hold", source / "a" / "hold")
    os.link(source / "a" / "hold", source / "b" / "other")
    m = mount(source)
    for one, other in (("a/hold", "b/other"), ("b/other", "a/hold")):
        with Running(m / one):
            assert error_of(os.open, m / other, os.O_WRONLY) == errno.ETXTBSY
            assert error_of(os.truncate, m / other, 0) == errno.ETXTBSY
            done = m.program.run("evict", m / other)
            assert done.returncode == 1 and "running" in done.stderr
        with open(m / one, "r+b"):
            assert run(m / other) == errno.ETXTBSY
        assert settled(run, m / other) == 0


@pytest.mark.sanitize
@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_refused_truncations_lose_nothing(mount, serve, scratch, passthrough):
    """Of a program that is lazy yet: what came, and what did not; here and in the store."""
    source = scratch / "source"
    source.mkdir()
    (scratch / "lazy.c").write_text(LAZY)
    subprocess.run(["gcc", "-o", source / "lazy", scratch / "lazy.c"], check=True)
    server = serve(source)
    m = mount(server.url, "-o", f"passthrough={passthrough},readahead=0")
    lazy, truth = m / "lazy", (source / "lazy").read_bytes()
    with Running(lazy) as r:
        before = os.stat(lazy)
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            assert error_of(os.open, lazy, flags | os.O_TRUNC) == errno.ETXTBSY
        assert error_of(os.truncate, lazy, 5) == errno.ETXTBSY
        after = os.stat(lazy)
        assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        assert m.status(lazy)["content"] == "partial"
        r.process.stdin.write("15\n")
        r.process.stdin.flush()
        assert r.process.stdout.readline() == f"{15 * 7 % 251}\n"
    m.umount()
    m = m.again()
    assert (m / "lazy").read_bytes() == truth
    m.umount()
    server.stop()
    assert (m.again() / "lazy").read_bytes() == truth  # nothing is the source's to tell


def as_user(uid, act):
    """What `act` returns, a list of numbers, to that user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        try:
            os.write(writer, repr(act()).encode())
        except BaseException as e:  # noqa: BLE001: nothing of the test goes on in here
            os.write(writer, f"{type(e).__name__}: {e}".encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as f:
        told = f.read()
    os.waitpid(child, 0)
    return told


def rules(program, other):
    """Each with what it gives, in one process's view."""
    results = []

    def note(*more):
        results.extend(more)

    with Running(program) as r:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
            note(error_of(os.open, program, flags),
                 error_of(os.open, f"/proc/{r.pid}/exe", flags))
        note(error_of(os.truncate, program, 0), error_of(os.open, program, os.O_RDONLY))
        note(error_of(os.chmod, program, 0o700), error_of(os.link, program, other))
        note(error_of(os.open, other, os.O_WRONLY))
    note(settled(os.open, program, os.O_WRONLY))
    with open(program, "r+b"):
        note(run(program), run(other))
    note(settled(run, program))
    return results


def test_without_privileges(mount, lacunafs, scratch, made, nobody):
    """In a mount of one's own as in a directory of one's own."""
    lacunafs.give(nobody)
    source, native = scratch / "source", scratch / "native"
    for path in (source, native):
        path.mkdir()
        shutil.copy(made / "hold", path / "hold")
        for p in (path, path / "hold"):
            os.chown(p, nobody, nobody)
    m = mount(source, user=nobody)
    there, here = (as_user(nobody, lambda p=p: rules(p / "hold", p / "other"))
                   for p in (native, pathlib.Path(m.path)))
    assert there == here
    assert there.startswith(f"[{errno.ETXTBSY}, ")


def test_permission_comes_first(mount, scratch, made, nobody):
    """Who may not write a program learns that, whether it runs or not."""
    source = scratch / "source"
    source.mkdir()
    shutil.copy(made / "hold", source / "hold")
    m = mount(source, "-o", "allow_other")

    def answers():
        return as_user(nobody, lambda: [error_of(os.open, m / "hold", os.O_WRONLY),
                                        error_of(os.truncate, m / "hold", 0), run(m / "hold")])

    wanted = f"[{errno.EACCES}, {errno.EACCES}, 0]"
    with Running(m / "hold"):
        assert answers() == wanted
    assert answers() == wanted
