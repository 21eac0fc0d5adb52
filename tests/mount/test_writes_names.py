# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Names and attributes of a writable mount, as a native directory would tell them."""
import os
import stat
import subprocess
import sys
import threading
import time

import pytest

import processes


def test_links_of_a_directory_that_its_parent_listed(mount, serve, tree):
    """A listing brings attributes, too."""
    m = mount(serve(tree).url, "-o", "rw")
    os.mkdir(m / "made")

    def listed():
        os.mkdir(m / "other"), os.rmdir(m / "other")  # what the kernel keeps of it goes
        os.listdir(m.path)

    for path in (m / "made", m / "empty"):
        listed(), os.stat(path)
        os.mkdir(path / "one")
        listed()
        assert os.stat(path).st_nlink == 3
        os.rmdir(path / "one")
        listed()
        assert os.stat(path).st_nlink == 2


@pytest.mark.sanitize
@pytest.mark.parametrize("how", ["unlink", "rename"])
def test_a_name_goes_of_two_that_nobody_has_looked_up_both(mount, serve, tree, how):
    """The one that is left is found again, as the file that is open."""
    m = mount(serve(tree).url, "-o", "rw")
    (m / "one").write_bytes(b"of two")
    os.mkdir(m / "made"), os.link(m / "one", m / "made" / "other")
    (m / "new").write_bytes(b"new")
    m.umount()
    m = m.again()
    with open(m / "one", "r+b", buffering=0) as f:
        if how == "unlink":
            os.unlink(m / "one")
        else:
            os.rename(m / "new", m / "one")
        assert os.fstat(f.fileno()).st_nlink == 1
        os.fchmod(f.fileno(), 0o600)
        f.write(b"OF")
        other = os.open(m / "made" / "other", os.O_RDONLY)
        assert os.path.sameopenfile(f.fileno(), other)
        assert (os.read(other, 9), os.fstat(other).st_nlink) == (b"OF two", 1)
        os.close(other)
        os.unlink(m / "made" / "other")
        assert os.fstat(f.fileno()).st_nlink == 0
        assert os.pread(f.fileno(), 9, 0) == b"OF two"
    until = time.monotonic() + 10  # the kernel forgets it in its own time
    while (left := os.listdir(m.store / "state" / "unlinked")) and time.monotonic() < until:
        time.sleep(0.01)
    assert left == []


def test_names_are_counted_right_while_one_is_found_again(mount, tree):
    """What keeps the file while it has no known name is none of them, at any moment."""
    m, count = mount(tree, "-o", "rw"), 60
    os.mkdir(m / "made")
    for n in range(count):
        (m / f"one{n}").write_bytes(b"of two")
        os.link(m / f"one{n}", m / "made" / f"other{n}")
    m.umount()
    m = m.again()
    counted = []
    for n in range(count):
        with open(m / f"one{n}", "rb") as f:
            os.unlink(m / f"one{n}")
            told = [os.stat(m / "made" / f"other{n}").st_nlink]
            with open(m / "made" / f"other{n}", "rb") as other:
                told.append(os.fstat(other.fileno()).st_nlink)
            os.unlink(m / "made" / f"other{n}")
            counted.append(told + [os.fstat(f.fileno()).st_nlink])
    assert [c for c in counted if c != [1, 1, 0]] == []
    assert processes.wait_until(lambda: os.listdir(m.store / "state" / "unlinked") == [])


@pytest.mark.sanitize
@pytest.mark.parametrize("how", ["unlink", "rename"])
def test_a_name_goes_of_two_remote_ones(mount, scratch, how):
    """The other, which counts here and nobody has looked up yet, is of the same file."""
    source = scratch / "source"
    (source / "made").mkdir(parents=True)
    (source / "one").write_bytes(b"of two")
    os.link(source / "one", source / "made" / "other")
    (source / "new").write_bytes(b"new")
    m = mount(source, "-o", "rw")
    os.rename(m / "made" / "other", m / "made" / "else")
    m.umount()
    m = m.again()
    with open(m / "one", "rb", buffering=0) as f:
        if how == "unlink":
            os.unlink(m / "one")
        else:
            os.rename(m / "new", m / "one")
        assert os.path.samestat(os.fstat(f.fileno()), os.stat(m / "made" / "else"))
        with open(m / "made" / "else", "r+b") as g:
            g.write(b"OF")
        with open(f"/proc/self/fd/{f.fileno()}", "rb") as again:
            assert (f.read(), again.read()) == (b"OF two", b"OF two")
        assert os.fstat(f.fileno()).st_nlink == 1
        os.unlink(m / "made" / "else")
        assert os.fstat(f.fileno()).st_nlink == 0


