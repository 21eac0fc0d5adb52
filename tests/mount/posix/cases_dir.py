# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""mkdir, rmdir, and reading directories while they change."""
import calls

from case import *

KINDS = "file dir emptydir symlink dangling dirlink loop fifo socket"

# Making something where something is: EEXIST whatever it is, and whatever is made
MAKERS = {"mkdir": os.mkdir, "mkfifo": os.mkfifo, "mknod": lambda n: os.mknod(n, 0o100644),
          "symlink": lambda n: os.symlink("x", n), "link": lambda n: os.link("small", n)}


def exists(maker):
    def run(w):
        for name in KINDS.split():
            fails("EEXIST", maker, name)
        fails("EEXIST", maker, ".")
        fails("EEXIST", maker, "..")
        fails("EEXIST", maker, "dir/.")
        fails("EEXIST", maker, "dir/..")
    return run


def bad_parent(maker):
    def run(w):
        fails("ENOENT", maker, "missing/new")
        fails("ENOENT", maker, "dangling/new")
        fails("ENOTDIR", maker, "file/new")
        fails("ENOTDIR", maker, "fifo/new")
        fails("ENOTDIR", maker, "symlink/new")
        fails("ELOOP", maker, "loop/new")
        fails("ENOENT", maker, "")
        same(os.listdir("dir"), ["inside"])
        maker("dirlink/new")
        same(sorted(os.listdir("dir")), ["inside", "new"])
    return run


def denied(maker):
    def run(w):
        os.chmod("dir", 0o555)
        fails("EACCES", maker, "dir/new")
        fails("EEXIST", maker, "dir/inside")
        os.chmod("dir", 0o666)
        fails("EACCES", maker, "dir/new")
        os.chmod("dir", 0o755)
        same(os.listdir("dir"), ["inside"])
    return run


for _name, _maker in MAKERS.items():
    add(f"dir.exists-{_name}", exists(_maker), KINDS + " small")
    add(f"dir.bad-parent-{_name}", bad_parent(_maker), KINDS + " small")
    add(f"dir.denied-{_name}", denied(_maker), "dir small", "user")


@case()
def mkdir_mode_owner_links(w):
    os.umask(0o027)
    parent = os.stat(".").st_nlink
    os.mkdir("a", 0o777), os.mkdir("b", 0o1777), os.mkdir("c/", 0o700), os.mkdir("d", 0o0)
    same([mode_of(n) for n in "abcd"], [0o750, 0o1750, 0o700, 0])
    st = os.stat("a")
    same((st.st_uid, st.st_gid, st.st_nlink), (os.getuid(), os.getgid(), 2))
    same(os.stat(".").st_nlink, parent + 4)
    same(os.listdir("a"), [])
    os.rmdir("a")
    same(os.stat(".").st_nlink, parent + 3)


@case("tree dir")
def links_of_directories(w):
    same([os.stat(n).st_nlink for n in (".", "tree", "tree/a", "tree/a/b", "dir")], [4, 3, 3, 2, 2])
    os.mkdir("tree/a/new")
    os.rename("dir", "tree/a/b/dir")
    same([os.stat(n).st_nlink for n in (".", "tree", "tree/a", "tree/a/b")], [3, 3, 4, 3])


REMOVES = [("emptydir", "ok"), ("emptydir/", "ok"), ("dir", "ENOTEMPTY"), ("dir/", "ENOTEMPTY"),
           ("file", "ENOTDIR"), ("file/", "ENOTDIR"), ("symlink", "ENOTDIR"),
           ("dirlink", "ENOTDIR"), ("dirlink/", "ENOTDIR"), ("dangling", "ENOTDIR"),
           ("fifo", "ENOTDIR"), ("socket", "ENOTDIR"), ("missing", "ENOENT"), ("", "ENOENT"),
           ("emptydir/.", "EINVAL"), (".", "EINVAL"), ("dir/..", "ENOTEMPTY"),
           ("emptydir/..", "ENOTEMPTY"), ("..", "ENOTEMPTY"), ("missing/x", "ENOENT"),
           ("file/x", "ENOTDIR"), ("loop/x", "ELOOP")]


def remove_one(path, wanted):
    def run(w):
        same(outcome(os.rmdir, path), wanted)
        if wanted == "ok":
            fails("ENOENT", os.lstat, path)
            assert path.rstrip("/") not in os.listdir(".")
    return run


for _path, _wanted in REMOVES:
    add(f"dir.rmdir-{_path.replace('/', '_') or 'nothing'}", remove_one(_path, _wanted), KINDS)


