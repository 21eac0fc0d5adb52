# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Bytes: write, truncate, O_DIRECT, splice, and that every way sees the others'."""
import calls
import mmap
import random
import signal

from case import *
from kit import BIG, CHUNK, noise

RDWR = os.O_RDWR


def expect(path, content, what=""):
    """The same bytes by read, by a mapping and by pread of single pieces."""
    same(read(path), content, f"read {what}")
    same(os.stat(path).st_size, len(content), f"size {what}")
    if content:
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as m:
            same(m[:], content, f"mapping {what}")


# offset and length of one write into a file of BIG bytes, nine chunks and a bit
WRITES = [(0, 1), (0, 4096), (0, CHUNK), (0, BIG), (1, 1), (4095, 2), (CHUNK - 1, 1),
          (CHUNK - 1, 2), (CHUNK, CHUNK), (CHUNK, 3 * CHUNK), (CHUNK - 10, 2 * CHUNK + 20),
          (2 * CHUNK + 100, 50), (BIG - 1, 1), (BIG - 1, 2), (BIG, 1), (BIG, 2 * CHUNK),
          (BIG + 1, 1), (BIG + 5 * CHUNK, 10), (BIG - 100, 5000), (9 * CHUNK, 10), (0, BIG + 1),
          (70_000, 1), (1 << 20, 1), (8 * CHUNK, BIG - 8 * CHUNK)]


def overlaid(content, offset, data):
    content = content + bytes(max(0, offset - len(content)))
    return content[:offset] + data + content[offset + len(data):]


def write_one(offset, length):
    data = noise(offset + length, length)

    def run(w):
        wanted = overlaid(noise(1, BIG), offset, data)
        fd = os.open("file", RDWR)
        same(os.pwrite(fd, data, offset), length)
        same(os.fstat(fd).st_size, len(wanted))
        same(os.pread(fd, length + 2000, max(0, offset - 1000)),
             wanted[max(0, offset - 1000):max(0, offset - 1000) + length + 2000])
        os.close(fd)
        expect("file", wanted)
    return run


for _offset, _length in WRITES:
    add(f"data.write-{_length}-at-{_offset}", write_one(_offset, _length), "file")


def truncate_one(length, by):
    def run(w):
        wanted = noise(1, BIG)[:length] + bytes(max(0, length - BIG))
        if by == "path":
            os.truncate("file", length)
        else:
            fd = os.open("file", os.O_WRONLY)
            os.ftruncate(fd, length)
            os.close(fd)
        expect("file", wanted)
        os.truncate("file", BIG + 100)  # what was cut off does not come back
        expect("file", wanted[:BIG + 100] + bytes(max(0, BIG + 100 - length)), "longer again")
    return run


for _length in (0, 1, 4096, CHUNK, CHUNK - 1, CHUNK + 1, 5 * CHUNK, 70_000, BIG - 1, BIG, BIG + 1,
                10 * CHUNK, 1 << 20):
    for _by in ("path", "descriptor"):
        add(f"data.truncate-to-{_length}-by-{_by}", truncate_one(_length, _by), "file")


@case("file dir dangling loop fifo symlink")
def truncate_errors(w):
    fails("EISDIR", os.truncate, "dir", 0)
    fails("ENOENT", os.truncate, "missing", 0)
    fails("ENOENT", os.truncate, "dangling", 0)
    fails("ELOOP", os.truncate, "loop", 0)
    fails("ENOTDIR", os.truncate, "file/x", 0)
    fails("EINVAL", os.truncate, "file", -1)
    fails("EINVAL", os.truncate, "fifo", 0)
    fd = os.open("file", RDWR)
    fails("EINVAL", os.ftruncate, fd, -1)
    fails("EFBIG", os.truncate, "file", (1 << 62))
    same(os.stat("file").st_size, BIG)
    os.truncate("symlink", 5)
    same(os.stat("file").st_size, 5)


