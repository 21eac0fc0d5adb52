# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""chmod, chown, utimensat, statx, statfs, and who may."""
import calls
import time

from calls import NOW, OMIT, utimensat
from case import *
from kit import BIG, OLD, noise

MODES = [0o000, 0o001, 0o111, 0o200, 0o400, 0o444, 0o600, 0o644, 0o755, 0o777, 0o1777, 0o2755,
         0o4755, 0o6755, 0o7777, 0o1000, 0o2644, 0o4000]
KINDS = "file dir symlink dangling loop fifo socket"


def chmod_one(mode):
    def run(w):
        for name in ("file", "dir", "fifo", "socket"):
            os.chmod(name, mode)
            same(mode_of(name), mode, name)
        fd = os.open(".", os.O_RDWR | os.O_TMPFILE, 0o600)
        os.fchmod(fd, mode)
        same(stat.S_IMODE(os.fstat(fd).st_mode), mode)
        os.chmod("dir", 0o755)
        if mode & 0o400 or w.root:
            same(os.stat("file").st_size, BIG)
            same(read("file"), noise(1, BIG))
        else:
            fails("EACCES", read, "file")
    return run


for _mode in MODES:
    add(f"attr.chmod-{_mode:04o}", chmod_one(_mode), "file dir fifo socket")


@case(KINDS)
def chmod_errors(w):
    fails("ENOENT", os.chmod, "missing", 0o600)
    fails("ENOENT", os.chmod, "dangling", 0o600)
    fails("ENOTDIR", os.chmod, "file/x", 0o600)
    fails("ENOTDIR", os.chmod, "file/", 0o600)
    fails("ELOOP", os.chmod, "loop", 0o600)
    os.chmod("symlink", 0o640)
    same((mode_of("file"), mode_of("symlink")), (0o640, 0o777))


@case("file dir", users="root")
def only_the_owner_changes(w):
    os.chmod(".", 0o777)
    for call, wanted in [(lambda: os.chmod("file", 0o777), "EPERM"),
                         (lambda: os.chmod("dir", 0o777), "EPERM"),
                         (lambda: os.chown("file", USER, USER), "EPERM"),
                         (lambda: os.chown("file", -1, TEAM), "EPERM"),
                         (lambda: utimensat("file", (1, 1), (1, 1)), "EPERM"),
                         (lambda: utimensat("file", NOW, NOW), "EACCES"),
                         (lambda: utimensat("file", NOW, OMIT), "EPERM"),
                         (lambda: utimensat("file", OMIT, OMIT), "ok"),
                         (lambda: os.truncate("file", 0), "EACCES"),
                         (lambda: os.setxattr("file", "user.x", b""), "EACCES"),
                         (lambda: os.removexattr("file", "user.x"), "EACCES"),
                         (lambda: opened("file", os.O_WRONLY), "EACCES"),
                         (lambda: opened("file", os.O_RDONLY), "ok"),
                         (lambda: os.mkdir("dir/x"), "EACCES"),
                         (lambda: os.unlink("dir/inside"), "EACCES")]:
        same(as_user(lambda: outcome(call)), wanted)
    os.chmod("file", 0o666)
    same(as_user(lambda: outcome(utimensat, "file", NOW, NOW)), "ok")
    same(as_user(lambda: outcome(utimensat, "file", (1, 1), (1, 1))), "EPERM")
    same(as_user(lambda: outcome(opened, "file", os.O_WRONLY | os.O_TRUNC)), "ok")
    same(as_user(lambda: outcome(os.chmod, "file", 0o777)), "EPERM")


# mode, then who may read, write, search: owner, group, others
ENFORCED = [(0o700, "rwx", "---", "---"), (0o070, "---", "rwx", "---"), (0o007, "---", "---", "rwx"),
            (0o640, "rw-", "r--", "---"), (0o751, "rwx", "r-x", "--x"), (0o077, "---", "rwx", "rwx"),
            (0o604, "rw-", "---", "r--"), (0o000, "---", "---", "---")]


