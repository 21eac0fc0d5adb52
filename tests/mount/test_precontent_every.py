# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Mode every: an event for each operation, with the kernel's range; what handlers bring is written.
The kernel's own events are beside these in test_hsm.py."""
import errno
import fcntl
import mmap
import os
import shutil
import subprocess
import sys

import pytest

import handlers
import trees
from handlers import (ADD, ALLOCATE, ALLOW, DENY, EXEC, FAULT, FILE, IGNORE, MOUNT, READ,
                      REMOVE, TRUNCATE, WRITE, Handler, Serving, inverted)
from outcomes import error_of
from precontent import FAULTER

SIZE = 300_000
DATA = trees.noise(8, SIZE)
OTHER = inverted(DATA)
PAGE = 4096


@pytest.fixture(params=["lazy", "local"])
def watched(request, scratch, mount):
    """A mount with a file f, all of which is the source's, or ours; and its handler."""
    for name in ("f", "g"):
        trees.put(scratch / "src" / name, DATA)
    shutil.copy("/bin/true", scratch / "src" / "program")
    trees.put(scratch / "src" / "script", b"#!/bin/true\n")
    (scratch / "src" / "script").chmod(0o755)
    m = mount(scratch / "src")
    if request.param == "local":
        for name in ("f", "g"):
            os.unlink(m / name)
            (m / name).write_bytes(DATA)
    handler = Handler(m, mode="every")
    assert handler.mark(MOUNT) == 0
    serving = Serving(handler, lambda event: (ALLOW, 0))
    serving.mount = m
    yield serving
    serving.stop()


def asked(serving):
    return [(operation, offset, length) for _, operation, offset, length in serving.take()]


@pytest.mark.sanitize
def test_ranges_are_the_kernels(watched):
    """kernel-facts A4: offset to the page below, length to the page above, no end of file."""
    m, fd = watched.mount, os.open(watched.mount / "f", os.O_RDWR)
    rows = [
        (lambda: os.pread(fd, 100, 5000), [(READ, 4096, 4096)]),
        (lambda: os.pread(fd, 100, 4090), [(READ, 0, 8192)]),
        (lambda: os.preadv(fd, [bytearray(100), bytearray(5000)], 0), [(READ, 0, 8192)]),
        (lambda: os.pread(fd, 100, 299_990), [(READ, 299_008, 4096)]),
        (lambda: os.pread(fd, 100, 1_000_000), [(READ, 999_424, 4096)]),
        (lambda: os.pread(fd, 0, 0), []),
        (lambda: os.pwrite(fd, b"x" * 10, 8190), [(WRITE, 4096, 8192)]),
        (lambda: os.ftruncate(fd, 5000), [(TRUNCATE, 4096, 4096)]),
        (lambda: os.truncate(m / "f", 32768), [(TRUNCATE, 32768, 0)]),
        (lambda: os.posix_fallocate(fd, 0, 40_000), [(ALLOCATE, 0, 40_960)]),
        (lambda: os.truncate(m / "f", 0), [(TRUNCATE, 0, 0)]),
        (lambda: os.close(os.open(m / "f", os.O_WRONLY | os.O_TRUNC)), []),
        (lambda: os.stat(m / "g"), []),
        (lambda: os.close(os.open(m / "g", os.O_RDWR)), []),
        (lambda: os.close(os.open(m / "g", os.O_PATH)), []),
        (lambda: os.listxattr(m / "g"), []),
        (lambda: os.fsync(fd), []),
        (lambda: error_of(os.lseek, fd, 0, os.SEEK_DATA), []),
        (lambda: os.write(fd, b"y" * PAGE), [(WRITE, 0, PAGE)]),
    ]
    for n, (call, expected) in enumerate(rows):
        call()
        assert asked(watched) == expected, f"row {n}"
    os.close(fd)


