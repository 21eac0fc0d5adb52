# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Seals of files in a mount beside those of a memfd, which is the judge: every set of them,
every operation they speak of, remote and made here, in cached mode and in passthrough."""
import ctypes
import errno
import itertools
import mmap
import os
import subprocess
import threading
import time

import pytest

import lying
from sealing import (EXEC, FUTURE, GROW, KEEP, NAMES, OPERATIONS, PAGE, PROT_RW, PUNCH, R, RW, SEAL,
                     SHARED, SHRINK, SIZE, W, WRITE, ZERO, File, Memfd, fallocate, libc, opened,
                     told)


@pytest.mark.parametrize("kind", ["remote", "born"])
@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_every_set_beside_a_memfd(mount, scratch, passthrough, kind):
    source = scratch / "source"
    source.mkdir()
    sets = [sum(c) for n in range(7) for c in itertools.combinations(NAMES.values(), n)]
    for n in sets:
        if kind == "remote":
            (source / str(n)).write_bytes(b"x" * SIZE)
    m = mount(source, "-o", f"passthrough={passthrough}")
    wrong = []
    for seals in sets:
        if kind == "born":
            (m / str(seals)).write_bytes(b"x" * SIZE)
        both = (Memfd(0o644), File(m / str(seals), 0o644))
        for f in both:
            opened(f, 3 if isinstance(f, File) else RW, lambda fd, f=f: f.add(fd, seals))
        assert both[0].get() == both[1].get() == seals
        for name, act in OPERATIONS.items():
            judge, ours = (told(lambda f=f: act(f)) for f in both)
            if judge != ours:
                wrong.append(f"seals {seals:#x}, {name}: {ours}, not {judge}")
        both[0].close()
    assert not wrong, "\n".join(wrong)


def test_adding(mount, serve, tree):
    """The order of checks, all or nothing; a file with an x bit."""
    m = mount(serve(tree).url, "-o", "filemode=644")
    for number, (before, mode, flags, wanted) in enumerate(
            itertools.product([0, SEAL, WRITE, SHRINK | SEAL, EXEC], [0o644, 0o755], [R, W, RW],
                              [0, 64, SEAL, EXEC, WRITE | GROW, 64 | SEAL, 1 << 31])):
        path = m / f"f{number}"
        path.write_bytes(b"x" * SIZE)
        results = []
        for f in (Memfd(mode), File(path, mode)):
            opened(f, 3 if isinstance(f, File) else RW, lambda fd, f=f: f.add(fd, before))
            # a writer is in its own way (lacuna/ioctl.h): access mode 3 is not
            how = 3 if isinstance(f, File) and flags != R else flags
            results.append((told(lambda f=f, how=how: opened(f, how, lambda fd: f.add(fd, wanted))),
                            f.get()))
            f.close()
        assert results[0] == results[1], (before, oct(mode), flags, wanted)
    assert m.program.run("seal", m / "f1", "write,what").returncode == 2
    assert m.program.run("seal", tree / "big", "write").returncode == 1
    for seals in ((), ("write",)):
        done = m.program.run("seal", m.path, *seals)
        assert done.returncode == 1 and "a directory" in done.stderr, done


@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_busy_while_a_writable_mapping_lives(mount, scratch, passthrough):
    (scratch / "empty").mkdir()
    m = mount(scratch / "empty", "-o", f"passthrough={passthrough}")
    path = m / "f"
    path.write_bytes(b"x" * 300_000)
    f = File(path, 0o644)

    def add():
        return told(lambda: opened(f, 3, lambda fd: f.add(fd, WRITE)))

    fd = os.open(path, os.O_RDWR)
    view = libc.mmap(None, PAGE, mmap.PROT_READ, SHARED, fd, 0)  # whatever its protection
    assert add() == "EBUSY"
    os.close(fd)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    libc.munmap(ctypes.c_void_p(view), PAGE)
    time.sleep(0.2)
    assert add() == "EBUSY"  # the child has it
    os.kill(child, 9)
    os.waitpid(child, 0)
    with open(path, "rb") as reader:
        shared = libc.mmap(None, PAGE, mmap.PROT_READ, SHARED, reader.fileno(), 0)
        until = time.monotonic() + 5
        while (result := add()) == "EBUSY" and time.monotonic() < until:
            time.sleep(0.01)
        assert result is None
        assert libc.mprotect(ctypes.c_void_p(shared), PAGE, PROT_RW) == -1
        assert ctypes.get_errno() == errno.EACCES
        assert ctypes.string_at(shared, 4) == b"xxxx"
        libc.munmap(ctypes.c_void_p(shared), PAGE)


@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_sealed_and_lazy(mount, serve, tree, passthrough):
    """The filler is let in, the version stays, and seals with it, over remounts and dead epochs."""
    m = mount(serve(tree).url, "-o", f"passthrough={passthrough}")
    assert m.program.run("seal", m / "big", "write,shrink,grow,seal").returncode == 0
    assert m.status(m / "big")["present_chunks"] == 0
    with open(m / "big", "rb") as f:
        assert f.read(1000) == (tree / "big").read_bytes()[:1000]
    assert subprocess.run(["cmp", m / "big", tree / "big"], check=False).returncode == 0
    m.kill()
    m = m.again("-o", "end_epoch")
    assert m.program.run("seal", m / "big").stdout == "seal,shrink,grow,write\n"
    assert os.getxattr(m / "big", "user.lacuna.seals") == b"seal,shrink,grow,write"
    assert "user.lacuna.seals" not in os.listxattr(m / "big")
    for change in (lambda: os.setxattr(m / "big", "user.lacuna.seals", b""),
                   lambda: os.removexattr(m / "big", "user.lacuna.seals"),
                   lambda: os.truncate(m / "big", 0)):
        assert told(change) == "EPERM"
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["remote", "born"])
@pytest.mark.parametrize("seals", [WRITE, GROW, FUTURE])
def test_readers_in_passthrough_let_nobody_past_them(mount, scratch, kind, seals):
    """They hold the file in that mode, and a write in it would come to nobody's notice."""
    source, content = scratch / "source", bytes(range(250)) * 1200
    source.mkdir()
    (source / "f").write_bytes(content)
    m = mount(source)
    path = m / "f"
    if kind == "born":
        path.write_bytes(content)
    assert path.read_bytes() == content
    writes = [(b"y" * 10, 5), (b"y", len(content) + 9 * PAGE), (b"y" * 3 * PAGE, len(content) - 9)]
    until = time.monotonic() + 5
    while m.status("f")["mode"] != "none" and time.monotonic() < until:
        time.sleep(0.01)
    judge = Memfd(0o644)
    os.pwrite(judge.fd, content, 0)
    with open(path, "rb", buffering=0) as reader:
        if m.status()["passthrough"]["usable"]:
            assert m.status("f")["mode"] == "passthrough"
        f = File(path, 0o644)
        for one, flags in ((judge, RW), (f, 3)):
            opened(one, flags, lambda fd, one=one: one.add(fd, seals))
        for flags in (W, RW) if seals == GROW else (W,):
            for data, offset in writes:
                told_of = [told(lambda one=one: opened(one, flags, lambda fd: os.pwrite(
                    fd, data, offset))) for one in (judge, f)]
                assert told_of[0] == told_of[1], (flags, offset)
        wanted = os.pread(judge.fd, len(content) * 2, 0)
        assert reader.read() == path.read_bytes() == wanted
        if seals == GROW:  # a descriptor that is mapped as well
            fd = os.open(path, RW)
            with mmap.mmap(fd, PAGE) as view:
                view[0:4] = b"here"
                view.flush()
                assert os.pread(fd, 4, 0) == b"here"
            os.close(fd)
            assert os.pread(reader.fileno(), 4, 0) == path.read_bytes()[:4] == b"here"
    judge.close()


