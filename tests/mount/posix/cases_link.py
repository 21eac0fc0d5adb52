# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""symlink, readlink, link, unlink, and files that are open and have no name."""
import calls
import mmap

from case import *
from kit import BIG, noise

KINDS = "file dir emptydir symlink dangling dirlink loop fifo socket"


@case()
def symlink_targets(w):
    for i, target in enumerate([b"x", b"a/b/../c", b"/absolute", b"y" * 255, b"z" * 4095,
                                b"\xff\xfe", b" ", b"."]):
        os.symlink(target, f"l{i}")
        st = os.lstat(f"l{i}")
        same((os.readlink(os.fsencode(f"l{i}")), st.st_size), (target, len(target)))
        same((st.st_mode, st.st_uid, st.st_gid, st.st_nlink),
             (stat.S_IFLNK | 0o777, os.getuid(), os.getgid(), 1))
    fails("ENAMETOOLONG", os.symlink, "z" * 4096, "new")
    fails("ENOENT", os.symlink, "", "new")
    fails("ENOENT", os.symlink, "x", "")


@case(KINDS)
def readlink_of_others(w):
    for name in ("file", "dir", "fifo", "socket", "."):
        fails("EINVAL", os.readlink, name)
    fails("ENOENT", os.readlink, "missing")
    fails("ENOTDIR", os.readlink, "file/x")
    same([os.readlink(n) for n in ("symlink", "dangling", "dirlink", "loop")],
         ["file", "nowhere", "dir", "loop"])
    fails("EINVAL", os.readlink, "dirlink/")


@case("file dir symlink dirlink")
def symlinks_are_followed(w):
    same(os.stat("symlink").st_ino, os.stat("file").st_ino)
    same(read("dirlink/inside"), b"inside")
    with open("symlink", "ab") as f:
        f.write(b"end")
    same(os.stat("file").st_size, BIG + 3)
    os.chmod("symlink", 0o600)
    same(mode_of("file"), 0o600)
    os.unlink("symlink")
    same(os.stat("file").st_size, BIG + 3)
    os.symlink(os.path.abspath("dir"), "absolute")
    same(os.listdir("absolute"), ["inside"])
    os.unlink("absolute")


@case("symlink dangling")
def a_symlink_is_replaced(w):
    for target in ("a", "bb", "ccc" * 100):
        os.unlink("symlink")
        os.symlink(target, "symlink")
        same((os.readlink("symlink"), os.lstat("symlink").st_size), (target, len(target)))
    os.symlink("there", "new")
    os.rename("new", "dangling")
    same(os.readlink("dangling"), "there")


@case("symlink")
def a_symlink_has_attributes(w):
    os.utime("symlink", ns=(1_000_000_007, 2_000_000_009), follow_symlinks=False)
    same(os.lstat("symlink").st_mtime_ns, 2_000_000_009)
    os.chown("symlink", os.getuid(), TEAM, follow_symlinks=False)
    same(os.lstat("symlink").st_gid, TEAM)
    if w.root:
        os.chown("symlink", 12, 34, follow_symlinks=False)
        same(os.lstat("symlink").st_uid, 12)
    fails("EOPNOTSUPP", os.chmod, f"/proc/self/fd/{os.open('symlink', os.O_PATH | os.O_NOFOLLOW)}",
          0o600)


@case("file dir")
def link_is_the_same_file(w):
    os.link("file", "new")
    os.link("new", "dir/third")
    a, b = os.stat("file"), os.stat("dir/third")
    same((a.st_ino, a.st_nlink), (b.st_ino, 3))
    same(b.st_nlink, 3)
    with open("new", "r+b") as f:
        f.write(b"written")
    same(read("dir/third"), b"written" + noise(1, BIG)[7:])
    os.truncate("dir/third", 3)
    os.chmod("file", 0o600)
    os.setxattr("new", "user.x", b"1")
    same((os.stat("new").st_size, mode_of("new"), os.getxattr("file", "user.x")), (3, 0o600, b"1"))
    os.unlink("file")
    same((os.stat("new").st_nlink, read("new")), (2, b"wri"))
    os.unlink("new")
    same((os.stat("dir/third").st_nlink, read("dir/third")), (1, b"wri"))


