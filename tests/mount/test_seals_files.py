# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Seals of files where a memfd has no like: names, remounts, users, I/O modes, and mappings that
nobody tells of; where it has one it is the judge."""
import ctypes
import errno
import fcntl
import mmap
import os
import struct
import subprocess
import threading
import time

import pytest

import processes
from sealing import (EXEC, FUTURE, GET_SEALS, GROW, NAMES, PAGE, PROT_RW, R, RW, SEAL, SHARED,
                     SHRINK, W, WRITE, File, Memfd, libc, mapped, opened, told)

SIZE = 300_000  # more than the page cache is left to serve


def shared(fd, prot=PROT_RW):
    """A mapping that does not keep the descriptor, as mmap.mmap would."""
    at = libc.mmap(None, PAGE, prot, SHARED, fd, 0)
    assert at != ctypes.c_void_p(-1).value
    return at


def unmap(at):
    libc.munmap(ctypes.c_void_p(at), PAGE)


def add(one, seals):
    return told(lambda: opened(one, 3 if isinstance(one, File) else RW,
                               lambda fd: one.add(fd, seals)))


def add_soon(one, seals):
    """Once the RELEASEs on their way have come."""
    results = []
    processes.wait_until(lambda: results.append(add(one, seals)) or results[-1] != "EBUSY", 5)
    return results[-1]


@pytest.fixture(params=["auto", "no"])
def m(request, mount, scratch):
    (scratch / "empty").mkdir()
    m = mount(scratch / "empty", "-o", f"passthrough={request.param}")
    m.hides = m.status()["passthrough"]["usable"]
    return m


def born(m, name="f"):
    (m / name).write_bytes(b"x" * SIZE)
    processes.wait_until(lambda: m.status(name)["mode"] == "none", 5)
    return File(m / name, 0o644)


@pytest.mark.sanitize
def test_a_mapping_behind_a_writer(m):
    """The mapping is left of a descriptor that is closed; another, of a writer who cannot map,
    does not hide it."""
    f, judge = born(m), Memfd(0o644)
    results = []
    for one in (judge, f):
        fd = one.open(RW)
        at = shared(fd)
        os.close(fd)
        if one is f and m.hides:
            processes.wait_until(lambda: m.status("f")["mode"] == "none", 5)
        grown = add_soon(one, GROW)  # from now on writes come to the server
        writer = one.open(W)
        busy = add(one, WRITE)
        unmap(at)
        os.close(writer)
        results.append((grown, busy, add_soon(one, WRITE), one.get()))
    assert results[0] == results[1] == (None, "EBUSY", None, GROW | WRITE)
    judge.close()


@pytest.mark.sanitize
def test_future_write_leaves_a_mapping_alone(m):
    f, judge = born(m), Memfd(0o644)
    for one in (judge, f):
        fd = one.open(RW)
        at = shared(fd)
        if one is f and m.hides:  # what is open for writing there comes to nobody's notice
            assert add(one, FUTURE) == "EBUSY"
            os.close(fd)
            fd = -1
        assert add_soon(one, FUTURE) is None
        if fd >= 0:
            assert told(lambda: os.pwrite(fd, b"y", 0)) == "EPERM"
            os.close(fd)
        ctypes.memmove(at, b"through", 7)
        assert libc.msync(ctypes.c_void_p(at), ctypes.c_size_t(PAGE), 4) == 0
        assert opened(one, R, lambda fd: os.pread(fd, 8, 0)) == b"throughx"
        assert add(one, WRITE) == "EBUSY"
        unmap(at)
        assert add_soon(one, WRITE) is None
    m.umount()
    assert (m.again() / "f").read_bytes()[:8] == b"throughx"
    judge.close()


def test_the_size_is_the_file_s(m):
    """Also if it was last written where nobody was told."""
    f, judge = born(m), Memfd(0o644)
    results = []
    for one in (judge, f):
        sealing = one.open(3 if one is f else RW)
        opened(one, W, lambda fd: os.pwrite(fd, b"x" * SIZE, SIZE))
        until = time.monotonic() + 5
        while (added := told(lambda: one.add(sealing, GROW))) == "EBUSY" and \
                time.monotonic() < until:
            time.sleep(0.01)
        writer = one.open(W)
        os.close(sealing)
        results.append((added, told(lambda: os.pwrite(writer, b"y" * 10, SIZE + 10)),
                        told(lambda: os.pwrite(writer, b"y" * 2 * PAGE, 2 * SIZE - PAGE - 10)),
                        told(lambda: os.ftruncate(writer, 2 * SIZE + 1)),
                        told(lambda: os.ftruncate(writer, 2 * SIZE))))
        os.close(writer)
    assert results[0] == results[1]
    judge.close()


@pytest.mark.sanitize
def test_leases_end_nobody(m):
    """Whether a mapping lives is asked by a lease: who opens the local file meanwhile, also from
    outside, has the holder told, by a signal."""
    f, adds = born(m), 0
    child = os.fork()
    if child == 0:
        local = os.fsencode(m.store / "tree" / "f")
        while True:
            os.close(os.open(local, RW))
    fd = f.open(3)
    until = time.monotonic() + 0.5
    try:
        while time.monotonic() < until or adds <= 20:
            f.add(fd, SHRINK)
            adds += 1
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(fd)
    assert f.get() == SHRINK
    assert (m / "f").read_bytes() == b"x" * SIZE


@pytest.mark.sanitize
def test_added_by_many_at_once(m):
    """Each is told that its own are there: they are, and in the store."""
    files = [born(m, f"f{n}") for n in range(8)]
    for f in files:
        started, results = threading.Barrier(6), []

        def run(seals, f=f, started=started, results=results):
            fd = f.open(3)
            started.wait()
            results.append(told(lambda: f.add(fd, seals)))
            os.close(fd)

        threads = [threading.Thread(target=run, args=(1 << n,)) for n in range(1, 6)]
        for t in threads:
            t.start()
        started.wait()
        for t in threads:
            t.join()
        assert results == [None] * 5
    m.kill()
    m = m.again()
    for f in files:
        assert File(f.path, 0o644).get() == SHRINK | GROW | WRITE | FUTURE | EXEC


@pytest.mark.sanitize
def test_they_are_the_file_s_not_the_name_s(m):
    f = born(m)
    os.link(m / "f", m / "other")
    assert add(f, WRITE) is None
    os.rename(m / "f", m / "moved")
    other = File(m / "other", 0o644)
    assert other.get() == WRITE
    assert add(other, SHRINK) is None
    born(m, "plain")
    os.rename(m / "plain", m / "other")  # the name of a sealed file is as free as any
    assert File(m / "other", 0o644).get() == 0 and add(File(m / "other", 0o644), EXEC) is None
    # one without a name
    fd = os.open(m / "moved", 3)
    reader = os.open(m / "moved", R)
    os.unlink(m / "moved")
    f.add(fd, GROW | SEAL)
    assert struct.unpack("I", fcntl.ioctl(reader, GET_SEALS, b"\0" * 4))[0] == \
        WRITE | SHRINK | GROW | SEAL
    path = f"/proc/self/fd/{reader}"
    assert told(lambda: os.truncate(path, 0)) == "EPERM"
    assert told(lambda: opened(File(path, 0o644), W, lambda e: os.pwrite(e, b"y", 0))) == "EPERM"
    os.close(fd), os.close(reader)
    # and one that gets its name only then
    fd = os.open(m.path, os.O_TMPFILE | W, 0o644)
    os.write(fd, b"x" * SIZE)
    anonymous = File(f"/proc/self/fd/{fd}", 0o644)
    assert told(lambda: opened(anonymous, 3, lambda e: anonymous.add(e, SHRINK))) is None
    assert libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, os.fsencode(m / "named"),
                       0x400) == 0
    os.close(fd)
    m.kill()
    m = m.again()
    assert File(m / "other", 0o644).get() == EXEC
    assert File(m / "named", 0o644).get() == SHRINK
    assert told(lambda: os.truncate(m / "named", 1)) == "EPERM"
    assert not (m / "moved").exists()


@pytest.mark.parametrize("passthrough", ["auto", "no"])
@pytest.mark.parametrize("when", ["lazy", "whole"])
def test_mapped_shared_to_read(mount, tree, passthrough, when):
    """Filled by the faults of the mapping, or the local file's own pages: and never writable."""
    m = mount(tree, "-o", f"passthrough={passthrough},readahead=0")
    truth = (tree / "big").read_bytes()
    if when == "whole":
        assert m.fill("big").returncode == 0
    assert add_soon(File(m / "big", 0o644), WRITE) is None
    with open(m / "big", "rb") as f:
        if when == "whole" and passthrough == "auto" and m.status()["passthrough"]["usable"]:
            assert m.status("big")["mode"] == "passthrough"
        with mmap.mmap(f.fileno(), 0, flags=SHARED, prot=mmap.PROT_READ) as view:
            assert view[2 << 20:(2 << 20) + 10] == truth[2 << 20:(2 << 20) + 10]
            if when == "lazy":
                assert m.status("big")["content"] == "partial"
            assert view[:] == truth
        at = shared(f.fileno(), mmap.PROT_READ)
        assert libc.mprotect(ctypes.c_void_p(at), PAGE, PROT_RW) == -1
        assert ctypes.get_errno() == errno.EACCES
        unmap(at)
        assert told(lambda: mapped(f.fileno(), PROT_RW, SHARED)) == "EACCES"
    assert m.status("big")["content"] == "complete"
    assert told(lambda: os.open(m / "big", RW)) == "EPERM"


