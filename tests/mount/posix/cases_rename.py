# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""rename(2) and renameat2(2): every kind onto every kind."""
import calls

from calls import EXCHANGE, NOREPLACE, renameat2
from case import *
from kit import BIG, noise

OLD = ["file", "dir", "emptydir", "symlink", "dangling", "dirlink", "fifo", "socket"]
NEW = ["missing", "other", "dir2", "emptydir2", "symlink2", "fifo2"]
DIRECTORIES = ("dir", "emptydir", "dir2", "emptydir2")


def plain_rule(old, new):
    if new == "missing":
        return "ok"
    if old in DIRECTORIES:
        return {"dir2": "ENOTEMPTY", "emptydir2": "ok"}.get(new, "ENOTDIR")
    return "EISDIR" if new in DIRECTORIES else "ok"


def marks(path):
    """What must go with an object when it moves."""
    st = os.lstat(path)
    names = sorted(os.listdir(path)) if stat.S_ISDIR(st.st_mode) else None
    target = os.readlink(path) if stat.S_ISLNK(st.st_mode) else None
    return (st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, names, target,
            st.st_size if names is None else 0)


def plain(old, new, wanted):
    def run(w):
        before = marks(old)
        there = marks(new) if os.path.lexists(new) else None
        same(outcome(os.rename, old, new), wanted)
        if wanted == "ok":
            same(marks(new), before)
            fails("ENOENT", os.lstat, old)
        else:
            same(marks(old), before)
            same(marks(new), there)
    return run


def noreplace(old, new, wanted):
    def run(w):
        before = marks(old)
        same(outcome(renameat2, old, new, NOREPLACE), wanted)
        same(marks(new if wanted == "ok" else old), before)
    return run


def exchange(old, new, wanted):
    def run(w):
        before = marks(old)
        if wanted != "ok":
            fails(wanted, renameat2, old, new, EXCHANGE)
            same(marks(old), before)
            return
        there = marks(new)
        renameat2(old, new, EXCHANGE)
        same((marks(new), marks(old)), (before, there))
        renameat2(old, new, EXCHANGE)
        same((marks(old), marks(new)), (before, there))
    return run


for _old in OLD:
    for _new in NEW:
        _needs = f"{_old} {_new if _new != 'missing' else ''}"
        add(f"rename.{_old}-to-{_new}", plain(_old, _new, plain_rule(_old, _new)), _needs)
        if _old in ("file", "dir", "emptydir", "symlink", "fifo"):
            add(f"rename.noreplace-{_old}-to-{_new}",
                noreplace(_old, _new, "ok" if _new == "missing" else "EEXIST"), _needs)
            add(f"rename.exchange-{_old}-{_new}",
                exchange(_old, _new, "ENOENT" if _new == "missing" else "ok"), _needs)


KIT = "file dir emptydir symlink dangling dirlink loop fifo tree"
ERRORS = [
    ("missing", "new", 0, "ENOENT"), ("missing", "file", 0, "ENOENT"), ("", "new", 0, "ENOENT"),
    ("file", "", 0, "ENOENT"), ("file", "missing/new", 0, "ENOENT"),
    ("missing/x", "new", 0, "ENOENT"), ("file/x", "new", 0, "ENOTDIR"),
    ("file", "fifo/new", 0, "ENOTDIR"), ("dir/inside/x", "new", 0, "ENOTDIR"),
    ("loop/x", "new", 0, "ELOOP"), ("file", "loop/x", 0, "ELOOP"),
    ("file/", "new", 0, "ENOTDIR"), ("file", "new/", 0, "ENOTDIR"), ("dir/", "new/", 0, "ok"),
    ("dir/", "new", 0, "ok"), ("dirlink/", "new", 0, "ENOTDIR"),
    ("dir", "dir/new", 0, "EINVAL"), ("tree", "tree/a/new", 0, "EINVAL"),
    ("tree", "tree/a/b/new", 0, "EINVAL"), ("tree", "tree/a", 0, "EINVAL"),
    ("tree/a", "tree", 0, "ENOTEMPTY"), ("tree/a/g", "tree", 0, "ENOTEMPTY"),
    ("tree/a/b", "tree/a", 0, "ENOTEMPTY"), (".", "new", 0, "EBUSY"), ("..", "new", 0, "EBUSY"),
    ("dir/.", "new", 0, "EBUSY"), ("dir/..", "new", 0, "EBUSY"), ("file", ".", 0, "EBUSY"),
    ("emptydir", "dir/.", 0, "EBUSY"), ("emptydir", "dir/..", 0, "EBUSY"),
    ("file", "file", 0, "ok"), ("dir", "dir", 0, "ok"), ("symlink", "symlink", 0, "ok"),
    ("file", "file", NOREPLACE, "EEXIST"), ("dir", "dir", NOREPLACE, "EEXIST"),
    ("file", "file", EXCHANGE, "ok"), ("file", "new", EXCHANGE, "ENOENT"),
    ("missing", "file", EXCHANGE, "ENOENT"), ("missing", "new", NOREPLACE, "ENOENT"),
    ("file", "new", NOREPLACE | EXCHANGE, "EINVAL"), ("file", "dir", 1 << 20, "EINVAL"),
    ("tree", "tree/a", EXCHANGE, "EINVAL"), ("tree/a", "tree", EXCHANGE, "EINVAL"),
    ("tree/a/b/f", "tree", EXCHANGE, "EINVAL"), ("file", "dir/.", EXCHANGE, "EBUSY"),
    ("dir", "dir/.", NOREPLACE, "EBUSY|EEXIST"), ("file", "dir/inside", NOREPLACE, "EEXIST"),
    ("file", "dir/inside", 0, "ok"), ("file", "dirlink/new", 0, "ok"),
    ("file", "dirlink", 0, "ok"), ("file", "loop", 0, "ok"), ("dir/inside", "inside", 0, "ok"),
]


