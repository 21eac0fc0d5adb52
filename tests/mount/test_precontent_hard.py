# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Handlers beside what else may happen to a file and to its mount."""
import errno
import mmap
import os
import signal
import subprocess
import sys
import time

import pytest

import handlers
import lying
import trees
from handlers import (ADD, ALLOW, DENY, FETCH, FILE, IGNORE, MARK, MOUNT, Handler, Serving,
                      inverted)
from test_precontent import CHUNK, DATA, OTHER, Reader, error_of, pread

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
