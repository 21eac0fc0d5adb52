# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Handlers of pre-content events in mode holes: what they are asked, what becomes of answers."""
import errno
import os
import signal
import subprocess
import sys

import pytest

import handlers
from handlers import ALLOW, DENY, EXEC, FAULT, FETCH, FILL, MOUNT, READ, WRITE, Handler, Serving
from outcomes import error_of
from precontent import CHUNK, DATA, FAULTER, OTHER, SIZE, Reader, bring, pread, source

__all__ = ["source"]  # a fixture


@pytest.mark.sanitize
def test_one_event_for_an_absent_range_and_none_once_it_is_present(source, mount):
    m = mount(source)
    handler = Handler(m)
    assert handler.hello == {"attached": 1, "inherited": False}
    assert handler.mark(MOUNT) == 0
    reader = Reader(m / "f", 3 * CHUNK + 100, 10)
    event = handler.next()
    status = os.stat(m / "f")
    assert (event.path, event.offset, event.length) == ("f", 3 * CHUNK, CHUNK)
    assert (event.size, event.ino, event.operation) == (SIZE, status.st_ino, READ)
    assert (event.pid, event.uid, event.flags) == (os.getpid(), os.geteuid(), 0)
    assert event.tid == reader.native_id
    assert os.fstat(event.fd).st_size == SIZE
    event.bring(OTHER)
    handler.answer(event, ALLOW)
    assert reader.wait() == OTHER[3 * CHUNK + 100:][:10]
    assert pread(m / "f", 3 * CHUNK, CHUNK) == OTHER[3 * CHUNK:4 * CHUNK]
    handler.idle()
    serving = Serving(handler, bring)
    assert (m / "f").read_bytes() == OTHER
    asked = sorted((o, n) for _, _, o, n in serving.take())
    at = 0
    for offset, length in asked:  # each byte once, but the chunk that was here
        if at == 3 * CHUNK:
            at += CHUNK
        assert offset == at and (length % CHUNK == 0 or offset + length == SIZE)
        at += length
    assert at == SIZE and not handler.results
    assert os.stat(m / "f").st_mtime == 1_600_000_000
    serving.stop()


@pytest.mark.sanitize
def test_the_source_fetches_what_was_not_brought(source, mount):
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)
    serving = Serving(handler, lambda event: (FETCH, 0))
    assert pread(m / "f", 0, 100) == DATA[:100]

    def some(event):
        os.pwrite(event.fd, OTHER[event.offset + 8192:][:4096], event.offset + 8192)
        return FETCH, 0
    serving.reply = some
    mixed = bytearray(DATA[:CHUNK])
    mixed[8192:12288] = OTHER[8192:12288]
    assert pread(m / "g", 0, CHUNK) == bytes(mixed)
    serving.stop()


def test_what_was_brought_beyond_the_range_counts(source, mount):
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)

    def whole(event):
        os.pwrite(event.fd, OTHER, 0)
        return ALLOW, 0
    serving = Serving(handler, whole)
    assert pread(m / "f", 5 * CHUNK, 1) == OTHER[5 * CHUNK:][:1]
    assert (m / "f").read_bytes() == OTHER
    assert serving.take() == [("f", READ, 5 * CHUNK, CHUNK)]

    def around(event):  # with FETCH, too, and what lies between is asked for
        os.pwrite(event.fd, OTHER[:CHUNK], 0)
        os.pwrite(event.fd, OTHER[2 * CHUNK:4 * CHUNK + 5000], 2 * CHUNK)
        return FETCH, 0
    serving.reply = around
    expected = OTHER[:CHUNK] + DATA[CHUNK:2 * CHUNK] + OTHER[2 * CHUNK:4 * CHUNK]
    assert pread(m / "g", 2 * CHUNK, 1) == OTHER[2 * CHUNK:][:1]
    assert pread(m / "g", 0, 4 * CHUNK) == expected
    assert serving.take() == [("g", READ, 2 * CHUNK, CHUNK), ("g", READ, 0, 2 * CHUNK)]
    serving.stop()


@pytest.mark.parametrize("error", [0, errno.EPERM, errno.EIO, errno.EBUSY, errno.ETXTBSY,
                                   errno.EAGAIN, errno.ENOSPC, errno.EDQUOT])
def test_denied_with_an_errno_of_the_kernels_list(error, source, mount):
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)
    serving = Serving(handler, lambda event: (DENY, error))
    assert error_of(pread, m / "f", 0, 10) == (error or errno.EPERM)
    assert serving.take() == [("f", READ, 0, CHUNK)], "a denied read is one event"
    assert m.status("f")["present_chunks"] == 0
    if error == errno.EIO:
        done = subprocess.run([sys.executable, "-c", FAULTER, m / "f", "0"], check=False)
        assert done.returncode == -signal.SIGBUS
        done = error_of(subprocess.run, [m / "other"])
        assert done in (errno.EACCES, errno.EIO)
    serving.stop()