def enforced(mode, *rights):
    def may():
        return "".join(c if os.access("d", f) else "-"
                       for c, f in (("r", os.R_OK), ("w", os.W_OK), ("x", os.X_OK)))

    def can():
        return "".join([
            "r" if outcome(os.listdir, "d") == "ok" else "-",
            "w" if outcome(os.mkdir, f"d/new{os.getpid()}") == "ok" else "-",
            "x" if outcome(os.stat, "d/inside") == "ok" else "-"])

    def run(w):
        os.rename("dir", "d")
        os.chown("d", OTHER, STRANGE)
        os.chmod("d", mode)
        for uid, groups, wanted in ((OTHER, (), rights[0]), (USER, (STRANGE,), rights[1]),
                                    (USER, (TEAM,), rights[2])):
            same(apart(may, uid, uid, groups), wanted, f"access of {uid}")
            got = apart(can, uid, uid, groups)
            # writing in a directory takes both w and x
            same(got, wanted if "x" in wanted else wanted.replace("w", "-"), f"of {uid}")
    return run


for _row in ENFORCED:
    add(f"attr.enforced-{_row[0]:04o}", enforced(*_row), "dir", "root", left=False)


@case(KINDS, users="root")
def chown_by_root(w):
    for name in ("file", "dir", "fifo", "socket"):
        os.chown(name, 12, 34)
        same((os.stat(name).st_uid, os.stat(name).st_gid), (12, 34), name)
        os.chown(name, 70_000, -1)
        same((os.stat(name).st_uid, os.stat(name).st_gid), (70_000, 34), name)
        os.chown(name, -1, 1 << 31)
        same((os.stat(name).st_uid, os.stat(name).st_gid), (70_000, 1 << 31), name)
        os.chown(name, -1, -1)
        same((os.stat(name).st_uid, os.stat(name).st_gid), (70_000, 1 << 31), name)
    os.chown("symlink", 5, 6)
    same((os.stat("file").st_uid, os.lstat("symlink").st_uid), (5, 0))
    os.chown("symlink", 7, 8, follow_symlinks=False)
    same((os.stat("file").st_uid, os.lstat("symlink").st_uid), (5, 7))
    fails("ENOENT", os.chown, "dangling", 1, 1)
    fails("ELOOP", os.chown, "loop", 1, 1)
    fails("ENOTDIR", os.chown, "file/x", 1, 1)
    same(read("file"), noise(1, BIG))


@case("file dir", users="user")
def chown_by_the_owner(w):
    for name in ("file", "dir"):
        fails("EPERM", os.chown, name, OTHER, -1)
        fails("EPERM", os.chown, name, 0, 0)
        fails("EPERM", os.chown, name, -1, STRANGE)
        os.chown(name, USER, TEAM)
        same((os.stat(name).st_uid, os.stat(name).st_gid), (USER, TEAM))
        os.chown(name, -1, USER)
        same(os.stat(name).st_gid, USER)


# What chown does to the set-id bits: of root as of the owner; not of directories
CHOWNS = [(0o4755, 0o755), (0o2755, 0o755), (0o6755, 0o755), (0o6777, 0o777), (0o4644, 0o644),
          (0o2644, None), (0o1755, 0o1755)]


def chown_setid(mode, wanted):
    def run(w):
        os.chmod("file", mode), os.chmod("dir", mode)
        os.chown("file", -1, TEAM), os.chown("dir", -1, TEAM)
        if wanted is not None:
            same(mode_of("file"), wanted)
        w.note(mode_of("file"))
        same(mode_of("dir"), mode)
        os.chmod("file", mode)
        os.chown("file", -1, -1)
        w.note(mode_of("file"))
    return run


for _mode, _wanted in CHOWNS:
    add(f"attr.chown-of-{_mode:04o}", chown_setid(_mode, _wanted), "file dir")


