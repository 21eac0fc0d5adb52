# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""fallocate, holes, copy_file_range."""
import calls

from calls import COLLAPSE_RANGE, INSERT_RANGE, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate
from case import *
from cases_data import expect
from kit import BIG, CHUNK, noise

RDWR = os.O_RDWR

# mode, offset, length; on a file of BIG bytes
ALLOCATIONS = [
    (0, 0, BIG), (0, BIG - 10, 100), (0, BIG, 10_000), (0, BIG + 5 * CHUNK, 4096), (0, 50, 50),
    (KEEP_SIZE, 0, 10), (KEEP_SIZE, BIG, 1 << 20), (KEEP_SIZE, BIG - 10, 4096),
    (ZERO_RANGE, 0, 1), (ZERO_RANGE, 5000, 20_000), (ZERO_RANGE, CHUNK, CHUNK),
    (ZERO_RANGE, CHUNK + 1, 3 * CHUNK), (ZERO_RANGE, BIG - 5, 100), (ZERO_RANGE, BIG + 10, 10),
    (ZERO_RANGE | KEEP_SIZE, BIG - 5, 100), (ZERO_RANGE | KEEP_SIZE, 0, BIG),
    (ZERO_RANGE | KEEP_SIZE, BIG + 4096, 4096),
    (PUNCH_HOLE | KEEP_SIZE, 0, 1), (PUNCH_HOLE | KEEP_SIZE, 0, 4096),
    (PUNCH_HOLE | KEEP_SIZE, 100, 70_000), (PUNCH_HOLE | KEEP_SIZE, CHUNK, CHUNK),
    (PUNCH_HOLE | KEEP_SIZE, CHUNK - 1, 2), (PUNCH_HOLE | KEEP_SIZE, 2 * CHUNK, 3 * CHUNK),
    (PUNCH_HOLE | KEEP_SIZE, BIG - 10, 10_000), (PUNCH_HOLE | KEEP_SIZE, BIG, 4096),
    (PUNCH_HOLE | KEEP_SIZE, 0, BIG), (PUNCH_HOLE | KEEP_SIZE, 0, 1 << 30),
]


def show(mode):
    names = [n for n, bit in (("keep", KEEP_SIZE), ("punch", PUNCH_HOLE), ("zero", ZERO_RANGE))
             if mode & bit]
    return "-".join(names) or "plain"


def allocate_one(mode, offset, length):
    def run(w):
        wanted = noise(1, BIG)
        if not mode & KEEP_SIZE:
            wanted += bytes(max(0, offset + length - BIG))
        if mode & (PUNCH_HOLE | ZERO_RANGE):
            end = min(len(wanted), offset + length)
            if offset < end:
                wanted = wanted[:offset] + bytes(end - offset) + wanted[end:]
        before = os.stat("file")
        tick()
        fd = os.open("file", RDWR)
        fallocate(fd, mode, offset, length)
        same(os.fstat(fd).st_size, len(wanted))
        assert os.fstat(fd).st_ctime_ns > before.st_ctime_ns
        os.close(fd)
        expect("file", wanted)
        w.note(os.stat("file").st_mtime_ns > before.st_mtime_ns)
        os.truncate("file", BIG + 6 * CHUNK)
        expect("file", wanted[:BIG + 6 * CHUNK] + bytes(BIG + 6 * CHUNK - len(wanted))
               if len(wanted) < BIG + 6 * CHUNK else wanted[:BIG + 6 * CHUNK], "longer")
    return run


for _mode, _offset, _length in ALLOCATIONS:
    add(f"space.{show(_mode)}-{_length}-at-{_offset}", allocate_one(_mode, _offset, _length),
        "file")


@case("file dir fifo")
def allocation_errors(w):
    fd, readonly = os.open("file", RDWR), os.open("file", os.O_RDONLY)
    fails("EINVAL", fallocate, fd, 0, 0, 0)
    fails("EINVAL", fallocate, fd, 0, -1, 10)
    fails("EINVAL", fallocate, fd, 0, 0, -1)
    fails("EOPNOTSUPP", fallocate, fd, PUNCH_HOLE, 0, 10)
    fails("EOPNOTSUPP|EINVAL", fallocate, fd, PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, 0, 10)
    fails("EOPNOTSUPP", fallocate, fd, 1 << 20, 0, 10)
    fails("EBADF", fallocate, readonly, 0, 0, 10)
    fails("EBADF|EISDIR", fallocate, os.open("dir", os.O_RDONLY), 0, 0, 10)
    fails("ESPIPE", fallocate, os.open("fifo", RDWR), 0, 0, 10)
    fails("EFBIG", fallocate, fd, 0, (1 << 62), 10)
    fails("ENOSPC", fallocate, fd, 0, 0, os.statvfs(".").f_blocks * os.statvfs(".").f_frsize * 2)
    os.truncate("file", BIG)
    expect("file", noise(1, BIG))


