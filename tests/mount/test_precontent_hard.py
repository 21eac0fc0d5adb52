# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Handlers beside what else may happen to a file and to its mount."""
import errno
import mmap
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import handlers
import lying
import trees
from handlers import ADD, ALLOW, DENY, FETCH, FILE, IGNORE, MARK, MOUNT, Handler, Serving
from outcomes import error_of
from precontent import CHUNK, DATA, OTHER, Reader, pread
from test_stop import end

PAGE = 4096
READER = "import os,sys; os.pread(os.open(sys.argv[1], os.O_RDONLY), 10, 0)"


@pytest.fixture
def source(scratch):
    for name in ("f", "g"):
        trees.put(scratch / "src" / name, DATA, 1_600_000_000)
    return scratch / "src"


def bring(event):
    event.bring(OTHER)
    return ALLOW, 0


def except_file(handler, event, number=1):
    """An ignore mark, whose result is not waited for."""
    handler.send(MARK, number, handlers.struct.pack("=IIQ", FILE, ADD | IGNORE, event.ino))


@pytest.mark.parametrize("local", [False, True])
def test_a_sealed_file_is_not_changed_by_what_is_brought(local, source, mount):
    m = mount(source)
    if local:
        os.unlink(m / "f")
        (m / "f").write_bytes(DATA)
    assert m.program.run("seal", m / "f", "write").returncode == 0
    every, holes = Handler(m, mode="every"), Handler(m)
    every.mark(MOUNT), holes.mark(MOUNT)
    filling = Serving(holes, lambda event: (FETCH, 0))
    serving = Serving(every, bring)
    assert error_of(pread, m / "f", 0, 10) == errno.EPERM
    serving.reply = lambda event: (ALLOW, 0)
    assert pread(m / "f", 0, 10) == DATA[:10]
    assert (m / "f").read_bytes() == DATA
    serving.stop(), filling.stop()


@pytest.mark.sanitize
def test_who_waits_is_killed_while_it_is_written(source, mount, serve):
    """A page of a chunk whose rest does not come: marks and unmounting do not wait for it."""
    web = serve(source)
    m = mount(web.url)
    os.stat(m / "f")
    handler = Handler(m, mode="every")
    handler.mark(MOUNT)
    web.lie("/f", lying.stall())
    reader = subprocess.Popen([sys.executable, "-c", READER, m / "f"])
    event = handler.next()
    os.pwrite(event.fd, OTHER[:PAGE], 0)
    handler.answer(event, ALLOW)
    time.sleep(0.5)
    reader.send_signal(signal.SIGKILL)
    reader.wait(10)
    assert handler.mark(FILE, m / "f", ADD | IGNORE) == errno.EIO
    handler.detach()


@pytest.mark.sanitize
def test_a_mark_that_waits_does_not_keep_its_handler_from_answering(source, mount):
    """What one brought is stored once another has answered for the rest of the chunk; and that
    one has just asked to be asked no more."""
    m = mount(source, "-o", "handler_timeout=5")
    filling, every = Handler(m, name="filling"), Handler(m, mode="every")
    filling.mark(MOUNT), every.mark(MOUNT)
    reader = Reader(m / "f", 0, 10)
    event = every.next()
    os.pwrite(event.fd, OTHER[:PAGE], 0)
    every.answer(event, ALLOW)
    rest = filling.next()
    except_file(filling, rest, 77)
    rest.bring(DATA)
    filling.answer(rest, ALLOW)
    assert reader.wait() == OTHER[:10]
    assert filling.result() == (77, 0)
    every.detach()
    assert pread(m / "f", PAGE, 10) == DATA[PAGE:PAGE + 10]
    filling.detach()


@pytest.mark.sanitize
def test_unmounting_does_not_wait_for_a_mark(source, mount):
    m = mount(source)
    lost, every = Handler(m, name="lost"), Handler(m, mode="every")
    lost.mark(MOUNT), every.mark(MOUNT)
    lost.close()
    reader = Reader(m / "f", 0, 10)
    event = every.next()
    os.pwrite(event.fd, OTHER[:PAGE], 0)
    every.answer(event, ALLOW)
    except_file(every, event)
    time.sleep(0.3)
    assert end(m) == 0
    assert reader.wait() in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)
    every.close()


def stuck(source, mount, serve, *options):
    """A handler that has brought a page of f, and the source delivers nothing of the rest."""
    web = serve(source)
    m = mount(web.url, *options)
    for name in ("f", "g"):
        os.stat(m / name)
    handler = Handler(m)
    handler.mark(MOUNT)
    web.lie("/f", lying.stall())
    reader = Reader(m / "f", 0, 10)
    event = handler.next()
    os.pwrite(event.fd, OTHER[:PAGE], 0)
    handler.answer(event, FETCH)
    return web, m, handler, event, reader