@case("file dir", users="user")
def chmod_setgid_of_a_foreign_group(w):
    """Only a member of the file's group sets the bit."""
    os.chown("file", -1, TEAM), os.chown("dir", -1, TEAM)
    os.chmod("file", 0o2755)
    same(mode_of("file"), 0o2755)

    def outside():
        os.chmod("file", 0o2755), os.chmod("dir", 0o2755)
    apart(outside)
    same((mode_of("file"), mode_of("dir")), (0o2755, 0o2755))


@case("file dir", users="root")
def chmod_setgid_without_the_group(w):
    for name in ("file", "dir"):
        os.chown(name, USER, STRANGE)
        as_user(lambda: os.chmod(name, 0o2755))
        same(mode_of(name), 0o755, name)
        os.chmod(name, 0o2755)
        same(mode_of(name), 0o2755, name)


TIMES = [(0, 0), (1, 1), (OLD, 123_456_789), (OLD, 999_999_999), (-1, 0), (-2, 500_000_000),
         ((1 << 31) - 1, 1), (1 << 31, 0), (1 << 32, 7), ((1 << 33) + 5, 8)]


def utimens_one(sec, nsec):
    def run(w):
        for name in ("file", "dir", "symlink", "fifo"):
            utimensat(name, (5, 6), (sec, nsec), calls.AT_SYMLINK_NOFOLLOW)
            same(os.lstat(name).st_mtime_ns, sec * 10**9 + nsec, name)
            utimensat(name, (sec, nsec), OMIT, calls.AT_SYMLINK_NOFOLLOW)
            same((os.lstat(name).st_atime_ns, os.lstat(name).st_mtime_ns),
                 (sec * 10**9 + nsec,) * 2, name)
    return run


for _sec, _nsec in TIMES:
    add(f"attr.utimens-{_sec}.{_nsec:09}", utimens_one(_sec, _nsec), "file dir symlink fifo")


@case("file symlink")
def utimens_now_and_omit(w):
    before = os.stat("file")
    utimensat("file", OMIT, OMIT)
    after = os.stat("file")
    same((after.st_mtime_ns, after.st_ctime_ns), (before.st_mtime_ns, before.st_ctime_ns))
    utimensat("file", (3, 4), OMIT)
    before = os.stat("file")
    same((before.st_atime_ns, before.st_mtime_ns), (3_000_000_004, after.st_mtime_ns))
    start = time.time_ns()
    tick()
    utimensat("file", OMIT, NOW)
    after = os.stat("file")
    assert start <= after.st_mtime_ns <= time.time_ns()
    same(after.st_atime_ns, before.st_atime_ns)
    assert after.st_ctime_ns > before.st_ctime_ns
    utimensat("file", NOW, (1, 2))
    after = os.stat("file")
    assert start <= after.st_atime_ns <= time.time_ns()
    same(after.st_mtime_ns, 1_000_000_002)
    utimensat("symlink", (3, 4), (5, 6))
    same(os.stat("file").st_mtime_ns, 5_000_000_006)
    fd = os.open("file", os.O_RDONLY)
    calls.futimens(fd, (7, 8), (9, 10))
    same(os.stat("file").st_mtime_ns, 9_000_000_010)
    same(read("file"), noise(1, BIG))


@case(KINDS)
def utimens_errors(w):
    fails("EINVAL", utimensat, "file", (0, 10**9), (0, 0))
    fails("EINVAL", utimensat, "file", (0, 0), (0, -1))
    fails("ENOENT", utimensat, "missing", NOW, NOW)
    fails("ENOENT", utimensat, "dangling", NOW, NOW)
    fails("ELOOP", utimensat, "loop", NOW, NOW)
    fails("ENOTDIR", utimensat, "file/x", NOW, NOW)


@case("file")
def a_time_that_was_set_stays(w):
    """Reading, chmod, rename and another process do not move it."""
    utimensat("file", (5, 6), (7, 8))
    read("file")
    os.chmod("file", 0o600)
    os.rename("file", "moved")
    apart(lambda: read("moved"))
    opened("moved", os.O_RDWR)
    same(os.stat("moved").st_mtime_ns, 7_000_000_008)


