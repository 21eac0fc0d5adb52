# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Marks of handlers in mode holes: which handlers are asked, in which order, and what status and
trace tell of it."""
import errno
import os
import subprocess

import pytest

import handlers
import processes
import trees
from handlers import (ADD, ALLOW, CHILDREN, DENY, FETCH, FILE, FLUSH, IGNORE, MOUNT, REMOVE,
                      Handler, Serving)
from outcomes import error_of
from precontent import CHUNK, DATA, OTHER, Reader, pread, source

__all__ = ["source"]  # a fixture


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