def test_an_exec_and_its_faults(watched):
    subprocess.run([watched.mount / "program"], check=True)
    log = asked(watched)
    assert log[:3] == [(EXEC, 0, PAGE)] * 3
    assert {operation for operation, _, _ in log[3:]} <= {EXEC, FAULT}
    subprocess.run([watched.mount / "script"], check=True)
    assert asked(watched) == [(EXEC, 0, PAGE)]
    done = subprocess.run([sys.executable, "-c", FAULTER, watched.mount / "f", "90000"],
                          capture_output=True, check=True)
    assert done.stdout == DATA[90000:90016]
    assert {operation for operation, _, _ in asked(watched)} == {FAULT}


def test_both_ends_of_a_copy(watched):
    m = watched.mount
    a, b = os.open(m / "f", os.O_RDONLY), os.open(m / "g", os.O_RDWR)
    assert os.copy_file_range(a, b, 5000, 0, 100) == 5000
    log = asked(watched)
    if watched.mount.status("f")["content"] == "partial":  # the kernel reads and writes instead
        assert {operation for operation, _, _ in log} == {READ, WRITE}
    else:
        assert log == [(READ, 0, 8192), (WRITE, 0, 8192)]
    assert os.pread(b, 5000, 100) == DATA[:5000]
    os.close(a), os.close(b)


def test_what_is_brought_is_written(watched):
    m = watched.mount
    watched.reply = bring_other
    with open(m / "f", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 100, 5000) == OTHER[5000:5100]
        watched.reply = lambda event: (ALLOW, 0)
        assert os.pread(f.fileno(), PAGE, 4096) == OTHER[4096:8192]
        assert os.pread(f.fileno(), PAGE, 0) == DATA[:PAGE]
        assert os.pread(f.fileno(), PAGE, 8192) == DATA[8192:12288]
    assert os.stat(m / "f").st_size == SIZE


def bring_other(event):
    event.bring(OTHER)
    return ALLOW, 0


def test_a_whole_file_at_the_first_event(watched):
    """And no more of it: an exception, as fanotify's ignore marks. It outlives the mount."""
    m = watched.mount

    def whole(event):
        os.pwrite(event.fd, OTHER, 0)
        event.close()
        watched.handler.marked += 1
        watched.handler.send(handlers.MARK, 1, handlers.struct.pack("=IIQ", FILE, ADD | IGNORE,
                                                                    event.ino))
        return ALLOW, 0
    watched.reply = whole
    watched.handler.answer = lambda e, v, n: watched.handler.send(
        handlers.ANSWER, e.id, handlers.struct.pack("=II", v, n))
    assert (m / "f").read_bytes() == OTHER
    assert (m / "f").read_bytes() == OTHER
    assert len(asked(watched)) == 1
    m.umount()
    m = m.again()
    assert (m / "f").read_bytes() == OTHER


def test_denied(watched):
    m = watched.mount
    fd = os.open(m / "f", os.O_RDWR)
    watched.reply = lambda event: (DENY, errno.EDQUOT)
    for call in (lambda: os.pread(fd, 1, 0), lambda: os.pwrite(fd, b"x", 0),
                 lambda: os.ftruncate(fd, 1), lambda: os.truncate(m / "f", 1),
                 lambda: os.posix_fallocate(fd, 0, SIZE * 2)):
        assert error_of(call) == errno.EDQUOT
    assert len(asked(watched)) == 5
    assert error_of(subprocess.run, [m / "program"]) == errno.EDQUOT
    watched.reply = lambda event: (ALLOW, 0)
    assert os.pread(fd, SIZE, 0) == DATA
    os.close(fd)


