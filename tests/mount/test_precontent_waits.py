# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Readers that wait for handlers in mode holes: for one answer, for a slow one, in thousands."""
import errno
import os
import threading

import pytest

import handlers
import trees
from handlers import ALLOW, FETCH, FILE, FLUSH, MOUNT, REMOVE, Handler, Serving, inverted
from precontent import CHUNK, DATA, OTHER, Reader, bring, source

__all__ = ["source"]  # a fixture


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
