# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""open(2), names and paths."""
import calls
from case import *
from kit import BIG, noise

RD, WR, RDWR, CREAT, EXCL, TRUNC, APPEND = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT,
                                            os.O_EXCL, os.O_TRUNC, os.O_APPEND)
DIRECTORY, NOFOLLOW, PATH, NONBLOCK, TMPFILE = (os.O_DIRECTORY, os.O_NOFOLLOW, os.O_PATH,
                                                os.O_NONBLOCK, os.O_TMPFILE)
KIT = "file dir symlink dangling dirlink loop fifo socket"

# path, flags, outcome; each in a fresh directory
OPENS = [
    ("missing", RD, "ENOENT"), ("missing", WR, "ENOENT"), ("missing", RDWR | TRUNC, "ENOENT"),
    ("missing", RDWR | CREAT, "ok"), ("missing", RDWR | CREAT | EXCL, "ok"),
    ("missing", RD | CREAT, "ok"), ("missing/", RDWR | CREAT, "EISDIR"),
    ("missing/x", RDWR | CREAT, "ENOENT"), ("", RD, "ENOENT"), ("", RDWR | CREAT, "ENOENT"),
    ("file", RD, "ok"), ("file", WR, "ok"), ("file", RDWR, "ok"), ("file", RDWR | CREAT, "ok"),
    ("file", RDWR | CREAT | EXCL, "EEXIST"), ("file", RD | DIRECTORY, "ENOTDIR"),
    ("file", RD | NOFOLLOW, "ok"), ("file", PATH, "ok"), ("file/", RD, "ENOTDIR"),
    ("file/.", RD, "ENOTDIR"), ("file/x", RD, "ENOTDIR"), ("file/x", RDWR | CREAT, "ENOTDIR"),
    ("file/..", RD, "ENOTDIR"), ("file", RDWR | TMPFILE, "ENOTDIR"),
    ("dir", RD, "ok"), ("dir", RD | DIRECTORY, "ok"), ("dir/", RD, "ok"), ("dir/.", RD, "ok"),
    ("dir", WR, "EISDIR"), ("dir", RDWR, "EISDIR"), ("dir", RD | TRUNC, "EISDIR"),
    ("dir", RD | CREAT, "EISDIR"), ("dir", RD | CREAT | EXCL, "EEXIST"),
    ("dir/missing", RD, "ENOENT"), ("dir/inside", RD, "ok"), ("dir/../file", RD, "ok"),
    ("dir/inside/x", RD, "ENOTDIR"), ("dir", RD | DIRECTORY | NOFOLLOW, "ok"),
    ("dir", RDWR | TMPFILE, "ok"), ("dir", WR | TMPFILE, "ok"), ("dir", RD | TMPFILE, "EINVAL"),
    ("missing", RDWR | TMPFILE, "ENOENT"), ("dir", PATH, "ok"), (".", RD, "ok"), ("..", RD, "ok"),
    ("symlink", RD, "ok"), ("symlink", RDWR, "ok"), ("symlink", RDWR | CREAT, "ok"),
    ("symlink", RDWR | CREAT | EXCL, "EEXIST"), ("symlink", RD | NOFOLLOW, "ELOOP"),
    ("symlink", PATH | NOFOLLOW, "ok"), ("symlink", RD | DIRECTORY, "ENOTDIR"),
    ("symlink/", RD, "ENOTDIR"), ("dangling", RD, "ENOENT"), ("dangling", RDWR | CREAT, "ok"),
    ("dangling", RDWR | CREAT | EXCL, "EEXIST"),
    ("dangling", RDWR | CREAT | NOFOLLOW, "ELOOP"), ("dangling/", RD, "ENOENT"),
    ("dirlink", RD, "ok"), ("dirlink", RD | DIRECTORY, "ok"), ("dirlink/", RD, "ok"),
    ("dirlink", RD | NOFOLLOW, "ELOOP"), ("dirlink", RD | DIRECTORY | NOFOLLOW, "ENOTDIR"),
    ("dirlink/inside", RD, "ok"), ("dirlink/inside", RD | NOFOLLOW, "ok"),
    ("dirlink/new", RDWR | CREAT, "ok"),
    ("loop", RD, "ELOOP"), ("loop/x", RD, "ELOOP"), ("loop", RDWR | CREAT, "ELOOP"),
    ("loop", PATH | NOFOLLOW, "ok"),
    ("fifo", RD | NONBLOCK, "ok"), ("fifo", WR | NONBLOCK, "ENXIO"), ("fifo", RDWR, "ok"),
    ("fifo", RDWR | CREAT | EXCL, "EEXIST"), ("fifo", RD | NONBLOCK | TRUNC, "ok"),
    ("socket", RD, "ENXIO"), ("socket", RDWR, "ENXIO"), ("socket", PATH, "ok"),
]