@case("hard dir")
def links_that_were_there(w):
    """Both names of one file, whichever is touched first."""
    a, b = os.stat("hard"), os.stat("hard2")
    same((a.st_ino, a.st_nlink, b.st_nlink), (b.st_ino, 2, 2))
    with open("hard2", "r+b") as f:
        f.seek(39_000)
        f.write(b"through the second")
    same(read("hard"), noise(3, 40_000)[:39_000] + b"through the second"
         + noise(3, 40_000)[39_018:])
    os.link("hard2", "dir/hard3")
    same((os.stat("hard").st_nlink, os.stat("dir/hard3").st_ino), (3, a.st_ino))
    os.unlink("hard")
    same((os.stat("hard2").st_nlink, os.stat("dir/hard3").st_nlink), (2, 2))
    os.rename("hard2", "dir/moved")
    with open("dir/moved", "ab") as f:
        f.write(b"end")
    same(os.stat("dir/hard3").st_size, 40_003)
    os.unlink("dir/moved")
    same((os.stat("dir/hard3").st_nlink, os.listdir(".")), (1, ["dir"]))


@case("hard")
def one_of_two_links_goes_unread(w):
    """The second name has the content still, fetched or not."""
    os.unlink("hard")
    st = os.stat("hard2")
    same((st.st_nlink, st.st_size), (1, 40_000))
    same(read("hard2"), noise(3, 40_000))
    write("hard", b"another")
    same(os.stat("hard").st_ino == os.stat("hard2").st_ino, False)
    same(read("hard2"), noise(3, 40_000))


@case("hard")
def a_changed_mode_is_that_of_both_links(w):
    os.chmod("hard", 0o600)
    same(mode_of("hard2"), 0o600)
    os.utime("hard2", ns=(0, 77))
    same(os.stat("hard").st_mtime_ns, 77)
    os.truncate("hard", 100)
    same((os.stat("hard2").st_size, read("hard2")), (100, noise(3, 40_000)[:100]))


@case(KINDS)
def link_errors(w):
    fails("EPERM", os.link, "dir", "new")
    fails("EPERM", os.link, "emptydir", "new")
    fails("EPERM", os.link, ".", "new")
    fails("ENOENT", os.link, "missing", "new")
    fails("ENOTDIR", os.link, "file/x", "new")
    fails("ENOTDIR", os.link, "file/", "new")
    fails("ENOTDIR", os.link, "file", "file/new")
    fails("ENOENT", os.link, "file", "missing/new")
    fails("ENOENT", os.link, "file", "new/")
    fails("EEXIST", os.link, "file", "file")
    same(os.stat("file").st_nlink, 1)


@case(KINDS)
def link_of_special_files(w):
    for name in ("symlink", "fifo", "socket", "dangling"):
        os.link(name, f"{name}.new", follow_symlinks=False)
        a, b = os.lstat(name), os.lstat(f"{name}.new")
        same((a.st_ino, a.st_mode, a.st_nlink), (b.st_ino, b.st_mode, 2))
    calls.linkat("symlink", "followed", calls.AT_SYMLINK_FOLLOW)
    same(os.lstat("followed").st_ino, os.stat("file").st_ino)
    same(os.readlink("symlink.new"), "file")


@case("file")
def a_hundred_links(w):
    os.mkdir("d")
    for i in range(100):
        os.link("file", f"d/{i}")
    same(os.stat("file").st_nlink, 101)
    same(len({os.stat(f"d/{n}").st_ino for n in os.listdir("d")}), 1)
    for i in range(99):
        os.unlink(f"d/{i}")
    os.unlink("file")
    same((os.stat("d/99").st_nlink, read("d/99")), (1, noise(1, BIG)))


@case("file dir", left=False)
def link_out_of_the_file_system(w):
    fails("EXDEV", os.link, "file", os.path.join(w.outside, f"x{os.getpid()}"))
    fails("EXDEV", os.rename, "file", os.path.join(w.outside, f"x{os.getpid()}"))
    fails("EXDEV", os.rename, "dir", os.path.join(w.outside, f"x{os.getpid()}"))


UNLINKS = [("file", "ok"), ("symlink", "ok"), ("dangling", "ok"), ("dirlink", "ok"), ("loop", "ok"),
           ("fifo", "ok"), ("socket", "ok"), ("dir", "EISDIR"), ("emptydir", "EISDIR"),
           ("missing", "ENOENT"), ("", "ENOENT"), ("file/", "ENOTDIR"), ("file/x", "ENOTDIR"),
           ("dirlink/", "ENOTDIR"), ("dir/", "EISDIR"), (".", "EISDIR"), ("..", "EISDIR"),
           ("dangling/x", "ENOENT"), ("loop/x", "ELOOP"), ("dirlink/inside", "ok")]


def unlink_one(path, wanted):
    def run(w):
        same(outcome(os.unlink, path), wanted)
        if wanted == "ok":
            fails("ENOENT", os.lstat, path)
            fails("ENOENT", os.unlink, path)
            assert os.path.basename(path) not in os.listdir(os.path.dirname(path) or ".")
    return run