@case("dir dir2")
def rmdir_once_it_is_empty(w):
    os.unlink("dir/inside")
    same(os.listdir("dir"), [])
    os.rmdir("dir")
    os.unlink("dir2/more")
    fails("ENOTEMPTY", os.rmdir, "dir2")
    os.rename("dir2/another", "another")
    os.rmdir("dir2")
    same(os.listdir("."), ["another"])


@case("dir tree")
def a_new_directory_of_an_old_name_is_empty(w):
    os.unlink("dir/inside")
    os.rmdir("dir")
    os.mkdir("dir")
    same(os.listdir("dir"), [])
    fails("ENOENT", os.stat, "dir/inside")
    write("dir/inside", b"new")
    same(read("dir/inside"), b"new")
    for path in ("tree/a/b/f", "tree/a/g", "tree/s"):
        os.unlink(path)
    for path in ("tree/a/b", "tree/a", "tree"):
        os.rmdir(path)
    os.makedirs("tree/a/b")
    same([os.listdir(p) for p in ("tree", "tree/a", "tree/a/b")], [["a"], ["b"], []])


@case("dir")
def a_new_file_of_an_old_name(w):
    for _ in range(3):
        os.unlink("dir/inside")
        fails("ENOENT", os.stat, "dir/inside")
        fails("ENOENT", opened, "dir/inside", os.O_RDWR)
        same(os.listdir("dir"), [])
        opened("dir/inside", os.O_CREAT | os.O_EXCL, 0o600)
        same((os.stat("dir/inside").st_size, mode_of("dir/inside")), (0, 0o600))
        write("dir/inside", b"new")
    os.unlink("dir/inside")
    os.mkdir("dir/inside")
    os.rmdir("dir/inside")
    os.symlink("x", "dir/inside")
    same(os.readlink("dir/inside"), "x")


@case("emptydir")
def a_removed_working_directory(w):
    os.chdir("emptydir")
    os.rmdir("../emptydir")
    fails("ENOENT", opened, "new", os.O_CREAT | os.O_WRONLY)
    fails("ENOENT", os.mkdir, "new")
    fails("ENOENT", os.symlink, "x", "new")
    fails("ENOENT", os.getcwd)
    same(os.listdir("."), [])
    same(os.stat(".").st_nlink, 0)
    fails("ENOENT|EPERM", opened, ".", os.O_RDWR | os.O_TMPFILE)  # EPERM: ext4's


@case("emptydir")
def a_removed_open_directory(w):
    fd = os.open("emptydir", os.O_RDONLY)
    os.rmdir("emptydir")
    os.mkdir("emptydir")
    write("emptydir/new")
    same(os.fstat(fd).st_nlink, 0)
    same(os.listdir(fd), [])
    os.fchmod(fd, 0o700)
    same(stat.S_IMODE(os.fstat(fd).st_mode), 0o700)
    fails("ENOENT", os.mkdir, "x", dir_fd=fd)
    same(mode_of("emptydir"), 0o755)


@case(KINDS + " tree many")
def entries_are_what_lstat_says(w):
    for top in (".", "tree", "tree/a", "dir"):
        with calls.Directory(top) as d:
            found = list(d)
        same(sorted(e.name for e in found),
             sorted([b".", b".."] + [os.fsencode(n) for n in os.listdir(top)]))
        for e in found:
            st = os.lstat(os.path.join(os.fsencode(top), e.name))
            if e.name != b"..":
                same(e.ino, st.st_ino, e.name)
            same(e.type, stat.S_IFMT(st.st_mode) >> 12, e.name)


@case("many")
def positions_are_kept(w):
    """seekdir to any earlier position gives what came after it."""
    with calls.Directory("many") as d:
        found = list(d)
        same(len(found), 302)
        same(len({e.position for e in found}), 302)
        for i in (0, 1, 150, 299, 37, 301):
            d.seek(found[i].position)
            same([e.name for e in d], [e.name for e in found[i + 1:]], i)
        d.rewind()
        same([e.name for e in d], [e.name for e in found])


