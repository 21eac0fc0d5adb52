# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Handlers of pre-content events in mode holes: what they are asked, what becomes of answers."""
import errno
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading

import pytest

import handlers
import processes
import trees
from handlers import (ADD, AGAIN, ALLOW, CHILDREN, DENY, EXEC, FAULT, FETCH, FILE, FILL, FLUSH,
                      IGNORE, MOUNT, READ, REMOVE, WRITE, Handler, Serving, inverted)
from outcomes import error_of

CHUNK = 65536
SIZE = 20 * CHUNK + 1234
DATA = trees.noise(7, SIZE)
OTHER = inverted(DATA)
FAULTER = ("import mmap,sys; f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,prot=1);"
           "sys.stdout.buffer.write(m[int(sys.argv[2]):int(sys.argv[2])+16])")


@pytest.fixture
def source(scratch):
    for name in ("f", "g", "sub/f", "sub/deep/f"):
        trees.put(scratch / "src" / name, DATA, 1_600_000_000)
    trees.put(scratch / "src" / "other", DATA[:CHUNK], 1_600_000_000)
    return scratch / "src"


def pread(path, offset, length):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def bring(event):
    event.bring(OTHER)
    return ALLOW, 0


class Reader(threading.Thread):
    """Reads a range; its bytes, or its errno."""

    def __init__(self, path, offset, length):
        super().__init__(daemon=True)
        self.args, self.result = (path, offset, length), None
        self.start()

    def run(self):
        try:
            self.result = pread(*self.args)
        except OSError as e:
            self.result = e.errno

    def wait(self, seconds=20):
        self.join(seconds)
        assert not self.is_alive(), "still waits"
        return self.result


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


def test_marks(source, mount):
    m = mount(source)
    handler = Handler(m)
    (m / "f").read_bytes(), handler.idle(0.05)
    assert handler.mark(FILE, m / "g", REMOVE) == errno.ENOENT
    assert handler.mark(9, m / "g") == errno.EINVAL
    assert handler.mark(FILE, m / "g", ADD | REMOVE) == errno.EINVAL
    assert handler.mark(FILE, m / "g") == 0
    assert handler.mark(CHILDREN, m / "sub") == 0

    def asked(name, offset):
        reader = Reader(m / name, offset, 1)
        try:
            event = handler.next(0.2)
        except TimeoutError:
            assert reader.wait() == DATA[offset:offset + 1]
            return False
        handler.answer(event, FETCH)
        assert reader.wait() == DATA[offset:offset + 1]
        return True
    assert not asked("other", 0) and not asked("sub/deep/f", 0)
    assert asked("g", 0) and asked("sub/f", 0)
    assert handler.mark(FILE, m / "sub/f", ADD | IGNORE) == 0
    assert not asked("sub/f", CHUNK * 4)
    assert handler.mark(FILE, m / "sub/f", REMOVE | IGNORE) == 0
    assert asked("sub/f", CHUNK * 8)
    assert handler.mark(FILE, None, FLUSH) == 0
    assert not asked("g", CHUNK * 4) and asked("sub/f", CHUNK * 12)
    assert handler.mark(CHILDREN, m / "sub", REMOVE) == 0
    assert not asked("sub/f", CHUNK * 16)
    assert handler.mark(MOUNT) == 0 and asked("g", CHUNK * 12)
    handler.close()


def test_several_handlers_one_after_the_other(source, mount):
    m = mount(source)
    order = []

    def serve(name, verdict, **options):
        handler = Handler(m, name=name, **options)
        assert handler.mark(MOUNT) == 0

        def reply(event):
            order.append(name)
            if options.get("class") == "content":
                assert error_of(os.pwrite, event.fd, b"x", 0) == errno.EBADF
                assert os.pread(event.fd, 10, event.offset) == OTHER[event.offset:][:10]
            elif verdict == ALLOW:
                event.bring(OTHER)
            return verdict, 0
        return Serving(handler, reply)
    scanner = serve("scanner", ALLOW, **{"class": "content"})
    first, second = serve("first", FETCH), serve("second", ALLOW)
    assert pread(m / "f", 0, 10) == OTHER[:10]
    assert order == ["first", "second", "scanner"]
    order.clear()
    first.reply = lambda event: (order.append("first"), (DENY, errno.EBUSY))[1]
    assert error_of(pread, m / "g", 0, 10) == errno.EBUSY
    assert order == ["first"]
    first.handler.send(handlers.DETACH)
    first.join(10)
    order.clear()
    assert pread(m / "g", 0, 10) == OTHER[:10] and order == ["second", "scanner"]
    assert Handler(m, name="second").hello["errno"] == errno.EBUSY
    second.stop(), scanner.stop()


