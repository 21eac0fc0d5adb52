# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Who may write a program, and who may run what is written: each rule on a native file system,
and on files of a mount, remote and made here, in cached mode and in passthrough."""
import ctypes
import errno
import mmap
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import servers

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LAZY = r"""
#include <stdio.h>
/* 16 MiB that are read by faults alone */
__asm__(".section .rodata\n.balign 4096\nlazy:\n.set n, 0\n.rept 16\n.byte (n * 7) % 251\n"
	".fill 1048575, 1, 1\n.set n, n + 1\n.endr\n.text\n");
extern const unsigned char lazy[];
int main(void)
{
	unsigned n;
	puts("ready");
	fflush(stdout);
	while (scanf("%u", &n) == 1) {
		printf("%u\n", lazy[(unsigned long)n << 20]);
		fflush(stdout);
	}
	return 0;
}
"""
HOLD = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "fork") == 0 && fork() > 0)
		return 0;
	puts("ready");
	fflush(stdout);
	if (argc > 2 && strcmp(argv[1], "exec") == 0 && getchar() != EOF)
		execv(argv[2], argv + 2);
	while (getchar() != EOF)
		;
	return 0;
}
"""


def error_of(call, *args, **more):
    try:
        result = call(*args, **more)
    except OSError as e:
        return e.errno
    if call is os.open:
        os.close(result)
    return result if call is run else 0


def settled(call, *args):
    """What it tells once RELEASEs on their way have come."""
    until = time.monotonic() + 5
    while (e := error_of(call, *args)) == errno.ETXTBSY and time.monotonic() < until:
        time.sleep(0.01)
    return e


def run(path, *args):
    return error_of(subprocess.run, [path, *args], stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, check=False)


class Running:
    """A program that is being executed, until the end of `with`."""

    def __init__(self, path, *args):
        self.process = subprocess.Popen([path, *args], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


@pytest.fixture(scope="module")
def made(session_scratch):
    """What each place gets a copy of: programs that wait, a script, one with its own ld.so."""
    root = session_scratch / "programs"
    root.mkdir(exist_ok=True)
    (root / "hold.c").write_text(HOLD)
    # more than the page cache is left to serve: then passthrough is used
    (root / "bulk.c").write_text("char bulk[1 << 19] = {1};\n")
    subprocess.run(["gcc", "-o", root / "hold", root / "hold.c", root / "bulk.c"], check=True)
    loader = subprocess.run(["readelf", "-p", ".interp", root / "hold"], check=True,
                            capture_output=True, text=True).stdout.split()[-1]
    shutil.copy(loader, root / "loader")
    (root / "script").write_text("#!{place}/hold\n")
    return root


@pytest.fixture(params=["native", "remote cached", "remote passthrough", "born passthrough"])
def place(request, made, scratch, mount):
    kind = request.param
    source = scratch / "source"
    source.mkdir()
    if kind.startswith("remote"):
        at = scratch / "m0"  # where the first mount comes to lie
    elif kind == "native":
        at = source
    put = source if kind != "born passthrough" else scratch / "prepared"
    put.mkdir(exist_ok=True)
    if kind == "born passthrough":
        at = mount(source).path
    for name in ("hold", "loader"):
        shutil.copy(made / name, put / name)
    (put / "script").write_text(f"#!{at}/hold\n")
    (put / "script").chmod(0o755)
    subprocess.run(["gcc", "-o", put / "linked", made / "hold.c", made / "bulk.c",
                    f"-Wl,--dynamic-linker={at}/loader"], check=True)
    (put / "garbage").write_bytes(b"\0" * 300_000)
    (put / "garbage").chmod(0o755)
    if kind == "born passthrough":
        for path in put.iterdir():
            shutil.copy(path, at / path.name)
    elif kind.startswith("remote"):
        options = ("-o", "passthrough=no") if kind == "remote cached" else ()
        m = mount(source, *options)
        assert m.path == at
        if not options:
            assert m.program.run("fill", m.path).returncode == 0
    place = pathlib.Path(at)
    place_kind[place] = kind
    return place


place_kind = {}


def test_running_is_not_written(place):
    hold = place / "hold"
    os.link(hold, place / "other")
    before = hold.read_bytes()
    with Running(hold) as r:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC,
                      os.O_RDONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND):
            for path in (hold, place / "other", f"/proc/{r.pid}/exe"):
                assert error_of(os.open, path, flags) == errno.ETXTBSY, (path, flags)
        assert error_of(os.truncate, hold, 0) == errno.ETXTBSY
        assert error_of(os.truncate, place / "other", 10) == errno.ETXTBSY
        assert hold.read_bytes() == before
    assert settled(os.open, hold, os.O_WRONLY) == 0
    assert hold.read_bytes() == before


def test_all_else_goes_on(place):
    hold = place / "hold"
    with Running(hold):
        assert error_of(os.open, hold, os.O_RDONLY) == 0
        os.chmod(hold, 0o700)
        os.utime(hold, (1, 2))
        with Running(hold):
            pass
        os.rename(hold, place / "renamed")
        os.unlink(place / "renamed")
        assert not hold.exists()