@case("many", left=False)
def positions_survive_changes(w):
    """What was there all the time is seen once, whatever comes and goes."""
    with calls.Directory("many") as d:
        found = [e for e in d if e.name not in (b".", b"..")]
        for i in range(0, 300, 3):
            os.unlink(os.path.join(b"many", found[i].name))
        for i in range(100):
            write(f"many/new{i}")
        kept = {e.name for i, e in enumerate(found) if i % 3}
        for i in (0, 33, 151, 299):
            d.seek(found[i].position)
            after = [e.name for e in d if e.name in kept]
            same(after, [e.name for e in found[i + 1:] if e.name in kept], i)
        d.rewind()
        names = d.names()
        same(len(names), len(set(names)))
        same(set(names), kept | {b"new%d" % i for i in range(100)})


@case("many")
def reading_while_removing_all(w):
    """As rm -r does, in small pieces: nothing is skipped."""
    fd = os.open("many", os.O_RDONLY)
    removed = 0
    while entries := calls.getdents(fd, 1000):
        for e in entries:
            if e.name not in (b".", b".."):
                os.unlink(e.name, dir_fd=fd)
                removed += 1
    same(removed, 300)
    same(os.listdir("many"), [])
    os.rmdir("many")


@case("many")
def reading_while_renaming_all(w):
    fd = os.open("many", os.O_RDONLY)
    seen = []
    while entries := calls.getdents(fd, 500):
        for e in entries:
            if e.name[:1].isdigit():
                seen.append(e.name)
                os.rename(e.name, b"r" + e.name, src_dir_fd=fd, dst_dir_fd=fd)
    same(len(seen), 300)
    same(len(set(seen)), 300)
    same(all(n.startswith("r") for n in os.listdir("many")), True)


@case("many", left=False)
def reading_while_adding(w):
    fd = os.open("many", os.O_RDONLY)
    before, seen, n = set(os.listdir(b"many")), [], 0
    while (entries := calls.getdents(fd, 1000)) and n < 600:
        seen += [e.name for e in entries]
        for _ in entries:
            write(f"many/added{n}")
            n += 1
    same(len(seen), len(set(seen)))
    same(before - set(seen), set())
    same(len(os.listdir("many")), 300 + n)


@case("dir")
def a_listing_sees_what_just_happened(w):
    for i in range(20):
        write(f"dir/{i}")
        assert f"{i}" in os.listdir("dir")
        os.rename(f"dir/{i}", f"dir/r{i}")
        assert f"{i}" not in os.listdir("dir") and f"r{i}" in os.listdir("dir")
        os.unlink(f"dir/r{i}")
        same(os.listdir("dir"), ["inside"])


@case("dir", left=False)
def two_thousand_entries(w):
    for i in range(2000):
        opened(f"dir/e{i:04}", os.O_CREAT | os.O_WRONLY)
    same(sorted(os.listdir("dir")), sorted(["inside"] + [f"e{i:04}" for i in range(2000)]))
    for i in range(2000):
        os.unlink(f"dir/e{i:04}")
    same(os.listdir("dir"), ["inside"])


@case("dir")
def reading_errors(w):
    fd = os.open("dir", os.O_RDONLY)
    fails("EISDIR", os.read, fd, 10)
    fails("EBADF", os.write, fd, b"x")
    fails("EINVAL", os.ftruncate, fd, 0)
    fails("EINVAL", calls.getdents, fd, 8)
    fails("EISDIR", os.truncate, "dir", 0)
    file = os.open("dir/inside", os.O_RDONLY)
    fails("ENOTDIR", calls.getdents, file, 1000)
    os.fsync(fd)


@case("dir")
def rmdir_denied(w):
    os.mkdir("dir/sub")
    if not w.root:
        os.chmod("dir", 0o555)
        fails("EACCES", os.rmdir, "dir/sub")
        fails("EACCES", os.unlink, "dir/inside")
        os.chmod("dir", 0o755)
    os.rmdir("dir/sub")


@case(users="root")
def the_root_is_busy(w):
    """The mount's own root; natively that of the file system."""
    root = os.getcwd()
    while not os.path.ismount(root):
        root = os.path.dirname(root)
    fails("EBUSY", os.rmdir, root)
    fails("EBUSY|EXDEV", os.rename, root, root + ".moved")


@case("dir")
def dot_dot_leads_back(w):
    here, parent = os.stat("."), os.stat("..")
    same(os.stat("dir/..").st_ino, here.st_ino)
    same(os.stat("dir/../..").st_ino, parent.st_ino)
    os.chdir("dir")
    same(os.stat("..").st_ino, here.st_ino)
    same(read("../dir/inside"), b"inside")
    with calls.Directory(".") as d:
        inos = {e.name: e.ino for e in d}
    same(inos[b"."], os.stat(".").st_ino)
    same(inos[b".."], here.st_ino)