def show(flags):
    names = ["O_RDONLY", "O_WRONLY", "O_RDWR"][flags & 3:(flags & 3) + 1]
    rest = flags & ~3
    if rest & TMPFILE == TMPFILE:
        names.append("O_TMPFILE")
        rest &= ~TMPFILE
    names += [n for n in ("CREAT", "EXCL", "TRUNC", "DIRECTORY", "NOFOLLOW", "PATH", "NONBLOCK")
              if rest & getattr(os, f"O_{n}")]
    return "|".join(names)


def open_one(path, flags, wanted):
    def run(w):
        same(outcome(opened, path, flags), wanted)
        if wanted != "ok":
            return
        if flags & CREAT:
            assert os.path.lexists(path)
        if flags & TRUNC and os.path.isfile(path):
            same(os.stat(path).st_size, 0)
    return run


for _path, _flags, _wanted in OPENS:
    add(f"open.{_path or 'nothing'}-{show(_flags)}", open_one(_path, _flags, _wanted), KIT)


@case()
def create_has_owner_and_mode(w):
    os.umask(0o027)
    opened("a", WR | CREAT, 0o666)
    opened("b", WR | CREAT | EXCL, 0o7777)
    os.umask(0)
    opened("c", WR | CREAT, 0o621)
    st = os.stat("a")
    same((st.st_uid, st.st_gid, st.st_size, st.st_nlink), (os.getuid(), os.getgid(), 0, 1))
    same([mode_of(n) for n in "abc"], [0o640, 0o7750, 0o621])


@case("file")
def create_keeps_what_is_there(w):
    opened("file", RDWR | CREAT, 0o600)
    same(mode_of("file"), 0o644)
    same(read("file"), noise(1, BIG))


@case("file hard")
def trunc(w):
    before = os.stat("file")
    opened("file", WR | CREAT | TRUNC, 0o600)
    after = os.stat("file")
    same((after.st_size, after.st_mode, after.st_ino), (0, before.st_mode, before.st_ino))
    assert after.st_mtime_ns > before.st_mtime_ns
    same(read("file"), b"")
    opened("hard", RDWR | TRUNC)
    same(os.stat("hard2").st_size, 0)


@case("file")
def trunc_readonly_truncates(w):
    opened("file", RD | TRUNC)
    same(os.stat("file").st_size, 0)


@case("file")
def trunc_is_seen_by_an_open_descriptor(w):
    with open("file", "rb", buffering=0) as f:
        same(f.read(10), noise(1, BIG)[:10])
        opened("file", WR | TRUNC)
        same(os.fstat(f.fileno()).st_size, 0)
        same(f.read(10), b"")
        write("file", b"new content here")
        same(os.pread(f.fileno(), 100, 0), b"new content here")


@case("file empty")
def append(w):
    a, b = (os.open("file", WR | APPEND) for _ in range(2))
    os.write(a, b"one"), os.write(b, b"two"), os.write(a, b"three")
    os.lseek(a, 5, os.SEEK_SET)
    os.write(a, b"four")
    same(os.lseek(a, 0, os.SEEK_CUR), BIG + 15)
    os.pwrite(a, b"five", 0)  # Linux appends all the same
    same(read("file"), noise(1, BIG) + b"onetwothreefourfive")
    os.ftruncate(a, 3)
    os.write(b, b"six")
    same(read("file"), noise(1, BIG)[:3] + b"six")


@case("file")
def append_beside_a_plain_writer(w):
    a, b = os.open("file", WR | APPEND), os.open("file", RDWR)
    os.pwrite(b, b"far", BIG + 1000)
    os.write(a, b"end")
    same(os.fstat(b).st_size, BIG + 1006)
    same(os.pread(b, 100, BIG + 1000), b"farend")


@case()
def append_by_eight_processes(w):
    """No record is lost or torn."""
    opened("log", WR | CREAT)
    pids = []
    for i in range(8):
        pids.append(os.fork())
        if pids[-1] == 0:
            fd = os.open("log", WR | APPEND)
            for j in range(50):
                os.write(fd, b"%d %02d\n" % (i, j))
            os._exit(0)
    same([os.waitpid(p, 0)[1] for p in pids], [0] * 8)
    lines = read("log").splitlines()
    same(sorted(lines), sorted(b"%d %02d" % (i, j) for i in range(8) for j in range(50)))
    for i in range(8):
        mine = [line for line in lines if line.startswith(b"%d " % i)]
        same(mine, sorted(mine))
    os.unlink("log")


