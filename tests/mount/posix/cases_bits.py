# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Set-id bits and file capabilities go when somebody without privilege writes, in every I/O
mode; and the time stamps that each operation moves."""
import calls
import mmap
import shutil

from calls import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate
from case import *

RDWR = os.O_RDWR
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def direct_write(fd, name):
    page = mmap.mmap(-1, 4096)
    os.pwritev(os.open(name, RDWR | os.O_DIRECT), [page], 0)


def spliced(fd, name):
    reader, writer = os.pipe()
    os.write(writer, b"spliced")
    os.splice(reader, fd, 7)


def sent(fd, name):
    source = os.open(".", os.O_TMPFILE | RDWR)
    os.write(source, b"sent")
    os.sendfile(fd, source, 0, 4)


def ranged(fd, name):
    source = os.open(".", os.O_TMPFILE | RDWR)
    os.write(source, bytes(5000))
    os.copy_file_range(source, fd, 5000, 0, 0)


def mapped(fd, name):
    with mmap.mmap(fd, 4096) as m:
        m[0:1] = b"m"
        m.flush()


def appended(fd, name):
    os.write(os.open(name, os.O_WRONLY | os.O_APPEND), b"end")


def synced(fd, name):
    os.pwrite(os.open(name, RDWR | os.O_SYNC), b"sync", 0)


def truncated_open(fd, name):
    opened(name, os.O_WRONLY | os.O_TRUNC)


# Each changes the content of `fd`, which is `name`
WRITERS = {
    "write": lambda fd, n: os.write(fd, b"w"), "pwrite": lambda fd, n: os.pwrite(fd, b"w", 3000),
    "writev": lambda fd, n: os.writev(fd, [b"w", b"v"]), "append": appended, "sync": synced,
    "ftruncate": lambda fd, n: os.ftruncate(fd, 100), "truncate": lambda fd, n: os.truncate(n, 100),
    "extend": lambda fd, n: os.ftruncate(fd, 1 << 20), "O_TRUNC": truncated_open,
    "fallocate": lambda fd, n: fallocate(fd, 0, 0, 1 << 20),
    "punch": lambda fd, n: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 4096),
    "zero": lambda fd, n: fallocate(fd, ZERO_RANGE, 0, 4096),
    "splice": spliced, "sendfile": sent, "copy_file_range": ranged, "O_DIRECT": direct_write,
}
HARMLESS = {
    "mmap": mapped, "nothing": lambda fd, n: None, "empty-write": lambda fd, n: os.write(fd, b""),
    "read": lambda fd, n: os.pread(fd, 10, 0), "fsync": lambda fd, n: os.fsync(fd),
    "utimens": lambda fd, n: os.utime(fd, (1, 1)), "rename": lambda fd, n: (
        os.rename(n, "t"), os.rename("t", n)),
    "setxattr": lambda fd, n: os.setxattr(fd, "user.x", b"1"),
}
# With group execute; without it set-gid means something else, and is left to note()
BITS = [(0o4755, 0o755), (0o2755, 0o755), (0o6755, 0o755), (0o4644, 0o644), (0o2644, None)]


def bits_go(action, name, harmless):
    """By the owner, an ordinary user; and not by root."""
    def run(w):
        for mode, wanted in BITS:
            copy = f"{name}.copy"
            if mode != 0o6755:
                shutil.copy(name, copy)
            else:
                copy = name  # the one whose bits were there at first
            os.chmod(copy, mode)
            fd = os.open(copy, RDWR)
            action(fd, copy)
            os.close(fd)
            if harmless or w.root:
                same(mode_of(copy), mode, f"{mode:o}")
            elif wanted is not None:
                same(mode_of(copy), wanted, f"{mode:o}")
            w.note(name, mode, mode_of(copy))
            if copy != name:
                os.unlink(copy)
    return run


for _name, _action in {**WRITERS, **HARMLESS}.items():
    for _object in ("setid", "bigsetid"):
        add(f"bits.{_object}-{_name}", bits_go(_action, _object, _name in HARMLESS), _object)


def capability_goes(action, name, harmless):
    """Of root, too, since capabilities are of the content."""
    def run(w):
        os.setxattr(name, "security.capability", CAPABILITY)
        fd = os.open(name, RDWR)
        action(fd, name)
        os.close(fd)
        same(outcome(os.getxattr, name, "security.capability"), "ok" if harmless else "ENODATA")
    return run


for _name, _action in {**WRITERS, **HARMLESS}.items():
    if _name != "mmap":  # which the kernel leaves to the file system's write-back
        for _object in ("other", "file"):
            add(f"bits.capability-{_object}-{_name}",
                capability_goes(_action, _object, _name in HARMLESS), _object, "root")


@case("setid", users="root")
def bits_go_by_a_user_who_may_write(w):
    os.chmod("setid", 0o6777)
    as_user(lambda: os.write(os.open("setid", os.O_WRONLY), b"x"))
    same(mode_of("setid"), 0o777)
    os.chmod("setid", 0o6777)
    fd = os.open("setid", os.O_WRONLY)  # opened by root, written by the user
    as_user(lambda: os.write(fd, b"x"))
    same(mode_of("setid"), 0o777)
    os.chmod("setid", 0o6777)
    os.write(fd, b"x")
    same(mode_of("setid"), 0o6777)


# --- time stamps: what moves, of the file and of the directory it is in

def copied_in(d):
    source = os.open("other", os.O_RDONLY)
    os.copy_file_range(source, os.open("file", RDWR), 100, 0, 0)


def map_write(d):
    with mmap.mmap(os.open("file", RDWR), 4096) as m:
        m[:4] = b"mmap"
        m.flush()


def fd_of(name, flags=RDWR):
    return os.open(name, flags)


# name: action, paths of which mtime and ctime move, those of which ctime alone moves
STAMPS = {
    "write": (lambda d: os.write(fd_of("file"), b"x"), "file", ""),
    "pwrite-past-the-end": (lambda d: os.pwrite(fd_of("file"), b"x", 1 << 20), "file", ""),
    "write-of-nothing": (lambda d: os.write(fd_of("file"), b""), "", ""),
    "read": (lambda d: read("file"), "", ""),
    "mmap": (map_write, "file", ""),
    "truncate": (lambda d: os.truncate("file", 10), "file", ""),
    "truncate-longer": (lambda d: os.truncate("file", 1 << 20), "file", ""),
    "truncate-same": (lambda d: os.truncate("small", 10), "small", ""),
    "ftruncate-same": (lambda d: os.ftruncate(fd_of("small"), 10), "small", ""),
    "O_TRUNC": (lambda d: opened("file", os.O_WRONLY | os.O_TRUNC), "file", ""),
    "O_TRUNC-of-empty": (lambda d: opened("empty", os.O_WRONLY | os.O_TRUNC), "empty", ""),
    "O_CREAT-existing": (lambda d: opened("file", RDWR | os.O_CREAT), "", ""),
    "fallocate": (lambda d: fallocate(fd_of("file"), 0, 0, 1 << 20), "file", ""),
    "punch": (lambda d: fallocate(fd_of("file"), 3, 0, 8192), "file", ""),
    "copy_file_range": (copied_in, "file", ""),
    "chmod": (lambda d: os.chmod("file", 0o600), "", "file"),
    "chmod-of-a-directory": (lambda d: os.chmod("dir", 0o700), "", "dir"),
    "chown": (lambda d: os.chown("file", -1, TEAM), "", "file"),
    "utime-atime": (lambda d: calls.utimensat("file", (5, 6), calls.OMIT), "", "file"),
    "setxattr": (lambda d: os.setxattr("file", "user.x", b"1"), "", "file"),
    "setxattr-of-a-directory": (lambda d: os.setxattr("dir", "user.x", b"1"), "", "dir"),
    "acl": (lambda d: calls.acl_set("file", calls.ACCESS, [
        (calls.USER_OBJ, 6), (calls.USER, 6, 5), (calls.GROUP_OBJ, 4), (calls.MASK, 6),
        (calls.OTHER, 0)]), "", "file"),
    "create": (lambda d: opened("dir/new", os.O_CREAT | os.O_WRONLY), "dir", ""),
    "mkdir": (lambda d: os.mkdir("dir/new"), "dir", ""),
    "mkfifo": (lambda d: os.mkfifo("dir/new"), "dir", ""),
    "symlink": (lambda d: os.symlink("x", "dir/new"), "dir", ""),
    "link": (lambda d: os.link("file", "dir/new"), "dir", "file"),
    "unlink": (lambda d: os.unlink("dir/inside"), "dir", ""),
    "unlink-of-a-link": (lambda d: os.unlink("hard"), ".", "hard2"),
    "rmdir": (lambda d: os.rmdir("emptydir"), ".", ""),
    "rename": (lambda d: os.rename("dir/inside", "dir/new"), "dir", ""),
    "rename-out": (lambda d: os.rename("dir/inside", "emptydir/new"), "dir emptydir", ""),
    "rename-over": (lambda d: os.rename("file", "other"), ".", ""),
    "rename-of-a-directory": (lambda d: os.rename("dir", "emptydir"), ".", ""),
    "exchange": (lambda d: calls.renameat2("dir/inside", "file", 2), "dir .", ""),
    "tmpfile": (lambda d: opened("dir", RDWR | os.O_TMPFILE), "", ""),
    "failed-create": (lambda d: fails("EEXIST", os.mkdir, "dir"), "", ""),
    "failed-rmdir": (lambda d: fails("ENOTEMPTY", os.rmdir, "dir"), "", ""),
    "listing": (lambda d: os.listdir("dir"), "", ""),
    "open-and-close": (lambda d: opened("file", RDWR), "", ""),
    "lock": (lambda d: calls.lock(fd_of("file"), 6, 1), "", ""),
    "fsync": (lambda d: os.fsync(fd_of("file")), "", ""),
}
KIT = "file other small empty hard dir emptydir"


def stamps_of():
    found = {}
    for name in [".", *os.listdir(".")]:
        st = os.lstat(name)
        found[name] = (st.st_ino, st.st_mtime_ns, st.st_ctime_ns)
    return found


def stamp_one(action, both, ctime):
    def run(w):
        before = stamps_of()
        tick()
        action(None)
        after = stamps_of()
        moved = {}
        for name in before.keys() & after.keys():
            if before[name][0] != after[name][0]:
                continue  # another file now
            assert after[name][1] >= before[name][1] or name == "file", name
            moved[name] = ("m" if before[name][1] != after[name][1] else "") + \
                ("c" if before[name][2] != after[name][2] else "")
        for name in both.split():
            same(moved[name], "mc", f"{name}:")
        for name in ctime.split():
            same(moved[name], "c", f"{name}:")
        w.note(sorted(moved.items()))
    return run


for _name, (_action, _both, _ctime) in STAMPS.items():
    add(f"stamps.{_name}", stamp_one(_action, _both, _ctime), KIT)


@case()
def a_new_object_is_new(w):
    import time
    before = time.time_ns()
    tick()
    write("f"), os.mkdir("d"), os.symlink("x", "l"), os.mkfifo("p")
    for name in "fdlp":
        st = os.lstat(name)
        for stamp in (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns):
            assert before < stamp <= time.time_ns() + 10**9, (name, stamp - before)


@case("file")
def a_mapping_moves_the_stamps_of_what_it_wrote(w):
    fd = os.open("file", RDWR)
    m = mmap.mmap(fd, 8192)
    os.close(fd)
    before = os.stat("file").st_mtime_ns
    tick()
    m[5000:5003] = b"map"
    m.flush()
    m.close()
    assert os.stat("file").st_mtime_ns > before