def test_a_handler_that_leaves_is_told_at_once(source, mount, serve):
    """What it brought waits for the source: others do not, nor does unmounting."""
    _, m, handler, _, stalled = stuck(source, mount, serve)
    handler.detach()
    assert m.status()["handlers"] == []
    assert pread(m / "g", 0, 10) == DATA[:10]
    assert end(m) == 0
    assert stalled.wait(60) in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)


def test_an_answer_in_time_counts_whatever_is_in_the_way(source, mount, serve):
    """A mark waits for what the source does not deliver."""
    web, m, handler, first, stalled = stuck(source, mount, serve, "-o", "handler_timeout=2")
    reader = Reader(m / "g", 0, 10)
    second = handler.next()
    except_file(handler, first, 78)
    second.bring(OTHER)
    handler.answer(second, ALLOW)
    assert reader.wait() == OTHER[:10]
    time.sleep(2.5)
    reader = Reader(m / "g", 10 * CHUNK, 10)
    handler.answer(handler.next(), FETCH)
    assert reader.wait() == DATA[10 * CHUNK:][:10]
    handler.detach()
    web.stop()
    assert stalled.wait(60) == errno.EIO


def test_a_server_that_sends_all_does_not_answer_what_was_not_asked(source, mount, serve):
    web = serve(source)
    m = mount(web.url)
    web.lie("/f", lying.ignore_range)
    handler = Handler(m)
    handler.mark(MOUNT)
    serving = Serving(handler, lambda e: (DENY, errno.EBUSY) if e.offset else (FETCH, 0))
    assert pread(m / "f", 0, 10) == DATA[:10]
    assert error_of(pread, m / "f", 10 * CHUNK, 10) == errno.EBUSY
    assert m.status("f")["present_bytes"] < len(DATA) / 2
    serving.reply = lambda event: (FETCH, 0)
    assert (m / "f").read_bytes() == DATA
    serving.stop()


@pytest.mark.sanitize
@pytest.mark.parametrize("mode", ["every", "holes"])
def test_who_maps_what_was_brought_brings_nothing(mode, source, mount):
    """In memory a page that is read through a mapping looks like one that was written."""
    m = mount(source)
    first, scanner = Handler(m, mode=mode), Handler(m, mode=mode, **{"class": "content"})
    first.mark(MOUNT), scanner.mark(MOUNT)

    def scan(event):
        with mmap.mmap(event.fd, event.size, prot=mmap.PROT_READ) as brought:
            return (DENY, errno.EIO) if sum(brought[::PAGE]) == 0 else (ALLOW, 0)
    expected = bytearray(DATA)

    def first_brings(event):
        expected[event.offset:event.end] = OTHER[event.offset:event.end]
        return bring(event)
    serving, scanning = Serving(first, first_brings), Serving(scanner, scan)
    assert pread(m / "f", 0, CHUNK) == OTHER[:CHUNK]
    serving.reply = scanning.reply = lambda event: (FETCH, 0)
    assert (m / "f").read_bytes() == expected != OTHER
    scanning.stop(), serving.stop()


def test_lost_handlers_keep_no_descriptors(source, mount):
    m = mount(source)
    descriptors = len(os.listdir(f"/proc/{m.worker()}/fd"))
    for n in range(30):
        handler = Handler(m, name=f"lost{n}")
        if n % 2:
            assert handler.mark(FILE, m / "f") == 0
        handler.close()
        time.sleep(0.02)
    time.sleep(0.5)
    assert len(os.listdir(f"/proc/{m.worker()}/fd")) <= descriptors + 2
    handler = Handler(m, name="lost7")
    assert handler.hello["inherited"] is True
    handler.close()
    handler = Handler(m, name="lost8")
    assert handler.hello["inherited"] is False
    handler.close()


def test_a_stalled_disk_stops_no_other_event(volume, scratch, mount):
    """What a large file is to be brought in lies on the store's disk, which stands still: nobody
    else's event waits for that."""
    trees.put(scratch / "src" / "f", DATA)
    with open(scratch / "src" / "large", "wb") as f:
        f.truncate(100 << 20)
    disk = volume("ext4", 256)
    m = mount(scratch / "src", "-o", "passthrough=no", store=disk.path / "store")
    for name in ("f", "large"):
        assert len(pread(m / name, 0, 10)) == 10
    handler = Handler(m, mode="every")
    assert handler.mark(MOUNT) == 0
    serving = Serving(handler, lambda event: (ALLOW, 0))
    disk.freeze()
    late = threading.Timer(60, disk.thaw)
    late.start()
    try:
        large = Reader(m / "large", 0, 10)
        time.sleep(0.5)
        begun = time.monotonic()
        assert large.is_alive()
        assert Reader(m / "f", 0, 10).wait(40) == DATA[:10]
        assert time.monotonic() - begun < 20 and large.is_alive()
    finally:
        late.cancel()
        disk.thaw()
    assert large.wait() == bytes(10)
    serving.stop()