def error_one(old, new, flags, wanted):
    def run(w):
        got = outcome(renameat2, old, new, flags)
        assert got in wanted.split("|"), f"{got}, not {wanted}"
        w.note(got)
        same(os.path.lexists("file") or wanted == "ok", True)
    return run


for _old, _new, _flags, _wanted in ERRORS:
    _shown = f"{_old or 'nothing'}-{_new or 'nothing'}".replace("/", "_")
    add(f"rename.rule-{_shown}-{_flags}", error_one(_old, _new, _flags, _wanted), KIT)


@case("hard file")
def onto_a_link_of_itself(w):
    os.rename("hard", "hard2")
    same(sorted(os.listdir(".")), ["file", "hard", "hard2"])
    same(os.stat("hard").st_nlink, 2)
    fails("EEXIST", renameat2, "hard", "hard2", NOREPLACE)
    renameat2("hard", "hard2", EXCHANGE)
    same(os.stat("hard2").st_nlink, 2)
    os.link("file", "new")
    os.rename("file", "new")
    same((os.stat("file").st_nlink, os.stat("new").st_nlink), (2, 2))


@case("hard file dir")
def over_one_of_two_links(w):
    os.rename("file", "hard2")
    same((os.stat("hard").st_nlink, read("hard")), (1, noise(3, 40_000)))
    same(read("hard2"), noise(1, BIG))
    os.rename("hard", "dir/hard")
    same(read("dir/hard"), noise(3, 40_000))


@case("file other")
def over_an_open_file(w):
    with open("other", "r+b", buffering=0) as f:
        os.rename("file", "other")
        same(os.fstat(f.fileno()).st_nlink, 0)
        same(f.read(), noise(2, 5000))
        f.write(b"still")
        same(os.pread(f.fileno(), 10, 5000), b"still")
        same(read("other"), noise(1, BIG))
        same(os.stat("other").st_size, BIG)


@case("file dir")
def of_an_open_file(w):
    with open("file", "r+b", buffering=0) as f:
        os.rename("file", "dir/moved")
        f.write(b"written")
        same(read("dir/moved"), b"written" + noise(1, BIG)[7:])
        os.rename("dir/moved", "back")
        f.truncate(9)
        same(read("back"), b"written" + noise(1, BIG)[7:9])
        write("file", b"another")
        same(os.fstat(f.fileno()).st_size, 9)


@case("file other")
def exchange_of_open_files(w):
    a, b = os.open("file", os.O_RDWR), os.open("other", os.O_RDWR)
    renameat2("file", "other", EXCHANGE)
    os.pwrite(a, b"first", 0), os.pwrite(b, b"second", 0)
    same(read("other"), b"first" + noise(1, BIG)[5:])
    same(read("file"), b"second" + noise(2, 5000)[6:])


@case("tree dir emptydir")
def a_directory_keeps_what_is_in_it(w):
    os.rename("tree", "dir/moved")
    same(read("dir/moved/a/b/f"), noise(4, 20_000))
    same(os.readlink("dir/moved/s"), "a/g")
    fails("ENOENT", os.stat, "tree/a")
    write("dir/moved/a/new", b"new")
    os.unlink("dir/moved/a/g")
    os.rename("dir/moved", "tree")
    same(sorted(os.listdir("tree/a")), ["b", "new"])
    os.rename("tree/a", "emptydir")
    same(read("emptydir/b/f"), noise(4, 20_000))
    same(os.listdir("tree"), ["s"])