@case("file")
def shrunk_extended_and_written(w):
    fd = os.open("file", RDWR)
    wanted = noise(1, BIG)
    for length in (100_000, 140_000, 50_001, 120_000, 49_000, 150_000):
        os.ftruncate(fd, length)
        wanted = wanted[:length] + bytes(max(0, length - len(wanted)))
        os.pwrite(fd, b"mark", length - 10_000)
        wanted = overlaid(wanted, length - 10_000, b"mark")
        same(os.pread(fd, 200_000, 0), wanted, f"after {length}")
    os.close(fd)
    expect("file", wanted)


@case("file")
def cut_in_a_chunk_and_extended(w):
    """The rest of the chunk, and of the page, is zeros."""
    for at in (5 * CHUNK + 1, 4 * CHUNK + 4097, 3 * CHUNK, 100):
        os.truncate("file", at)
        os.truncate("file", BIG)
        expect("file", noise(1, BIG)[:at] + bytes(BIG - at), f"cut at {at}")


@case()
def a_huge_sparse_file(w):
    fd = os.open("new", RDWR | os.O_CREAT)
    os.ftruncate(fd, 1 << 40)
    os.pwrite(fd, b"at the end", (1 << 40) - 10)
    os.pwrite(fd, b"between", 1 << 35)
    same(os.fstat(fd).st_size, 1 << 40)
    same((os.pread(fd, 20, (1 << 40) - 12), os.pread(fd, 7, 1 << 35)),
         (bytes(2) + b"at the end", b"between"))
    assert os.fstat(fd).st_blocks * 512 < 1 << 20
    same(os.pread(fd, 10, 1 << 39), bytes(10))
    os.ftruncate(fd, 100)
    same(os.pread(fd, 1000, 0), bytes(100))


@case("file sparse")
def reads_around_the_end(w):
    fd = os.open("file", os.O_RDONLY)
    same(os.pread(fd, 100, BIG), b"")
    same(os.pread(fd, 100, BIG + 5 * CHUNK), b"")
    same(os.pread(fd, 100, BIG - 50), noise(1, BIG)[-50:])
    same(os.pread(fd, 0, 0), b"")
    fails("EINVAL", os.pread, fd, 10, -1)
    same(os.lseek(fd, 0, os.SEEK_END), BIG)
    same(os.read(fd, 10), b"")
    fails("EINVAL", os.lseek, fd, -1, os.SEEK_SET)
    expect("sparse", bytes(512 << 10) + noise(5, 65536) + bytes(448 << 10))


@case("file")
def vectors(w):
    fd = os.open("file", RDWR)
    same(os.pwritev(fd, [b"one", b"", b"two", noise(8, 20_000)], 30_000), 20_006)
    wanted = overlaid(noise(1, BIG), 30_000, b"onetwo" + noise(8, 20_000))
    a, b, c = bytearray(10), bytearray(40_000), bytearray(CHUNK)
    same(os.preadv(fd, [a, b, c], 29_000), 10 + 40_000 + CHUNK)
    same(bytes(a + b + c), wanted[29_000:29_000 + 40_010 + CHUNK])
    same(os.pwritev(fd, [b"sync"], 5, os.RWF_DSYNC), 4)
    same(os.pread(fd, 6, 4), wanted[4:5] + b"sync" + wanted[9:10])
    os.lseek(fd, 0, os.SEEK_SET)
    same(os.writev(fd, [b"a", b"b"]), 2)
    same(os.pread(fd, 2, 0), b"ab")


@case("file")
def descriptors_see_each_other(w):
    fds = [os.open("file", RDWR) for _ in range(3)] + [os.open("file", RDWR | os.O_SYNC)]
    for i in range(40):
        os.pwrite(fds[i % 4], b"%05d" % i, i * 3700)
        for fd in fds:
            same(os.pread(fd, 5, i * 3700), b"%05d" % i)
        same(apart(lambda: os.pread(os.open("file", os.O_RDONLY), 5, i * 3700)), b"%05d" % i)


