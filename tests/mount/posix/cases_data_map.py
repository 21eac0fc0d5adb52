# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Bytes of mappings: shared, private, past the end."""
import calls
import mmap
import signal

from case import *
from cases_data import RDWR, expect, overlaid
from kit import BIG, CHUNK, noise


def map_one(prepare):
    def run(w):
        wanted = bytearray(noise(1, BIG))
        fd = os.open("file", RDWR)
        if prepare == "read":
            os.read(fd, 1 << 20)
        with mmap.mmap(fd, BIG) as m:
            for at in (0, 5000, CHUNK - 3, 70_000, BIG - 5):
                m[at:at + 5] = wanted[at:at + 5] = b"<%03d" % (at % 1000) + b">"
                same(os.pread(fd, 5, at), bytes(wanted[at:at + 5]))
            os.pwrite(fd, b"by write", 100_000)
            wanted[100_000:100_008] = b"by write"
            same(m[99_990:100_010], bytes(wanted[99_990:100_010]))
            if prepare == "msync":
                m.flush()
            elif prepare == "msync-range":
                m.flush(0, 8192)
                m.flush(CHUNK * 4, CHUNK * 4)
            if prepare == "closed":
                os.close(fd)
                m[60_000:60_004] = wanted[60_000:60_004] = b"late"
            same(m[:], bytes(wanted))
        expect("file", bytes(wanted))
    return run


for _prepare in ("none", "read", "msync", "msync-range", "closed"):
    add(f"data.map-shared-{_prepare}", map_one(_prepare), "file")


@case("file")
def map_shared_between_processes(w):
    fd = os.open("file", RDWR)
    m = mmap.mmap(fd, BIG)
    for i in range(5):
        def child():
            with mmap.mmap(os.open("file", RDWR), BIG) as other:
                same(other[i * 20_000:i * 20_000 + 2], b"p%d" % i)
                other[i * 20_000 + 10:i * 20_000 + 12] = b"c%d" % i
        m[i * 20_000:i * 20_000 + 2] = b"p%d" % i
        apart(child)
        same(m[i * 20_000 + 10:i * 20_000 + 12], b"c%d" % i)
    m.flush()
    same(read("file")[:12], b"p0" + noise(1, BIG)[2:10] + b"c0")


@case("file")
def map_private(w):
    with open("file", "rb") as f, mmap.mmap(f.fileno(), BIG, mmap.MAP_PRIVATE) as m:
        m[5:10] = b"never"
        same(m[4:11], noise(1, BIG)[4:5] + b"never" + noise(1, BIG)[10:11])
    expect("file", noise(1, BIG))


@case()
def map_of_a_new_file(w):
    """As linkers write."""
    fd = os.open("new", RDWR | os.O_CREAT | os.O_TRUNC, 0o755)
    calls.fallocate(fd, 0, 0, 300_000)
    with mmap.mmap(fd, 300_000) as m:
        m[:] = noise(6, 300_000)
    os.close(fd)
    expect("new", noise(6, 300_000))


@case("file")
def map_past_the_end(w):
    """A page past the end is SIGBUS; the rest of the last page is zeros, and no file's."""
    with open("file", "r+b") as f:
        length = mmap.mmap(f.fileno(), BIG)
        pages = (BIG + 4095) // 4096 * 4096
        length.close()
        f.truncate(BIG + 4096 * 10)
        m = mmap.mmap(f.fileno(), BIG + 4096 * 10)
        f.truncate(BIG)
        same(m[BIG:pages], bytes(pages - BIG))
        same(apart(lambda: m[pages], kill=("SIGBUS",)), "SIGBUS")
        same(apart(lambda: m[BIG + 4096 * 5], kill=("SIGBUS",)), "SIGBUS")
        f.truncate(BIG + 4096 * 10)
        same(m[BIG:BIG + 4096 * 10], bytes(4096 * 10))
    same(signal.getsignal(signal.SIGBUS), signal.SIG_DFL)


@case("file readonly", users="user")
def map_errors(w):
    a, b = os.open("file", os.O_RDONLY), os.open("file", os.O_WRONLY)
    fails("EACCES", mmap.mmap, a, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    fails("EACCES", mmap.mmap, b, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
    with mmap.mmap(os.open("readonly", os.O_RDONLY), 10, mmap.MAP_SHARED, mmap.PROT_READ) as m:
        same(m[:], b"0123456789")


@case("file")
def writes_from_a_mapping_of_itself(w):
    """write(fd, mapping of the same file) must not lock up."""
    fd = os.open("file", RDWR)
    with mmap.mmap(fd, BIG) as m:
        same(os.pwrite(fd, memoryview(m)[100_000:120_000], 10), 20_000)
    wanted = noise(1, BIG)
    expect("file", overlaid(wanted, 10, wanted[100_000:120_000]))
