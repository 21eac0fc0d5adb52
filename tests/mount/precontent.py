# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What the tests of pre-content events share: a source, its bytes, readers."""
import os
import threading

import pytest

import trees
from handlers import ALLOW, inverted

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