def test_whether_a_file_can_emit_is_fixed_at_open(scratch, mount):
    trees.put(scratch / "src" / "f", DATA)
    m = mount(scratch / "src")
    before = os.open(m / "f", os.O_RDONLY)
    handler = Handler(m, mode="every")
    handler.mark(MOUNT)
    serving = Serving(handler, lambda event: (ALLOW, 0))
    assert os.pread(before, 10, 0) == DATA[:10] and serving.take() == []
    after = os.open(m / "f", os.O_RDONLY)
    assert os.pread(after, 10, 0) == DATA[:10] and len(serving.take()) == 1
    serving.handler.send(handlers.MARK, 1, handlers.struct.pack("=IIQ", MOUNT, REMOVE, 0))
    while not serving.handler.results:
        pass
    assert os.pread(after, 10, 0) == DATA[:10] and serving.take() == []
    os.close(before), os.close(after)
    serving.stop()


def test_beside_passthrough(watched):
    """Whole, and open already as nobody is asked: the next open is asked all the same."""
    m = watched.mount
    watched.handler.send(handlers.MARK, 1, handlers.struct.pack("=IIQ", MOUNT, REMOVE, 0))
    while not watched.handler.results:
        pass
    (m / "f").read_bytes()
    before = os.open(m / "f", os.O_RDWR if m.status("f")["content"] != "partial" else os.O_RDONLY)
    watched.handler.send(handlers.MARK, 2, handlers.struct.pack("=IIQ", MOUNT, ADD, 0))
    while len(watched.handler.results) < 2:
        pass
    after = os.open(m / "f", os.O_RDWR)
    assert os.pread(before, 10, 0) == DATA[:10] and asked(watched) == []
    assert os.pread(after, 10, 8192) == DATA[8192:8202]
    os.pwrite(after, b"new", 8192)
    assert asked(watched) == [(READ, 8192, PAGE), (WRITE, 8192, PAGE)]
    assert os.pread(before, 3, 8192) == b"new"
    os.close(before), os.close(after)


def test_files_made_here_and_shared_mappings(watched):
    m = watched.mount
    with open(m / "new", "w+b", buffering=0) as f:
        f.write(DATA)
        log = asked(watched)
        assert {operation for operation, _, _ in log} == {WRITE}
        # in another process: a fault holds Python's lock, and the handler is here
        subprocess.run([sys.executable, "-c", "import mmap,sys; f=open(sys.argv[1],'r+b');"
                        "m=mmap.mmap(f.fileno(),0); m[0:5]=b'hello'; m.flush()", m / "new"],
                       check=True)
        watched.take()
        assert os.pread(f.fileno(), 5, 0) == b"hello"
    assert (m / "new").read_bytes() == b"hello" + DATA[5:]


def test_modes_beside_one_another(watched):
    """Who is asked about holes fills them; who watches sees each read."""
    m = watched.mount
    holes = Handler(m, name="holes")
    holes.mark(MOUNT)
    filling = Serving(holes, bring_other)
    fd = os.open(m / "f", os.O_RDONLY)
    got = os.pread(fd, 100, 0)
    lazy = bool(filling.take())
    assert got == (OTHER if lazy else DATA)[:100]
    assert asked(watched) == [(READ, 0, PAGE)]
    assert os.pread(fd, 100, 0) == got
    assert asked(watched) == [(READ, 0, PAGE)] and filling.take() == []
    os.close(fd)
    filling.stop()


def test_locks_and_flags(watched):
    """O_APPEND, O_DIRECT and a non-blocking descriptor are asked for, too."""
    m = watched.mount
    fd = os.open(m / "f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"x" * 10)
    os.close(fd)
    assert asked(watched) == [(WRITE, SIZE // PAGE * PAGE, PAGE)]
    fd = os.open(m / "f", os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, PAGE)
    assert os.preadv(fd, [buffer], 8192) == PAGE and buffer[:] == DATA[8192:12288]
    os.close(fd)
    assert asked(watched) == [(READ, 8192, PAGE)]
    fd = os.open(m / "f", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.lockf(fd, fcntl.LOCK_SH)
    assert os.pread(fd, 1, 0) == DATA[:1]
    os.close(fd)
    assert asked(watched) == [(READ, 0, PAGE)]