@case("file")
def access_mode_of_the_descriptor(w):
    a, b, p = os.open("file", RD), os.open("file", WR), os.open("file", PATH)
    fails("EBADF", os.write, a, b"x")
    fails("EBADF", os.read, b, 1)
    fails("EBADF", os.read, p, 1)
    fails("EBADF", os.fchmod, p, 0o600)
    fails("EINVAL", os.ftruncate, a, 0)
    fails("EBADF", os.posix_fallocate, a, 0, 10)
    same(os.fstat(p).st_size, BIG)


@case()
def mode_does_not_bind_its_maker(w):
    fd = os.open("a", RDWR | CREAT, 0)
    os.write(fd, b"content")
    same(os.pread(fd, 10, 0), b"content")
    fd = os.open("b", WR | CREAT | EXCL, 0o444)
    os.write(fd, b"content")
    same(read("b"), b"content")


@case("closed readonly dir", users="user")
def denied(w):
    fails("EACCES", opened, "closed", RD)
    fails("EACCES", opened, "closed", WR | TRUNC)
    fails("EACCES", opened, "readonly", WR)
    fails("EACCES", opened, "readonly", RD | TRUNC)
    same(os.stat("closed").st_size, 10)
    os.chmod("dir", 0o555)
    fails("EACCES", opened, "dir/new", WR | CREAT)
    fails("EACCES", opened, "dir", RDWR | TMPFILE)
    os.chmod("dir", 0o666)
    fails("EACCES", opened, "dir/inside", RD)
    fails("EACCES", os.stat, "dir/inside")
    os.listdir("dir")
    os.chmod("dir", 0o311)
    fails("EACCES", os.listdir, "dir")
    opened("dir/inside", RD)
    opened("dir/new", WR | CREAT)
    os.chmod("dir", 0o755)


@case("closed readonly dir", users="root")
def root_is_not_denied(w):
    same(read("closed"), b"0123456789")
    write("readonly", b"new")
    os.chmod("dir", 0)
    write("dir/new", b"")
    same(sorted(os.listdir("dir")), ["inside", "new"])


@case("file")
def sync_flags(w):
    for flags in (os.O_SYNC, os.O_DSYNC, os.O_SYNC | APPEND):
        fd = os.open("file", RDWR | flags)
        os.pwrite(fd, b"sync", 70_000)
        os.close(fd)
    same(read("file"), noise(1, BIG)[:70_000] + b"sync" + noise(1, BIG)[70_004:] + b"sync")


@case("file")
def reopened_through_proc(w):
    fd = os.open("file", RD)
    again = os.open(f"/proc/self/fd/{fd}", RDWR)
    os.write(again, b"again")
    same(os.pread(fd, 5, 0), b"again")


@case("file", users="root")
def noatime_is_the_owners(w):
    opened("file", RD | os.O_NOATIME)
    same(as_user(lambda: outcome(opened, "file", RD | os.O_NOATIME)), "EPERM")


@case("file")
def many_descriptors(w):
    fds = [os.open("file", RDWR) for _ in range(200)]
    for i, fd in enumerate(fds):
        os.pwrite(fd, b"%03d" % i, i * 3)
    same(os.pread(fds[0], 600, 0), b"".join(b"%03d" % i for i in range(200)))


@case("dir")
def tmpfile(w):
    fd = os.open("dir", RDWR | TMPFILE, 0o640)
    st = os.fstat(fd)
    same((st.st_nlink, st.st_size, st.st_uid, stat.S_IMODE(st.st_mode)),
         (0, 0, os.getuid(), 0o640))
    same(os.listdir("dir"), ["inside"])
    os.write(fd, b"without a name")
    os.setxattr(fd, "user.x", b"1")
    os.fchmod(fd, 0o600)
    os.ftruncate(fd, 11)
    same(os.pread(fd, 100, 0), b"without a n")
    calls.link_fd(fd, "dir/named")
    same(read("dir/named"), b"without a n")
    st = os.stat("dir/named")
    same((st.st_ino, st.st_nlink, stat.S_IMODE(st.st_mode)), (os.fstat(fd).st_ino, 1, 0o600))
    same(os.getxattr("dir/named", "user.x"), b"1")
    os.pwrite(fd, b"ame", 11)
    same(read("dir/named"), b"without a name")


@case("dir file")
def tmpfile_link_fails(w):
    fd = os.open("dir", RDWR | TMPFILE | EXCL, 0o600)
    fails("ENOENT", calls.link_fd, fd, "dir/named")
    fd = os.open(".", RDWR | TMPFILE, 0o600)
    fails("EEXIST", calls.link_fd, fd, "file")
    fails("ENOENT", calls.link_fd, fd, "missing/named")
    calls.link_fd(fd, "a"), calls.link_fd(fd, "b")
    same(os.fstat(fd).st_nlink, 2)
    same(sorted(os.listdir("dir")), ["inside"])