def test_a_scanner_alone(source, mount):
    m = mount(source)
    scanner = Handler(m, **{"class": "content"})
    scanner.mark(MOUNT)
    serving = Serving(scanner, lambda event: (ALLOW, 0))
    assert pread(m / "f", 0, 10) == DATA[:10]
    serving.reply = lambda event: (FETCH, 0)
    assert pread(m / "g", 0, 10) == DATA[:10]
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


def test_a_mark_does_not_overtake_what_was_brought(source, mount):
    """Whole at the first event, and an exception at once: nobody gets what the source has."""
    for n in range(30):
        trees.put(source / f"n{n}", DATA, 1_600_000_000)
    m = mount(source)
    handler = Handler(m)
    handler.mark(MOUNT)

    def whole(event):
        os.pwrite(event.fd, OTHER, 0)
        event.close()
        handler.send(handlers.ANSWER, event.id, handlers.struct.pack("=II", ALLOW, 0))
        handler.send(handlers.MARK, 1, handlers.struct.pack("=IIQ", FILE, ADD | IGNORE,
                                                            event.ino))
        return ALLOW, 0
    serving = Serving(handler, whole)
    handler.answer = lambda *_: None
    for n in range(30):
        readers = [Reader(m / f"n{n}", k * CHUNK, 10) for k in (0, 7, 13, 20)]
        for r in readers:
            assert r.wait() == OTHER[r.args[1]:][:10]
    serving.stop()


@pytest.mark.sanitize
@pytest.mark.parametrize("leaves", ["detach", "flush", "remove"])
def test_what_was_brought_counts_for_all_who_wait(leaves, source, mount):
    """Whole at the first event, and the handler leaves without an answer to the others."""
    for n in range(20):
        trees.put(source / f"n{n}", DATA, 1_600_000_000)
    m = mount(source)
    for n in range(20):
        handler = Handler(m)
        handler.mark(MOUNT)
        readers = [Reader(m / f"n{n}", k * CHUNK, 10) for k in (0, 7, 13, 20)]
        events = []
        while not all(any(e.offset <= r.args[1] < e.end for e in events) for r in readers):
            event = handler.next()
            if event.path == f"n{n}":
                events.append(event)
            else:  # of the round before, whose data is here
                handler.answer(event, FETCH)
        first, *rest = events
        os.pwrite(first.fd, OTHER, 0)
        handler.answer(first, ALLOW)
        if leaves != "detach":
            flags = FLUSH if leaves == "flush" else REMOVE
            handler.send(handlers.MARK, 1, handlers.struct.pack("=IIQ", MOUNT, flags, 0))
        for event in rest:
            event.close()
        handler.detach()
        for r in readers:
            assert r.wait() == OTHER[r.args[1]:][:10]
    assert m.status()["handlers"] == []


def test_a_slow_handler_delays_only_who_waits_for_it(source, mount):
    m = mount(source)
    slow, quick = Handler(m, name="slow"), Handler(m, name="quick")
    slow.mark(FILE, m / "f"), quick.mark(FILE, m / "g")
    readers = [Reader(m / "f", n * CHUNK, 1) for n in range(8)]
    slow.next()
    serving = Serving(quick, bring)
    assert (m / "g").read_bytes() == OTHER
    assert (m / "sub" / "f").read_bytes() == DATA
    assert all(r.is_alive() for r in readers)
    slow.detach()
    assert [r.wait() for r in readers] == [DATA[n * CHUNK:n * CHUNK + 1] for n in range(8)]
    serving.stop()


def test_more_than_the_backlog_is_denied(source, mount):
    m = mount(source)
    handler = Handler(m, backlog=3)
    handler.mark(MOUNT)
    readers = [Reader(m / "f", n * 2 * CHUNK, 1) for n in range(8)]
    for r in readers:
        r.join(0.5)
    refused = [r for r in readers if not r.is_alive()]
    assert [r.result for r in refused] == [errno.EBUSY] * 5
    for _ in range(3):
        handler.answer(handler.next(), FETCH)
    for r in set(readers) - set(refused):
        assert r.wait() == DATA[r.args[1]:][:1]
    handler.close()