def test_who_may(mount, scratch, nobody):
    """Who may write it may seal it; who may read it, ask."""
    (scratch / "empty").mkdir()
    m = mount(scratch / "empty", "-o", "allow_other")
    for name, mode in (("theirs", 0o644), ("all", 0o666), ("secret", 0o600)):
        (m / name).write_bytes(b"x" * SIZE)
        os.chmod(m / name, mode)
    (m / "directory").mkdir()

    def run(*args):
        done = m.program.run("seal", *args, user=nobody)
        return done.returncode, done.stdout.strip(), done.stderr.strip().rpartition(": ")[2]

    denied = os.strerror(errno.EACCES)
    assert run(m / "theirs", "write") == (1, "", denied)
    assert run(m / "secret") == (1, "", denied)
    assert run(m / "all", "grow,write") == (0, "", "")
    assert run(m / "all") == (0, "grow,write", "")
    assert run(m / "theirs") == (0, "", "")
    assert run(m / "directory", "write")[0] == 1
    fd = os.open(m / "directory", R)
    assert told(lambda: File.add(None, fd, WRITE)) == "EPERM"
    os.close(fd)


def test_without_privileges(mount, lacunafs, serve, tree, nobody):
    """A mount of one's own, of files that one may not even write."""
    lacunafs.give(nobody)
    m = mount(serve(tree).url, "-o", "filemode=444", user=nobody)
    every = ",".join(NAMES)

    def run(*args):
        done = m.program.run("seal", m / "big", *args, user=nobody)
        return done.returncode, done.stdout.strip()

    assert run("write")[0] == 1  # chmod(2) comes first
    become = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
    subprocess.run([*become, "chmod", "644", m / "big"], check=True)
    assert run(every) == (0, "")
    assert run() == (0, every)
    assert run("write")[0] == 1
    subprocess.run([*become, "cmp", m / "big", tree / "big"], check=True)
    for what in (["truncate", "-s", "1"], ["dd", "if=/dev/zero", "bs=10", "count=1",
                                           "conv=notrunc"], ["chmod", "755"]):
        path = f"of={m / 'big'}" if what[0] == "dd" else m / "big"
        done = subprocess.run([*become, *what, path], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "not permitted" in done.stderr
    m.umount()
    m = m.again()
    assert run() == (0, every)