@case("file")
def a_time_set_while_it_is_written(w):
    """cp -p and tar: the times given on the descriptor are those after the close."""
    with open("file", "r+b", buffering=0) as f:
        f.write(b"content")
        os.utime(f.fileno(), ns=(1_000_000_001, 2_000_000_002))
    same(os.stat("file").st_mtime_ns, 2_000_000_002)
    with open("new", "wb", buffering=0) as f:
        f.write(bytes(100_000))
        os.utime(f.fileno(), ns=(3, 4))
    same(os.stat("new").st_mtime_ns, 4)
    tick()
    same(os.stat("new").st_mtime_ns, 4)


@case("file dir symlink")
def birth(w):
    for name in ("new", "newdir"):
        os.mkdir(name) if name == "newdir" else opened(name, os.O_CREAT | os.O_WRONLY)
        born = calls.statx_btime(name)
        assert born is not None and abs(born[0] - time.time()) < 60, born
        tick()
        os.chmod(name, 0o700)
        os.utime(name, (1, 1))
        os.rename(name, f"{name}2")
        same(calls.statx_btime(f"{name}2"), born)
    born = calls.statx_btime("file")
    with open("file", "ab") as f:
        f.write(b"x")
    w.note(calls.statx_btime("file") == born)


@case("file empty sparse dir symlink hard")
def stat_fields(w):
    for name, size in (("file", BIG), ("empty", 0), ("sparse", 1 << 20), ("symlink", 4)):
        st = os.lstat(name)
        same(st.st_size, size, name)
        assert st.st_blksize >= 512 and st.st_blksize & (st.st_blksize - 1) == 0
        same(st.st_dev, os.stat(".").st_dev)
    assert os.stat("file").st_blocks * 512 >= BIG // 4096 * 4096
    assert 0 < os.stat("sparse").st_blocks * 512
    same(os.stat("empty").st_blocks, 0)
    inos = [os.lstat(n).st_ino for n in os.listdir(".")]
    same(len(set(inos)), len(inos) - 1)
    assert 0 not in inos
    same(os.stat("file").st_mtime_ns, OLD * 10**9 + 123456789)


@case("file dir tree")
def st_ino_stays(w):
    before = {n: os.stat(n).st_ino for n in ("file", "dir", "tree/a/b", "tree/a/b/f", ".")}
    write("file", b"changed")
    os.chmod("dir", 0o700), os.chmod("tree/a/b/f", 0o600)
    os.truncate("tree/a/b/f", 7)
    write("tree/a/b/new")
    same({n: os.stat(n).st_ino for n in before}, before)
    os.rename("tree/a", "dir/a")
    same((os.stat("dir/a/b").st_ino, os.stat("dir/a/b/f").st_ino),
         (before["tree/a/b"], before["tree/a/b/f"]))
    with open("dir/a/b/f", "rb") as f:
        same(os.fstat(f.fileno()).st_ino, before["tree/a/b/f"])


@case()
def a_new_file_is_not_an_old_one(w):
    """ino is taken by one living file at a time."""
    fds = []
    for i in range(50):
        fds.append(os.open("name", os.O_RDWR | os.O_CREAT, 0o600))
        os.unlink("name")
    same(len({os.fstat(fd).st_ino for fd in fds}), 50)


@case("file dir")
def file_system(w):
    a, b = os.statvfs("file"), os.statvfs("dir")
    same((a.f_blocks, a.f_bsize, a.f_namemax), (b.f_blocks, b.f_bsize, 255))
    assert a.f_blocks > 0 and a.f_bsize >= 512 and a.f_frsize >= 512
    assert 0 < a.f_bavail <= a.f_bfree <= a.f_blocks
    assert 0 < a.f_ffree <= a.f_files
    assert not a.f_flag & os.ST_RDONLY
    w.note(a.f_frsize, a.f_blocks)
    fails("ENOENT", os.statvfs, "missing")
    same(os.pathconf("file", "PC_NAME_MAX"), 255)