for _path, _wanted in UNLINKS:
    add(f"link.unlink-{_path.replace('/', '_') or 'nothing'}", unlink_one(_path, _wanted), KINDS)


# Files that are open and have no name, whatever they were
def orphan_file(name):
    def run(w):
        wanted = noise(1, BIG)
        if name == "created":
            write(name, wanted)
        elif name == "tmpfile":
            fd = os.open(".", os.O_RDWR | os.O_TMPFILE, 0o644)
            os.pwrite(fd, wanted, 0)
        if name != "tmpfile":
            fd = os.open(name, os.O_RDWR)
        if name == "replaced":
            pass
        if name == "file":
            write("by", b"the other")
            os.rename("by", name)
            same(read(name), b"the other")
        elif name != "tmpfile":
            os.unlink(name)
            fails("ENOENT", os.stat, name)
        st = os.fstat(fd)
        same((st.st_nlink, st.st_size), (0, BIG))
        same(os.pread(fd, 5000, 100_000), wanted[100_000:105_000])
        os.pwrite(fd, b"written", 70_000)
        same(os.pread(fd, 20, 69_995), wanted[69_995:70_000] + b"written" + wanted[70_007:70_015])
        os.ftruncate(fd, 50_000)
        os.ftruncate(fd, 80_000)
        same(os.pread(fd, 100_000, 0), wanted[:50_000] + bytes(30_000))
        os.fchmod(fd, 0o601)
        os.utime(fd, ns=(5, 6))
        os.setxattr(fd, "user.x", b"1")
        st = os.fstat(fd)
        same((stat.S_IMODE(st.st_mode), st.st_mtime_ns, os.getxattr(fd, "user.x")),
             (0o601, 6, b"1"))
        if w.root:
            os.fchown(fd, 12, 34)
            same((os.fstat(fd).st_uid, os.fstat(fd).st_gid), (12, 34))
        calls.fallocate(fd, calls.KEEP_SIZE | calls.PUNCH_HOLE, 0, 4096)
        same(os.pread(fd, 4100, 0), bytes(4096) + wanted[4096:4100])
        os.fsync(fd), os.fdatasync(fd)
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        os.pwrite(again, b"again", 0)
        with mmap.mmap(fd, 80_000) as m:
            same(m[:5], b"again")
            m[40_000:40_003] = b"map"
        os.close(fd)
        same(os.pread(again, 3, 40_000), b"map")
        if name != "tmpfile":
            fails("ENOENT", calls.link_fd, again, "back")
    return run


for _name in ("file", "created", "tmpfile"):
    add(f"link.nameless-{_name}", orphan_file(_name), "file" if _name == "file" else "")


@case("file")
def unlinked_while_it_is_mapped(w):
    with open("file", "r+b") as f:
        m = mmap.mmap(f.fileno(), BIG)
    os.unlink("file")
    same(m[100_000:100_010], noise(1, BIG)[100_000:100_010])
    m[10:13] = b"map"
    m.flush()
    same(m[8:15], noise(1, BIG)[8:10] + b"map" + noise(1, BIG)[13:15])
    write("file", b"new")
    same(read("file"), b"new")


@case("hard")
def one_name_goes_of_an_open_file(w):
    fd = os.open("hard", os.O_RDWR)
    os.unlink("hard")
    same(os.fstat(fd).st_nlink, 1)
    os.pwrite(fd, b"seen", 0)
    same(read("hard2")[:8], b"seen" + noise(3, 40_000)[4:8])
    os.unlink("hard2")
    same((os.fstat(fd).st_nlink, os.pread(fd, 4, 0)), (0, b"seen"))


@case("file")
def unlinked_for_another_process(w):
    fd = os.open("file", os.O_RDWR)
    apart(lambda: os.unlink("file"))
    same((os.fstat(fd).st_nlink, os.listdir(".")), (0, []))
    same(apart(lambda: os.pread(fd, 10, 140_000)), noise(1, BIG)[140_000:140_010])


@case(left=False)
def a_thousand_nameless_files(w):
    fds = []
    for i in range(1000 if w.root else 200):
        fds.append(os.open("same", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        os.write(fds[-1], b"%d" % i)
        os.unlink("same")
    same([os.pread(fd, 10, 0) for fd in fds], [b"%d" % i for i in range(len(fds))])
    same(len({os.fstat(fd).st_ino for fd in fds}), len(fds))
    same(os.listdir("."), [])