def test_a_thousand_readers_and_eight_threads(mount, scratch):
    data = trees.noise(3, 1000 * 4096)
    trees.put(scratch / "src" / "f", data)
    m = mount(scratch / "src", "-o", "chunk_size=4K")
    handler = Handler(m)
    handler.mark(MOUNT)
    fd = os.open(m / "f", os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    wrong, lock, seen = [], threading.Lock(), []

    def read(n):
        if os.pread(fd, 4096, n * 4096) != inverted(data[n * 4096:][:4096]):
            wrong.append(n)

    def serve():
        while len(seen) < 1000:
            with lock:
                if len(seen) >= 1000:
                    return
                event = handler.next()
                seen.append(event.offset)
            event.bring(inverted(data))
            with lock:
                handler.answer(event, ALLOW)
    readers = [threading.Thread(target=read, args=(n,)) for n in range(1000)]
    for r in readers:
        r.start()
    servers = [threading.Thread(target=serve) for _ in range(8)]
    for s in servers:
        s.start()
    for t in servers + readers:
        t.join(60)
        assert not t.is_alive()
    assert not wrong and sorted(seen) == [n * 4096 for n in range(1000)]
    os.close(fd)
    handler.idle(0.05)
    handler.close()


def marks(m):
    told, = m.status()["handlers"]
    return told["marks"]


@pytest.mark.sanitize
def test_marks_go_with_what_they_are_on(source, mount):
    """As in the kernel; the number is soon another file's, which would not be asked about."""
    m = mount(source)
    handler = Handler(m)
    for name in ("stays", "removed", "replaced", "open"):
        (m / name).write_bytes(b"x")
        assert handler.mark(FILE, m / name, ADD | IGNORE) == 0
    for name in ("removed dir", "replaced dir"):
        os.mkdir(m / name)
        assert handler.mark(CHILDREN, m / name) == 0
    os.link(m / "removed", m / "other name")
    os.rename(m / "stays", m / "stays too")
    with open(m / "open", "rb") as f:
        os.unlink(m / "removed")
        os.unlink(m / "open")
        assert marks(m) == 6
        os.unlink(m / "other name")
        assert marks(m) == 5
        os.rmdir(m / "removed dir")
        assert marks(m) == 4
        os.mkdir(m / "new dir")
        os.rename(m / "new dir", m / "replaced dir")
        os.rename(m / "g", m / "replaced")
        # what was replaced may still be opened, until the kernel forgets it
        assert processes.wait_until(lambda: marks(m) == 2) and f.read() == b"x"
    assert processes.wait_until(lambda: marks(m) == 1)
    handler.close()


def test_trace_and_status(source, lacunafs, mount):
    m = mount(source)
    trace = lacunafs.start("trace", "--json", m.path, stdout=subprocess.PIPE)
    handler = Handler(m, name="bench")
    handler.mark(FILE, m / "f")
    serving = Serving(handler, lambda event: (DENY, errno.EBUSY))
    lines = []
    while not lines:  # until the trace has begun
        error_of(pread, m / "f", 0, 10)
        if handlers.select.select([trace.stdout], [], [], 0.2)[0]:
            lines.append(handlers.json.loads(trace.stdout.readline()))
    assert pread(m / "g", 0, 10) == DATA[:10]
    lines.append(handlers.json.loads(trace.stdout.readline()))
    while lines[-1]["path"] == "f":
        lines.append(handlers.json.loads(trace.stdout.readline()))
    denied, fetched = lines[0], lines[-1]
    assert denied["verdict"] == "deny" and denied["errno"] == errno.EBUSY
    assert (denied["operation"], denied["offset"], denied["length"]) == ("read", 0, CHUNK)
    assert denied["pid"] == os.getpid() and denied["uid"] == os.geteuid()
    assert (fetched["path"], fetched["verdict"], fetched["errno"]) == ("g", "source", 0)
    told, = m.status()["handlers"]
    assert told["name"] == "bench" and told["state"] == "attached" and told["denied"] >= 1
    serving.stop()
    m.umount()
    assert trace.wait(20) == 0
    trace.stdout.close()
    assert lacunafs.run("trace").returncode == 2
    assert lacunafs.run("trace", source).returncode == 1