@case("file", left=False)
def collapse_and_insert_may_be_refused(w):
    """Supported, and then right; or EOPNOTSUPP, and then nothing changed."""
    fd = os.open("file", RDWR)
    for mode in (COLLAPSE_RANGE, INSERT_RANGE):
        before = read("file")
        got = outcome(fallocate, fd, mode, 16384, 4096)
        if got == "ok":
            wanted = before[:16384] + before[20480:] if mode == COLLAPSE_RANGE else \
                before[:16384] + bytes(4096) + before[16384:]
            same(read("file"), wanted)
        else:
            same(got, "EOPNOTSUPP")
            same(read("file"), before)


@case()
def allocated_blocks(w):
    fd = os.open("new", RDWR | os.O_CREAT)
    fallocate(fd, KEEP_SIZE, 0, 1 << 20)
    same(os.fstat(fd).st_size, 0)
    assert os.fstat(fd).st_blocks * 512 >= 1 << 20
    os.posix_fallocate(fd, 0, 1 << 20)
    same(os.fstat(fd).st_size, 1 << 20)
    os.pwrite(fd, noise(9, 1 << 20), 0)
    fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 0, 1 << 20)
    os.fsync(fd)
    assert os.fstat(fd).st_blocks * 512 < 64 << 10, os.fstat(fd).st_blocks
    same(os.pread(fd, 1 << 20, 0), bytes(1 << 20))


@case("file")
def allocation_of_an_open_mapping(w):
    import mmap
    fd = os.open("file", RDWR)
    with mmap.mmap(fd, BIG) as m:
        same(m[20_000:20_010], noise(1, BIG)[20_000:20_010])
        fallocate(fd, KEEP_SIZE | PUNCH_HOLE, CHUNK, CHUNK)
        same(m[CHUNK:2 * CHUNK], bytes(CHUNK))
        fallocate(fd, ZERO_RANGE, 60_000, 10)
        same(m[59_999:60_011], noise(1, BIG)[59_999:60_000] + bytes(10) + noise(1, BIG)[60_010:60_011])


# --- holes: what lseek calls a hole reads as zeros, and what is data is not skipped

def extents(fd):
    size, at, found = os.fstat(fd).st_size, 0, []
    while at < size:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            same(e.errno, errno.ENXIO)
            break
        hole = os.lseek(fd, data, os.SEEK_HOLE)
        assert at <= data < hole <= size, (at, data, hole, size)
        found.append((data, hole))
        at = hole
    return found


def holes_are_zeros(path, content):
    fd = os.open(path, os.O_RDONLY)
    covered = extents(fd)
    at = 0
    for data, hole in covered + [(len(content), len(content))]:
        same(content[at:data], bytes(data - at), f"a hole of {path} from {at}")
        at = hole
    return covered


@case("file sparse empty small")
def seek_data_hides_nothing(w):
    same(holes_are_zeros("file", noise(1, BIG)), [(0, BIG)])
    same(holes_are_zeros("small", b"0123456789"), [(0, 10)])
    holes_are_zeros("sparse", bytes(512 << 10) + noise(5, 65536) + bytes(448 << 10))
    same(holes_are_zeros("empty", b""), [])
    # with part of it read, and then all
    with open("sparse", "rb") as f:
        f.seek(520 << 10)
        f.read(100)
    holes_are_zeros("sparse", bytes(512 << 10) + noise(5, 65536) + bytes(448 << 10))
    holes_are_zeros("sparse", read("sparse"))


@case("file")
def seek_data_after_changes(w):
    fd = os.open("file", RDWR)
    fallocate(fd, KEEP_SIZE | PUNCH_HOLE, 2 * CHUNK, 2 * CHUNK)
    os.ftruncate(fd, 1 << 20)
    os.pwrite(fd, b"far", 600_000)
    os.fsync(fd)
    content = noise(1, BIG)[:2 * CHUNK] + bytes(2 * CHUNK) + noise(1, BIG)[4 * CHUNK:]
    content = content + bytes(600_000 - BIG) + b"far" + bytes((1 << 20) - 600_003)
    expect("file", content)
    holes_are_zeros("file", content)