def test_what_was_looked_up_is_opened_after_its_name_went_to_another(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "rw")
    (m / "name").write_bytes(b"before")
    fd = os.open(m / "name", os.O_PATH)
    (m / "new").write_bytes(b"after")
    os.rename(m / "new", m / "name")
    for _ in range(2):
        with open(f"/proc/self/fd/{fd}", "rb") as f:
            assert (f.read(), os.fstat(fd).st_nlink) == (b"before", 0)
    os.close(fd)


@pytest.mark.sanitize
def test_readers_of_a_name_that_is_replaced_all_the_time(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "rw,threads=3")
    (m / "name").write_bytes(b"0")
    until, wrong = time.monotonic() + 3, []

    def read():
        while time.monotonic() < until and not wrong:
            try:
                if not (m / "name").read_bytes():
                    wrong.append("empty")
            except OSError as e:
                wrong.append(e)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for t in readers:
        t.start()
    for n in range(1 << 30):
        if time.monotonic() > until or wrong:
            break
        (m / "new").write_bytes(b"%d" % n)
        os.rename(m / "new", m / "name")
    for t in readers:
        t.join()
    assert wrong == []


def test_copies_that_come_are_no_change_of_a_directory(mount, tree, scratch):
    """Nor are directories on the way to them, nor what comes to count in it."""
    source = scratch / "source"
    (source / "a" / "b" / "c").mkdir(parents=True)
    (source / "a" / "b" / "c" / "file").write_bytes(b"x")
    os.mkfifo(source / "a" / "fifo"), (source / "a" / "one").write_bytes(b"1")
    os.link(source / "a" / "one", source / "a" / "b" / "two")
    for path in ("a/b/c", "a/b", "a", "."):
        os.utime(source / path, (5, 5))
    m = mount(source, "-o", "rw")
    for path in (".", "a"):
        os.utime(m / path, (7, 7))
    before = {p: os.stat(m / p).st_mtime for p in (".", "a", "a/b", "a/b/c")}
    (m / "a" / "b" / "c" / "file").read_bytes()
    os.chmod(m / "a" / "fifo", 0o600), os.chmod(m / "a" / "b" / "two", 0o600)
    os.chmod(m / "a" / "b" / "c", 0o700)
    assert {p: os.stat(m / p).st_mtime for p in before} == before
    m.umount()
    m = m.again()
    assert {p: os.stat(m / p).st_mtime for p in before} == before


def test_the_umask_of_who_makes_something_is_not_that_of_the_store(mount, scratch, nobody):
    source = scratch / "source"
    for n in range(8):
        (source / f"d{n}" / "e").mkdir(parents=True)
        (source / f"d{n}" / "e" / "file").write_bytes(b"x")
    subprocess.run(["chown", "-R", str(nobody), source, *(scratch / n for n in (
        "cache", "run", "home"))], check=True)
    m = mount(source, "-o", "rw,threads=2", user=nobody)
    as_user(nobody, m, """if 1:
        os.chdir(os.environ["MOUNT"])
        for n in range(8):
            os.umask(0o777)
            os.close(os.open(f"made{n}", os.O_CREAT | os.O_WRONLY, 0o666))
            assert os.stat(f"made{n}").st_mode & 0o777 == 0
            os.umask(0o022)
            assert open(f"d{n}/e/file").read() == "x"
            os.chmod(f"d{n}/e/file", 0o600)
            os.truncate(f"d{n}/e/file", 0)
    """)


def as_user(uid, m, script):
    """In a mount of that user's own."""
    subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                    sys.executable, "-c", "import os\n" + script], check=True, cwd="/",
                   env={**os.environ, "MOUNT": str(m.path)})