@pytest.mark.sanitize
@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_past_the_end_of_a_lazy_file(mount, serve, tree, passthrough):
    """Up to the last full page, in one request or in two."""
    m = mount(serve(tree).url, "-o", f"readahead=0,passthrough={passthrough}")
    size = os.stat(m / "big").st_size
    assert m.program.run("seal", m / "big", "grow").returncode == 0
    judge = Memfd(0o644)
    os.ftruncate(judge.fd, size)
    judge.add(judge.fd, GROW)
    for flags in W, RW:
        for length, offset in ((2 * PAGE, size - 100), (1, size), (1 << 20, size - (1 << 19)),
                               (1 << 19, size - (1 << 19)), (2 * PAGE, size + 5000)):
            results = [told(lambda f=f: opened(f, flags, lambda fd: os.pwrite(
                fd, b"x" * length, offset))) for f in (judge, File(m / "big", 0o644))]
            assert results[0] == results[1], (length, offset)
    assert os.stat(m / "big").st_size == size
    judge.close()


# Each has to wait for a chunk that it changes in part
WAITING = {
    "write": (WRITE, lambda fd: os.pwrite(fd, b"late", 200_001)),
    "punch": (WRITE, lambda fd: fallocate(fd, PUNCH, 200_001, 10)),
    "zero": (FUTURE, lambda fd: fallocate(fd, KEEP | ZERO, 200_001, 10)),
}