def test_written_is_not_run(place):
    hold = place / "hold"
    fd = os.open(hold, os.O_WRONLY)
    assert run(hold) == errno.ETXTBSY
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    os.close(fd)
    assert run(hold) == errno.ETXTBSY  # the child has it
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert settled(run, hold) == 0
    with open(hold, "r+b") as f:  # Python's own mappings keep a descriptor
        view = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED,
                         f.fileno(), 0)
    assert view not in (None, ctypes.c_void_p(-1).value)
    # In passthrough the mapping is the local file's: nobody is told of it
    assert run(hold) == (0 if "passthrough" in place_kind[place] else errno.ETXTBSY)
    libc.munmap(ctypes.c_void_p(view), 4096)
    assert settled(run, hold) == 0


def test_what_is_no_writing(place):
    hold = place / "hold"
    path = os.open(hold, os.O_PATH)
    with open(hold, "rb") as f:
        view = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE,
                         prot=mmap.PROT_READ | mmap.PROT_WRITE)
    view[0:4] = b"mine"
    assert run(hold) == 0
    view.close()
    os.close(path)


def test_a_child_keeps_it(place):
    hold = place / "hold"
    r = subprocess.Popen([hold, "fork"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert r.stdout.readline() == "ready\n"
    assert r.wait(10) == 0  # the one that was executed has ended
    assert error_of(os.open, hold, os.O_WRONLY) == errno.ETXTBSY
    r.communicate()
    assert settled(os.open, hold, os.O_WRONLY) == 0


def test_scripts_and_loaders(place):
    hold, script, loader, linked = (place / n for n in ("hold", "script", "loader", "linked"))
    with Running(script):
        assert error_of(os.open, script, os.O_WRONLY) == 0  # it was loaded, and that is all
        assert error_of(os.open, hold, os.O_WRONLY) == errno.ETXTBSY
    with Running(linked):
        assert settled(os.open, loader, os.O_WRONLY) == 0
        assert error_of(os.open, linked, os.O_WRONLY) == errno.ETXTBSY
    for open_one, run_one in ((script, script), (hold, script), (loader, linked)):
        assert settled(os.open, open_one, os.O_WRONLY) == 0
        with open(open_one, "r+b"):
            assert run(run_one) == errno.ETXTBSY, (open_one, run_one)
        assert settled(run, run_one) == 0


def test_libraries_are_writable(place):
    with open(place / "loader", "rb") as f:
        view = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE,
                         prot=mmap.PROT_READ | mmap.PROT_EXEC)
    assert error_of(os.open, place / "loader", os.O_WRONLY) == 0
    view.close()


def test_a_failed_exec_leaves_nothing(place):
    for _ in range(20):
        assert run(place / "garbage") == errno.ENOEXEC
        assert error_of(os.open, place / "garbage", os.O_RDWR) == 0


def test_overtaken_releases(place):
    """A program ends and is written at once, written and run at once: the kernel knows which
    comes first, whatever still is on its way to the server."""
    hold = place / "hold"
    for _ in range(60):
        assert run(hold) == 0
        fd = os.open(hold, os.O_WRONLY)
        os.close(fd)


@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_a_running_program_is_filled(mount, web, scratch, passthrough):
    """By faults of its own and by reads of others, while it cannot be written."""
    source = scratch / "source"
    source.mkdir()
    (source / "lazy.c").write_text(LAZY)
    subprocess.run(["gcc", "-o", source / "lazy", source / "lazy.c"], check=True)
    m = mount(web(servers.Nginx, source).url, "-o", f"passthrough={passthrough},readahead=0")
    lazy = m / "lazy"
    with Running(lazy) as r:
        present = [m.status(lazy)["present_chunks"]]
        for n in (3, 7, 11):
            r.process.stdin.write(f"{n}\n")
            r.process.stdin.flush()
            assert r.process.stdout.readline() == f"{n * 7 % 251}\n"
            present.append(m.status(lazy)["present_chunks"])
        assert present == sorted(set(present)) and present[-1] < 100
        assert error_of(os.open, lazy, os.O_WRONLY) == errno.ETXTBSY
        assert lazy.read_bytes() == (source / "lazy").read_bytes()
        assert m.status(lazy)["content"] == "complete"
        assert error_of(os.open, lazy, os.O_WRONLY) == errno.ETXTBSY
    assert settled(os.open, lazy, os.O_WRONLY) == 0


@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_policy(mount, made, scratch, policy):
    """allow adds no denial of ours: the kernel's stays. Neither evicts what runs."""
    source = scratch / "source"
    source.mkdir()
    shutil.copy(made / "hold", source / "hold")
    shutil.copy(made / "hold", scratch / "native")
    m = mount(source, "-o", f"exec_writes={policy}")
    with Running(scratch / "native"):
        native = error_of(os.open, scratch / "native", os.O_WRONLY)
    with Running(m / "hold"):
        assert error_of(os.open, m / "hold", os.O_WRONLY) == \
            (native if policy == "allow" else errno.ETXTBSY)
        done = m.program.run("evict", m / "hold")
        assert done.returncode == 1 and "running" in done.stderr
    assert settled(os.open, m / "hold", os.O_WRONLY) == 0