@case()
def seek_data_of_a_new_file(w):
    fd = os.open("new", RDWR | os.O_CREAT)
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_HOLE)
    os.ftruncate(fd, 1 << 20)
    same(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
    os.pwrite(fd, b"x", 512 << 10)
    same(os.lseek(fd, 0, os.SEEK_DATA), 512 << 10)
    same(os.lseek(fd, 512 << 10, os.SEEK_HOLE), (512 << 10) + 4096)
    fails("ENXIO", os.lseek, fd, 1 << 20, os.SEEK_DATA)
    fails("ENXIO", os.lseek, fd, 1 << 21, os.SEEK_HOLE)


@case("sparse file", left=False)
def copied_by_cp_and_tar(w):
    import subprocess
    for name in ("sparse", "file"):
        subprocess.run(["cp", "--sparse=always", name, f"{name}.cp"], check=True)
        subprocess.run(["cp", "--sparse=auto", name, f"{name}.auto"], check=True)
        subprocess.run(["tar", "-Scf", "t.tar", name], check=True)
        os.mkdir("out")
        subprocess.run(["tar", "-C", "out", "-xf", "t.tar"], check=True)
        for copy in (f"{name}.cp", f"{name}.auto", f"out/{name}"):
            same(read(copy), read(name), copy)
        subprocess.run(["rm", "-r", "out"], check=True)


# --- copy_file_range: name, source offset, length, target, target offset
COPIES = [("whole", 0, BIG, "new", 0), ("aligned", CHUNK, 2 * CHUNK, "new", 0),
          ("unaligned", 1001, 50_000, "new", 7), ("to-the-end", BIG - 10, 1000, "new", 0),
          ("over", 20_000, 30_000, "other", 100), ("behind", 0, 100, "other", 20_000),
          ("past-the-end", BIG, 10, "new", 0), ("nothing", 0, 0, "new", 0),
          ("within", 0, 50_000, "file", 90_000), ("within-behind", 100_000, 50_000, "file", BIG)]


def copy_one(start, length, target, at):
    def run(w):
        source = noise(1, BIG)
        a = os.open("file", RDWR)
        b = a if target == "file" else os.open(target, RDWR | os.O_CREAT)
        before = {"file": source, "other": noise(2, 5000), "new": b""}[target]
        moved = 0
        while moved < length:
            n = os.copy_file_range(a, b, length - moved, start + moved, at + moved)
            if n == 0:
                break
            moved += n
        same(moved, max(0, min(length, BIG - start)))
        data = source[start:start + moved]
        if moved:
            before = before + bytes(max(0, at - len(before)))
            before = before[:at] + data + before[at + len(data):]
        expect(target, before)
        if target != "file":
            expect("file", source)
    return run


for _name, _start, _length, _target, _at in COPIES:
    add(f"space.copy-{_name}", copy_one(_start, _length, _target, _at), "file other")


@case("file dir other")
def copy_errors(w):
    a, b, r = os.open("file", RDWR), os.open("other", RDWR), os.open("other", os.O_RDONLY)
    ap, wr = os.open("other", RDWR | os.O_APPEND), os.open("file", os.O_WRONLY)
    copy = os.copy_file_range
    fails("EBADF", copy, a, r, 10, 0, 0)
    fails("EBADF", copy, wr, b, 10, 0, 0)
    fails("EBADF", copy, a, ap, 10, 0, 0)
    fails("EINVAL", copy, a, a, 1000, 0, 500)
    fails("EISDIR", copy, os.open("dir", os.O_RDONLY), b, 10, 0, 0)
    fails("EINVAL", copy, os.pipe()[0], b, 10)
    expect("file", noise(1, BIG))


@case("file", left=False)
def copy_from_and_to_outside(w):
    name = os.path.join(w.outside, f"copy{os.getpid()}")
    out = os.open(name, RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        a = os.open("file", RDWR)
        for src, dst in ((a, out), (out, a)):
            try:
                os.lseek(src, 100, os.SEEK_SET), os.lseek(dst, 0, os.SEEK_SET)
                n = os.copy_file_range(src, dst, 1000)
                assert 0 < n <= 1000
            except OSError as e:
                same(e.errno, errno.EXDEV)
    finally:
        os.unlink(name)