def test_owners_and_modes_that_the_daemon_may_not_set(mount, scratch, nobody):
    """They stay with what is kept here, also of what carries no attribute, and after a fill."""
    source = scratch / "source"
    source.mkdir()
    given = {"a": (0o4755, 0), "b": (0o444, nobody), "c": (0o640, 3), "d": (0o6755, nobody)}
    for name, (mode, uid) in given.items():
        (source / name).write_bytes(b"x" * 70_000)
        os.chown(source / name, uid, uid), os.chmod(source / name, mode)
    os.symlink("a", source / "l"), os.mkfifo(source / "p")
    os.chown(source / "l", 5, 6, follow_symlinks=False), os.chown(source / "p", 7, 8)
    os.chmod(source / "p", 0o640)
    subprocess.run(["chown", str(nobody), source, *(scratch / n for n in (
        "cache", "run", "home"))], check=True)
    m = mount(source, "-o", "rw,chunk_size=16K", user=nobody)
    wanted = {n: (oct(os.lstat(source / n).st_mode), os.lstat(source / n).st_uid,
                  os.lstat(source / n).st_gid) for n in "abcdlp"}
    script = f"wanted = {wanted}\n" + """if 1:
        os.chdir(os.environ["MOUNT"])
        look = lambda n: (oct(os.lstat(n).st_mode), os.lstat(n).st_uid, os.lstat(n).st_gid)
        assert {n: look(n) for n in "abcdlp"} == wanted
        for n in "abcdlp":
            os.rename(n, n + "x"), os.rename(n + "x", n)
        assert {n: look(n) for n in "abcdlp"} == wanted
        open("a", "rb").read(), open("d", "rb").read()
        assert {n: look(n) for n in "abcdlp"} == wanted
    """
    as_user(nobody, m, script)
    m.umount()
    m = m.again()
    as_user(nobody, m, script)


def test_a_fifo_that_is_open_outlives_its_name(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "rw")
    os.mkfifo(m / "fifo"), os.symlink("target", m / "link")
    fifo = os.open(m / "fifo", os.O_RDWR)
    link = os.open(m / "link", os.O_PATH | os.O_NOFOLLOW)
    os.unlink(m / "fifo"), os.unlink(m / "link")
    os.fchmod(fifo, 0o600)
    assert (stat.S_IMODE(os.fstat(fifo).st_mode), os.fstat(fifo).st_nlink) == (0o600, 0)
    assert os.readlink("", dir_fd=link) == "target"
    os.close(fifo), os.close(link)


def test_a_time_that_was_set_outlives_the_last_fill(mount, serve, tree):
    """Of a file that is in part ours: its local object's is that of the fill."""
    m = mount(serve(tree).url, "-o", "rw,readahead=0,chunk_size=16K")
    with open(m / "big", "r+b") as f:
        f.write(b"ours")
    os.utime(m / "big", (3, 4))
    (m / "big").read_bytes()
    with open(m / "big", "r+b"):
        assert os.stat(m / "big").st_mtime == 4
    m.umount()
    m = m.again()
    assert os.stat(m / "big").st_mtime == 4


@pytest.mark.sanitize
def test_what_is_renamed_while_it_is_changed_first(mount, scratch):
    source = scratch / "source"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
    for n in range(150):
        (source / "a" / f"{n}").write_bytes(b"%d" % n)
    m = mount(source, "-o", "rw,threads=3")
    done = []

    def change(how):
        for n in range(150):
            for path in (m / "a" / f"{n}", m / "b" / f"{n}"):
                try:
                    how(path)
                    break
                except FileNotFoundError:
                    pass
        done.append(how)

    workers = [threading.Thread(target=change, args=(how,)) for how in (
        lambda p: os.chmod(p, 0o600), lambda p: os.setxattr(p, "user.x", b"1"))]
    for t in workers:
        t.start()
    for n in range(150):
        os.rename(m / "a" / f"{n}", m / "b" / f"{n}")
    for t in workers:
        t.join()
    assert len(done) == 2
    for _ in range(2):
        assert os.listdir(m / "a") == []
        assert {n: (m / "b" / n).read_bytes() for n in os.listdir(m / "b")} == \
            {f"{n}": b"%d" % n for n in range(150)}
        m.umount()
        m = m.again()


def test_what_is_kept_later_inherits_nothing(mount, scratch):
    """A default ACL is for what is made after it was set."""
    source = scratch / "source"
    (source / "a" / "b" / "c").mkdir(parents=True)
    (source / "a" / "b" / "c" / "file").write_bytes(b"x"), os.mkfifo(source / "a" / "b" / "fifo")
    m = mount(source, "-o", "rw")
    names = ("a/b", "a/b/c", "a/b/c/file", "a/b/fifo")
    before = {n: (os.stat(m / n).st_mode, os.listxattr(m / n)) for n in names}
    subprocess.run(["setfacl", "-d", "-m", "u:1001:rwx,o::-", m / "a"], check=True)
    (m / "a" / "b" / "c" / "file").read_bytes()
    for name in names:
        os.utime(m / name, (1, 1))
    assert {n: (os.stat(m / n).st_mode, os.listxattr(m / n)) for n in names} == before
    os.mkdir(m / "a" / "new")
    assert os.listxattr(m / "a" / "new") != []
    assert {n: os.stat(m / n).st_mtime for n in names} == {n: 1 for n in names}