@case("file")
def processes_see_each_other(w):
    """A child writes, then the parent; each sees the other's at once."""
    fd = os.open("file", RDWR)
    for i in range(10):
        apart(lambda: os.pwrite(os.open("file", RDWR), b"child%d" % i, i * 10_000))
        same(os.pread(fd, 6, i * 10_000), b"child%d" % i)
        os.pwrite(fd, b"paren%d" % i, i * 10_000 + 50)
        same(apart(lambda: read("file")[i * 10_000 + 50:][:6]), b"paren%d" % i)


@case("file")
def random_writes(w):
    choose, wanted = random.Random(4), bytearray(noise(1, BIG))
    fd = os.open("file", RDWR)
    for i in range(150):
        offset, length = choose.randrange(BIG + 20_000), choose.choice([1, 7, 4096, 9000, 30_000])
        action = choose.randrange(8)
        if action == 0:
            size = choose.randrange(len(wanted) + 30_000)
            os.ftruncate(fd, size)
            wanted[size:] = bytes(max(0, size - len(wanted)))
        elif action == 1:
            os.fsync(fd)
        elif action < 6:
            data = choose.randbytes(length)
            os.pwrite(fd, data, offset)
            if offset > len(wanted):
                wanted += bytes(offset - len(wanted))
            wanted[offset:offset + length] = data
        else:
            same(os.pread(fd, length, offset), bytes(wanted[offset:offset + length]), i)
    os.close(fd)
    expect("file", bytes(wanted))


@case()
def written_from_nothing(w):
    """As programs write: in pieces, with a seek back for the head."""
    with open("new", "wb", buffering=0) as f:
        for i in range(60):
            f.write(noise(i, 7000))
        f.seek(0)
        f.write(b"HEAD")
    wanted = b"".join(noise(i, 7000) for i in range(60))
    expect("new", b"HEAD" + wanted[4:])


@case("file other")
def replaced_whole(w):
    for i in range(5):
        write("file", noise(i, 30_000 * i))
        expect("file", noise(i, 30_000 * i))
    os.truncate("other", 0)
    with open("other", "ab") as f:
        f.write(b"end")
    expect("other", b"end")


# --- O_DIRECT: whatever its alignment may be natively, page-aligned works everywhere

@case("file sparse")
def direct(w):
    def buffer(size):
        return mmap.mmap(-1, size)
    try:
        fd = os.open("file", RDWR | os.O_DIRECT)
    except OSError as e:
        w.note("direct", e.errno)
        return
    got = buffer(65536)
    same(os.preadv(fd, [got], 65536), 65536)
    same(got[:], noise(1, BIG)[65536:131072])
    data = buffer(8192)
    data[:] = noise(9, 8192)
    same(os.pwritev(fd, [data], 40960), 8192)
    wanted = overlaid(noise(1, BIG), 40960, noise(9, 8192))
    plain = os.open("file", RDWR)
    same(os.pread(plain, 20_000, 36_000), wanted[36_000:56_000])
    os.pwrite(plain, b"cached", 45_000)
    wanted = overlaid(wanted, 45_000, b"cached")
    same(os.preadv(fd, [got], 0), 65536)
    same(got[:], wanted[:65536])
    same(os.preadv(fd, [got], 147456), BIG - 147456)
    same(got[:BIG - 147456], wanted[147456:])
    same(os.pwritev(fd, [data], 151552), 8192)
    wanted = overlaid(wanted, 151552, noise(9, 8192))
    os.close(fd), os.close(plain)
    expect("file", wanted)
    fd = os.open("new", RDWR | os.O_DIRECT | os.O_CREAT, 0o644)
    for i in range(8):
        same(os.pwritev(fd, [data], i * 8192), 8192)
    expect("new", noise(9, 8192) * 8)


@case("file")
def direct_beside_a_mapping(w):
    fd, plain = os.open("file", RDWR | os.O_DIRECT), os.open("file", RDWR)
    data = mmap.mmap(-1, 4096)
    data[:] = noise(9, 4096)
    with mmap.mmap(plain, BIG) as m:
        m[0:6] = b"mapped"
        m.flush()
        os.pwritev(fd, [data], 8192)
        same(m[8192:12288], noise(9, 4096))
        got = mmap.mmap(-1, 4096)
        os.preadv(fd, [got], 0)
        same(got[:6], b"mapped")