def test_answers_that_are_refused(source, mount):
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)
    reader = Reader(m / "f", 0, 10)
    event = handler.next()
    for verdict, error in [(DENY, errno.ENOENT), (DENY, errno.EINTR), (DENY, 4000), (ALLOW, 5),
                           (FETCH, 1), (0, 0), (4, 0), (2**32 - 1, 0)]:
        handler.send(handlers.ANSWER, event.id, handlers.struct.pack("=II", verdict, error))
        assert handler.result() == (event.id, errno.EINVAL)
    handler.send(handlers.ANSWER, event.id + 1, handlers.struct.pack("=II", ALLOW, 0))
    assert handler.result() == (event.id + 1, errno.ENOENT)
    assert reader.is_alive()
    handler.answer(event, FETCH)
    assert reader.wait() == DATA[:10]
    handler.answer(event, ALLOW)
    assert handler.result() == (event.id, errno.ENOENT)
    handler.close()


@pytest.mark.parametrize("how", ["nothing", "less", "hole", "shrunk", "beside"])
def test_less_than_it_says(how, source, mount):
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)
    reader = Reader(m / "f", CHUNK, CHUNK)
    event = handler.next()
    if how == "less":
        os.pwrite(event.fd, OTHER[CHUNK:2 * CHUNK - 4096], CHUNK)
    elif how == "hole":
        os.pwrite(event.fd, OTHER[CHUNK:CHUNK + 4096], CHUNK)
        os.pwrite(event.fd, OTHER[CHUNK + 8192:2 * CHUNK], CHUNK + 8192)
    elif how == "shrunk":
        event.bring(OTHER)
        os.ftruncate(event.fd, 100)
    elif how == "beside":
        os.pwrite(event.fd, OTHER[:CHUNK], 0)
    handler.answer(event, ALLOW)
    assert handler.result() == (event.id, errno.EIO)
    assert reader.wait() == errno.EIO
    assert m.status("f")["present_chunks"] == 0, "what was allowed and not brought is not there"
    handler.detach()
    assert (m / "f").read_bytes() == DATA


def test_a_descriptor_is_a_scratch_file(source, mount):
    """What is done to it after the answer, or by who lost it, changes nothing."""
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)
    late = []

    def keep(event):
        late.append(os.dup(event.fd))
        return bring(event)
    serving = Serving(handler, keep)
    assert pread(m / "f", 0, 10) == OTHER[:10]
    for fd in late:
        os.pwrite(fd, b"x" * SIZE, 0)
        os.ftruncate(fd, 0)
        os.ftruncate(fd, 1 << 40)
        os.close(fd)
    serving.reply = bring
    assert (m / "f").read_bytes() == OTHER
    assert os.stat(m / "f").st_size == SIZE

    def larger(event):
        os.ftruncate(event.fd, SIZE * 2)
        os.pwrite(event.fd, OTHER + OTHER, 0)
        return ALLOW, 0
    serving.reply = larger
    assert (m / "g").read_bytes() == OTHER
    serving.stop()


def test_who_asks_for_what(source, mount):
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)
    serving = Serving(handler, lambda event: (FETCH, 0))
    done = subprocess.run([sys.executable, "-c", FAULTER, m / "f", str(9 * CHUNK)],
                          capture_output=True, check=True)
    assert done.stdout == DATA[9 * CHUNK:][:16]
    assert {operation for _, operation, _, _ in serving.take()} == {FAULT}
    assert m.fill("f").returncode == 0
    assert {operation for _, operation, _, _ in serving.take()} == {FILL}
    fd = os.open(m / "g", os.O_RDWR)
    os.pwrite(fd, b"x" * 10, 5 * CHUNK + 5)
    assert serving.take() == [("g", WRITE, 5 * CHUNK, CHUNK)]
    os.pwrite(fd, b"x" * CHUNK, 7 * CHUNK)
    os.ftruncate(fd, 8 * CHUNK)
    os.close(fd)
    os.unlink(m / "sub" / "f")
    os.rename(m / "sub" / "deep" / "f", m / "moved")
    os.chmod(m / "moved", 0o600)
    assert serving.take() == [], "nothing of that needs content"
    serving.stop()


def test_an_exec_asks_for_little(big_program, mount, scratch):
    big_program = big_program[0]
    m = mount(big_program.parent)
    handler = Handler(m)
    handler.mark(MOUNT)

    def from_file(event):
        with open(big_program, "rb") as f:
            at = event.offset
            while at < event.end:
                os.lseek(event.fd, at, os.SEEK_SET)
                at += os.sendfile(event.fd, f.fileno(), at, event.end - at)
        return ALLOW, 0
    serving = Serving(handler, from_file)
    assert big_program.stat().st_size >= 300 << 20
    subprocess.run([m / big_program.name], check=True, stdout=subprocess.DEVNULL)
    log = serving.take()
    assert sum(n for _, _, _, n in log) <= big_program.stat().st_size // 100
    assert {READ, EXEC, FAULT} >= {operation for _, operation, _, _ in log} != set()
    serving.stop()


def test_a_file_without_a_name(source, mount):
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)
    fd = os.open(m / "f", os.O_RDONLY)
    os.unlink(m / "f")
    serving = Serving(handler, bring)
    assert os.pread(fd, 10, 0) == OTHER[:10]
    assert [path for path, *_ in serving.take()] == [""]
    os.close(fd)
    serving.stop()