@pytest.mark.sanitize
@pytest.mark.parametrize("what", WAITING)
def test_sealed_while_a_change_waits(mount, serve, tree, what):
    """What it was allowed when it came it is not when its bytes are there."""
    server = serve(tree)
    m = mount(server.url, "-o", "chunk_size=64K,readahead=0,passthrough=no")
    seals, act = WAITING[what]
    f, content = File(m / "big", 0o644), (tree / "big").read_bytes()
    fd, sealing, result = os.open(m / "big", W), os.open(m / "big", 3), []
    server.lie("/big", lying.delay(1))
    changer = threading.Thread(target=lambda: result.append(told(lambda: act(fd))))
    seen = len(server.requests)
    changer.start()
    until = time.monotonic() + 5
    while len(server.requests) == seen and time.monotonic() < until:
        time.sleep(0.01)
    f.add(sealing, seals)
    assert result == []
    changer.join()
    server.honest()
    os.close(fd), os.close(sealing)
    assert result == ["EPERM"]
    assert os.stat(m / "big").st_size == len(content)
    assert (m / "big").read_bytes() == content


def test_shrink_knows_what_passthrough_wrote(mount, scratch):
    """The size is the one it has, not the one that was last told of."""
    (scratch / "source").mkdir()
    m = mount(scratch / "source")
    (m / "f").write_bytes(b"x" * 300_000)
    f = File(m / "f", 0o644)
    fd = os.open(m / "f", RW)
    opened(f, 3, lambda sealing: f.add(sealing, SHRINK))
    os.pwrite(fd, b"y" * 600_000, 0)
    for act in (lambda: os.ftruncate(fd, 450_000), lambda: os.truncate(m / "f", 450_000),
                lambda: opened(f, W | os.O_TRUNC, lambda _: None)):
        assert told(act) == "EPERM"
    os.ftruncate(fd, 700_000)
    os.close(fd)
    assert os.stat(m / "f").st_size == 700_000


@pytest.mark.sanitize
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["remote", "born"])
@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_mappings_do_not_show_what_was_refused(mount, scratch, passthrough, kind, when):
    """The kernel changes its page cache before it asks; `when` the writer opened the file."""
    source, content = scratch / "source", b"a" * 300_000
    source.mkdir()
    (source / "f").write_bytes(content)
    m = mount(source, "-o", f"passthrough={passthrough},chunk_size=64K,readahead=0")
    if kind == "born":
        (m / "f").write_bytes(content)
    f, writer = File(m / "f", 0o644), None

    def sealed():
        return told(lambda: opened(f, 3, lambda fd: f.add(fd, WRITE)))

    if when == "before":
        writer = os.open(m / "f", W)
        if m.status("f")["mode"] == "passthrough":
            assert sealed() == "EBUSY"
            os.close(writer)
            return
    until = time.monotonic() + 5
    while (result := sealed()) == "EBUSY" and time.monotonic() < until:
        time.sleep(0.01)
    assert result is None
    with open(m / "f", "rb") as reader:
        view = mmap.mmap(reader.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    assert view[:] == content
    writer = writer or os.open(m / "f", W)
    for offset, length in ((0, 4), (2 * PAGE, PAGE), (100_001, 150_000)):
        assert told(lambda: os.pwrite(writer, b"E" * length, offset)) == "EPERM"
        if when == "before":
            until = time.monotonic() + 5
            while view[:] != content and time.monotonic() < until:
                time.sleep(0.01)
        assert view[:] == content
    view.close()
    os.close(writer)


@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_sealing_beside_opens(mount, scratch, passthrough):
    """Nobody's open ends the daemon: it has a lease on the file while it asks who writes it."""
    (scratch / "source").mkdir()
    m = mount(scratch / "source", "-o", f"threads=4,passthrough={passthrough}")
    (m / "f").write_bytes(b"x" * 1000)
    f, until = File(m / "f", 0o644), time.monotonic() + 2
    told_of = {"open": set(), "seal": set()}

    def keep(what, act):
        while time.monotonic() < until:
            told_of[what].add(told(act))

    threads = [threading.Thread(target=keep, args=args) for args in 2 * [
        ("open", lambda: opened(f, RW, lambda fd: os.pwrite(fd, b"y", 0))),
        ("seal", lambda: opened(f, 3, lambda fd: f.add(fd, SHRINK)))]]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert told_of == {"open": {1}, "seal": {None}}