@case("tree")
def the_old_name_is_free(w):
    os.rename("tree", "moved")
    os.mkdir("tree")
    same(os.listdir("tree"), [])
    os.mkdir("tree/a")
    same(os.listdir("tree/a"), [])
    write("tree/a/g", b"another")
    same((read("moved/a/g"), read("tree/a/g")), (b"g", b"another"))
    renameat2("tree", "moved", EXCHANGE)
    same((read("moved/a/g"), read("tree/a/g")), (b"another", b"g"))


@case("tree")
def a_chain_of_directories(w):
    """Each rename inside one that moved before."""
    for i in range(20):
        os.rename("tree" if i == 0 else f"t{i - 1}", f"t{i}")
        os.rename(f"t{i}/a", f"t{i}/a2")
        os.rename(f"t{i}/a2", f"t{i}/a")
    same(read("t19/a/b/f"), noise(4, 20_000))
    os.rename("t19/a/b/f", "f")
    same(os.listdir("t19/a/b"), [])
    os.rename("t19/a/b", "b")
    same(sorted(os.listdir("t19/a")), ["g"])


@case("file other small")
def three_in_a_circle(w):
    for _ in range(7):
        os.rename("file", "t"), os.rename("other", "file")
        os.rename("small", "other"), os.rename("t", "small")
    same((read("small"), read("file"), read("other")),
         (noise(1, BIG), noise(2, 5000), b"0123456789"))


@case("tree")
def the_working_directory_moves(w):
    here = os.getcwd()
    os.chdir("tree/a")
    os.rename("../../tree", "../../moved")
    same(os.getcwd(), os.path.join(here, "moved", "a"))
    same(read("g"), b"g")
    same(sorted(os.listdir("..")), ["a", "s"])
    write("new", b"new")
    same(read(os.path.join(here, "moved/a/new")), b"new")


@case("tree dir")
def dot_dot_follows(w):
    os.rename("tree/a/b", "dir/b")
    same(os.stat("dir/b/..").st_ino, os.stat("dir").st_ino)
    same(read("dir/b/../inside"), b"inside")


@case("dir emptydir file")
def a_directory_open_for_reading(w):
    fd = os.open("dir", os.O_RDONLY)
    os.rename("dir", "emptydir")
    write("emptydir/new")
    same(sorted(os.listdir(fd)), ["inside", "new"])
    os.rename("file", "at", dst_dir_fd=fd)
    same(os.stat("emptydir/at").st_size, BIG)


@case("file")
def back_and_forth(w):
    ino = os.stat("file").st_ino
    for i in range(100):
        os.rename("file", "elif"), os.rename("elif", "file")
    same((os.stat("file").st_ino, os.listdir("."), read("file")), (ino, ["file"], noise(1, BIG)))


@case("file dir")
def in_and_out(w):
    """A name that is remote, gone, another, and gone again."""
    os.rename("dir/inside", "inside")
    same(os.listdir("dir"), [])
    os.rename("file", "dir/inside")
    same(read("dir/inside"), noise(1, BIG))
    os.rename("dir/inside", "dir/file")
    fails("ENOENT", os.stat, "dir/inside")
    os.rename("inside", "dir/inside")
    same(read("dir/inside"), b"inside")
    same(sorted(os.listdir("dir")), ["file", "inside"])


@case("dir file", users="user")
def denied(w):
    os.chmod("dir", 0o555)
    fails("EACCES", os.rename, "file", "dir/new")
    fails("EACCES", os.rename, "dir/inside", "new")
    fails("EACCES", os.rename, "dir/inside", "dir/new")
    fails("EACCES", renameat2, "file", "dir/inside", EXCHANGE)
    os.mkdir("sub")
    os.chmod("sub", 0o555)  # its .. would be written
    fails("EACCES", os.rename, "sub", "dir/sub")
    os.chmod("dir", 0o755)
    fails("EACCES", os.rename, "sub", "dir/sub")
    os.rename("sub", "sub2")


@case(left=False)
def atomic_for_readers(w):
    """The name is there at every moment, with one of the two contents, whole."""
    write("name", b"a" * 10_000)
    pid = os.fork()
    if pid == 0:
        for i in range(300):
            write("new", b"ab"[i % 2:i % 2 + 1] * 10_000)
            os.rename("new", "name")
        os._exit(0)
    seen = 0
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        got = read("name")
        assert got in (b"a" * 10_000, b"b" * 10_000), (len(got), got[:10])
        seen += 1
    assert seen > 0