@case()
def tmpfile_that_is_closed_is_gone(w):
    for _ in range(20):
        fd = os.open(".", RDWR | TMPFILE, 0o600)
        os.write(fd, bytes(100_000))
        os.close(fd)
    same(os.listdir("."), [])
    os.mkdir("d")
    os.rmdir("d")


# Names of 255 bytes and of 256, everywhere a name is taken
LONG, TOO_LONG = "n" * 255, "n" * 256
NAMES = {
    "creat": (lambda n: opened(n, WR | CREAT), ""), "open": (lambda n: opened(n, RD), "file"),
    "mkdir": (os.mkdir, ""), "rmdir": (os.rmdir, "emptydir"), "unlink": (os.unlink, "file"),
    "mkfifo": (os.mkfifo, ""), "mknod": (lambda n: os.mknod(n, 0o100600), ""),
    "symlink": (lambda n: os.symlink("x", n), ""), "readlink": (os.readlink, "symlink"),
    "link": (lambda n: os.link("small", n), ""), "link from": (lambda n: os.link(n, "new"), "file"),
    "rename": (lambda n: os.rename("small", n), ""),
    "rename from": (lambda n: os.rename(n, "new"), "file"),
    "stat": (os.stat, "file"), "chmod": (lambda n: os.chmod(n, 0o600), "file"),
    "chown": (lambda n: os.chown(n, -1, -1), "file"), "truncate": (lambda n: os.truncate(n, 5),
                                                                   "file"),
    "utimens": (os.utime, "file"), "setxattr": (lambda n: os.setxattr(n, "user.x", b""), "file"),
    "chdir": (os.chdir, "emptydir"), "statvfs": (os.statvfs, "file"),
}


def name_one(call, from_kit):
    def run(w):
        if from_kit:
            os.rename(from_kit, LONG)
        fails("ENAMETOOLONG", call, TOO_LONG)
        fails("ENAMETOOLONG", call, f"{TOO_LONG}/x")
        call(LONG)
    return run


for _name, (_call, _from) in NAMES.items():
    add(f"name.255-and-256-{_name.replace(' ', '-')}", name_one(_call, _from),
        f"small {_from}")


@case("small")
def path_max(w):
    longest = "./" * 2045 + "small"
    same(len(longest), 4095)  # and a NUL
    same(read(longest), b"0123456789")
    for call in (os.stat, os.unlink, os.mkdir, os.listdir):
        fails("ENAMETOOLONG", call, "./" * 2045 + ".small")


@case(left=False)
def deeper_than_path_max(w):
    """30 directories with names of 255 bytes: made, filled and removed by descriptors."""
    fds = [os.open(".", RD)]
    for _ in range(30):
        os.mkdir(LONG, dir_fd=fds[-1])
        fds.append(os.open(LONG, RD | DIRECTORY, dir_fd=fds[-1]))
    fd = os.open("deep", RDWR | CREAT, 0o600, dir_fd=fds[-1])
    os.write(fd, b"deep")
    os.close(fd)
    same(os.listdir(fds[-1]), ["deep"])
    os.rename("deep", "moved", src_dir_fd=fds[-1], dst_dir_fd=fds[15])
    os.setxattr(fds[-1], "user.x", b"1")
    fd = os.open("moved", RD, dir_fd=fds[15])
    same(os.read(fd, 10), b"deep")
    os.close(fd)
    os.unlink("moved", dir_fd=fds[15])
    for parent in reversed(fds[:-1]):
        os.rmdir(LONG, dir_fd=parent)
    same(os.listdir("."), [])


@case()
def difficult_names(w):
    names = [b"\xff\xfe", b" ", b"\n", b"a\\b", b"*", b"..a", b"...", b".hidden", b"-rf", b"\x01",
             "\u00fc\u2603".encode(), b"%2F", b"a:b", b"con", b"user.lacuna", b"A", b"a",
             "u\u0308".encode(), "\u00fc".encode(), b"x" * 255, b"\x80" * 255]
    for name in names:
        write(name, name)
    same(sorted(os.listdir(b".")), sorted(names))
    for name in names:
        same(read(name), name)
        os.rename(name, name[:250] + b".new")
    same(sorted(os.listdir(b".")), sorted(n[:250] + b".new" for n in names))


@case()
def forty_symlinks_and_no_more(w):
    write("end", b"end")
    os.symlink("end", "l00")
    for i in range(1, 41):
        os.symlink(f"l{i - 1:02}", f"l{i:02}")
    same(read("l39"), b"end")
    fails("ELOOP", read, "l40")