# --- the kernel moves the bytes

@case("file")
def splice_and_sendfile(w):
    reader, writer = os.pipe()
    source, target = os.open("file", os.O_RDONLY), os.open("new", RDWR | os.O_CREAT)
    moved = 0
    while n := os.splice(source, writer, 60_000, offset_src=moved):
        at = moved
        while at < moved + n:
            at += os.splice(reader, target, moved + n - at, offset_dst=at)
        moved += n
    same(moved, BIG)
    expect("new", noise(1, BIG))
    back = os.open("file", RDWR)
    os.write(writer, b"spliced over")
    same(os.splice(reader, back, 12, offset_dst=77_000), 12)
    same(os.pread(back, 12, 77_000), b"spliced over")
    os.lseek(back, 0, os.SEEK_SET)
    same(os.sendfile(back, target, 100, 1000), 1000)
    same(os.pread(back, 1000, 0), noise(1, BIG)[100:1100])


@case("file", users="root")
def readers_beside_a_writer(w):
    """Eight bytes that belong together are written at once and never seen torn apart."""
    pid = os.fork()
    if pid == 0:
        fd = os.open("file", RDWR)
        for i in range(3000):
            os.pwrite(fd, b"%04d%04d" % (i, i), 81_920)
        os._exit(0)
    fd = os.open("file", os.O_RDONLY)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        got = os.pread(fd, 8, 81_920)
        if got != noise(1, BIG)[81_920:81_928]:
            same(got[:4], got[4:])
    same(os.pread(fd, 8, 81_920), b"29992999")


@case("file")
def after_fsync(w):
    fd = os.open("file", RDWR)
    for i in range(10):
        os.pwrite(fd, b"s", i * CHUNK)
        (os.fsync if i % 2 else os.fdatasync)(fd)
    calls.sync_file_range(fd, 0, 0)
    os.sync()
    os.fsync(os.open("file", os.O_RDONLY))
    os.fsync(os.open(".", os.O_RDONLY))
    wanted = bytearray(noise(1, BIG))
    for i in range(10):
        if i * CHUNK < BIG:
            wanted[i * CHUNK:i * CHUNK + 1] = b"s"
    expect("file", bytes(wanted))


@case()
def the_size_limit(w):
    """RLIMIT_FSIZE: SIGXFSZ, EFBIG, and as much as fits."""
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd = os.open("new", RDWR | os.O_CREAT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    same(os.pwrite(fd, bytes(20_000), 0), 10_000)
    fails("EFBIG", os.pwrite, fd, b"x", 10_000)
    fails("EFBIG", os.ftruncate, fd, 10_001)
    fails("EFBIG", os.truncate, "new", 20_000)
    same(os.fstat(fd).st_size, 10_000)


@case("file")
def programs(w):
    """A copied program runs; while it does it is not written."""
    import subprocess
    subprocess.run(["cp", "/bin/sleep", "sleep"], check=True)
    same(subprocess.run(["./sleep", "0"]).returncode, 0)
    running = subprocess.Popen(["./sleep", "30"])
    try:
        fails("ETXTBSY", opened, "sleep", os.O_WRONLY)
        fails("ETXTBSY", os.truncate, "sleep", 0)
        fails("ETXTBSY", opened, "sleep", os.O_RDONLY | os.O_TRUNC)
        opened("sleep", os.O_RDONLY)
        os.chmod("sleep", 0o700)
        os.rename("sleep", "running")
        write("sleep", b"#!/bin/sh\nexit 7\n")
        os.chmod("sleep", 0o755)
        same(subprocess.run(["./sleep"]).returncode, 7)
        os.unlink("running")
        same(running.poll(), None)
    finally:
        running.kill()
        running.wait()
    fd = os.open("sleep", os.O_WRONLY)
    fails("ETXTBSY", os.execv, "./sleep", ["sleep"])
    os.close(fd)
    fails("EACCES", os.execv, "./file", ["file"])
