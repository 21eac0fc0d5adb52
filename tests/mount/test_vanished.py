# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Directories that go at the source while something in them was made or changed here."""
import contextlib
import errno
import os
import shutil
import subprocess

import pytest

import lying
import servers
import trees
from outcomes import error_of, soon

NEW = b"made here, and not there"


def write(path):
    with open(path, "r+b") as f:
        f.write(NEW)


CHANGES = {
    "write": lambda e: write(e / "f"),
    "create": lambda e: (e / "new").write_bytes(NEW),
    "chmod": lambda e: os.chmod(e / "f", 0o600),
    "mkdir": lambda e: (e / "sub").mkdir(),
    "rename": lambda e: os.rename(e / "f", e / "moved"),
    "link": lambda e: os.link(e / "f", e / "linked"),
    "symlink": lambda e: os.symlink("nowhere", e / "link"),
    "mtime": lambda e: os.utime(e / "f", (1, 1)),
    "xattr": lambda e: os.setxattr(e / "f", "user.colour", b"red"),
}
LEFT = {"write": {"f"}, "create": {"new"}, "chmod": {"f"}, "mkdir": {"sub"}, "rename": {"moved"},
        "link": {"f", "linked"}, "symlink": {"link"}, "mtime": {"f"}, "xattr": {"f"}}


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["http", "dir"])
@pytest.mark.parametrize("becomes", ["nothing", "file"])
def test_a_change_keeps_its_ancestors(mount, serve, scratch, becomes, kind):
    source = scratch / "source"
    for change in CHANGES:
        for name in ("f", "g"):
            trees.put(source / change / "d" / "e" / name, b"remote" * 10)
            trees.put(source / change / "d" / "other" / name, b"remote" * 10)
    m = mount(serve(source).url if kind == "http" else source, "-o",
              "rw,listing_ttl=0,retries=0")
    for change, make in CHANGES.items():
        assert (m / change / "d" / "e" / "g").read_bytes() == b"remote" * 10
        make(m / change / "d" / "e")
        os.listdir(m / change / "d" / "other")
    for change in CHANGES:
        shutil.rmtree(source / change / "d")
        if becomes == "file":
            trees.put(source / change / "d", b"a file now")

    def check(m):
        for change in CHANGES:
            top = m / change
            soon(lambda: os.listdir(top / "d") == ["e"])
            soon(lambda: set(os.listdir(top / "d" / "e")) == LEFT[change])
            assert os.listdir(top) == ["d"]
            assert error_of(os.mkdir, top / "d") == errno.EEXIST
            assert error_of(os.rmdir, top / "d" / "e") == errno.ENOTEMPTY
            assert error_of(os.rmdir, top / "d") == errno.ENOTEMPTY
            for name in ("e/g", "other"):  # the kernel hears of it in its own time
                soon(lambda: error_of(os.stat, top / "d" / name) == errno.ENOENT)
        assert (m / "write/d/e/f").read_bytes().startswith(NEW)
        assert (m / "create/d/e/new").read_bytes() == NEW

    check(m)
    m.umount()
    m = m.again()
    check(m)
    for change in CHANGES:  # in it one works as ever, and it can be removed
        (m / change / "d" / "other").mkdir()
        (m / change / "d" / "e" / "more").write_bytes(NEW)
        shutil.rmtree(m / change / "d")
        assert os.listdir(m / change) == []
        os.mkdir(m / change / "d")
        assert os.listdir(m / change / "d") == []


@pytest.mark.sanitize
def test_what_was_put_into_the_store_by_hand_keeps_its_directory(mount, serve, scratch):
    source = scratch / "source"
    trees.put(source / "d" / "e" / "f", b"remote")
    m = mount(serve(source).url, "-o", "rw,listing_ttl=0,retries=0")
    assert (m / "d" / "e" / "f").read_bytes() == b"remote"
    m.umount()
    (m.store / "tree" / "d" / "e" / "mine").write_bytes(NEW)
    m = m.again()
    assert (m / "d" / "e" / "mine").read_bytes() == NEW
    shutil.rmtree(source / "d")
    soon(lambda: os.listdir(m / "d" / "e") == ["mine"])
    m.umount()
    m = m.again()
    assert (os.listdir(m.path), os.listdir(m / "d")) == (["d"], ["e"])
    assert (m / "d" / "e" / "mine").read_bytes() == NEW


def copies(m):
    """The files that the store has in its tree, and how many bytes they take."""
    top = m.store / "tree"
    found = [p for p in top.rglob("*") if p.is_file()]
    return {str(p.relative_to(top)) for p in found}, sum(p.stat().st_blocks for p in found) * 512


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["http", "dir"])
def test_what_nobody_sees_is_the_first_that_evict_takes(mount, lacunafs, serve, scratch, kind):
    source, body = scratch / "source", trees.noise(1, 100_000)
    names = ["stays", "goes", "open", "part", "d/goes", "d/e/goes", "d/open", "k/goes", "k/kept",
             "becomes", "b/file"]
    for name in names:
        trees.put(source / name, body)
    m = mount(serve(source).url if kind == "http" else source, "-o",
              "rw,listing_ttl=0,retries=0,readahead=0")
    for name in names:
        with open(m / name, "rb", buffering=0) as f:
            assert f.read(10 if name == "part" else 200_000)
    with open(m / "k" / "kept", "r+b") as f:
        f.write(NEW)
    held = {name: open(m / name, "rb") for name in ("open", "d/open")}
    for name in ("goes", "open", "part", "becomes"):
        os.unlink(source / name)
    for name in ("d", "k", "b"):
        shutil.rmtree(source / name)
    trees.put(source / "becomes" / "inside", b"a directory now")
    trees.put(source / "b", b"a file now")
    soon(lambda: sorted(os.listdir(m.path)) == ["b", "becomes", "k", "stays"])
    soon(lambda: os.listdir(m / "k") == ["kept"])
    before = os.stat(m / "k").st_mtime_ns, os.stat(m / "k" / "kept").st_mtime_ns
    assert copies(m)[0] >= set(names)
    done = lacunafs.run("evict", m.path)
    assert done.returncode == 0, done.stderr
    assert copies(m)[0] - {"stays", "b"} == {"k/kept", "open", "d/open"}
    assert (os.stat(m / "k").st_mtime_ns, os.stat(m / "k" / "kept").st_mtime_ns) == before
    for name, f in held.items():
        assert f.read() == body
        f.close()
    assert (m / "k" / "kept").read_bytes() == NEW + body[len(NEW):]
    assert (m / "b").read_bytes() == b"a file now"
    assert (m / "becomes" / "inside").read_bytes() == b"a directory now"

    def gone():  # the kernel tells in its own time that they were closed
        assert lacunafs.run("evict", m.path).returncode == 0
        return copies(m)[0] - {"stays", "b", "becomes/inside"} == {"k/kept"}

    soon(gone)
    assert copies(m)[1] < 250_000
    assert os.listdir(m.store / "state" / "maps") == [] or \
        sum(len(os.listdir(d)) for d in (m.store / "state" / "maps").iterdir()) <= 2
    m.umount()
    assert (m.again() / "k" / "kept").read_bytes() == NEW + body[len(NEW):]


@pytest.mark.sanitize
@pytest.mark.parametrize("remounted", [False, True])
def test_a_directory_that_is_never_listed_can_be_removed(mount, web, scratch, remounted):
    """A page has the place of its index: nobody can look into it, and it can be got rid of. Not
    where somebody once could, nor while the server may think of something better."""
    source = scratch / "source"
    for name in ("page", "forbidden", "tree", "deep/page", "deep/page2", "later"):
        trees.put(source / name / "file", b"remote")
    m = mount(web(servers.Nginx, source, extra="""
        location ~ ^/(page|tree|deep/page2?)/$ { index file; }
        location ~ ^/forbidden/$ { autoindex off; }
        location ~ ^/later/$ { return 503; }""").url, "-o", "rw,retries=0,wait_timeout=3s")
    assert error_of(os.listdir, m / "page") == errno.EIO
    os.rmdir(m / "page")
    os.rmdir(m / "forbidden")
    assert error_of(os.rmdir, m / "later") == errno.EIO
    done = subprocess.run(["rm", "-r", m / "tree", m / "deep"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    if remounted:
        m.umount()
        m = m.again()
    assert sorted(os.listdir(m.path)) == ["later"]
    for name in ("page", "tree"):
        assert error_of(os.stat, m / name) == errno.ENOENT
        os.mkdir(m / name)
        assert os.listdir(m / name) == []


@pytest.mark.parametrize("kind", ["http", "dir"])
def test_a_directory_that_was_moved_away_has_vanished_too(mount, serve, scratch, kind):
    """What is in it there: it lists what is here, and can be removed."""
    source = scratch / "source"
    for name in ("d/seen/f", "d/seen/deep/g", "d/unseen/deep/g", "other/h"):
        trees.put(source / name, b"remote" * 10)
    server = serve(source)
    m = mount(server.url if kind == "http" else source, "-o", "rw,listing_ttl=0,retries=0")
    assert (m / "d" / "seen" / "deep" / "g").read_bytes() == b"remote" * 10
    for name in ("seen", "unseen"):
        os.rename(m / "d" / name, m / "other" / name)
    (m / "other" / "seen" / "new").write_bytes(NEW)
    if kind == "http":  # one answer alone is not believed
        assert os.listdir(m / "other" / "unseen") == ["deep"]
        server.lie("/d/unseen/", lying.status(404))
        os.listdir(m / "d")
        with contextlib.suppress(OSError):
            assert os.listdir(m / "other" / "unseen") == ["deep"]
        server.honest()
        soon(lambda: error_of(os.listdir, m / "other" / "unseen") == 0)
    shutil.rmtree(source / "d")
    soon(lambda: sorted(os.listdir(m / "other" / "seen")) == ["new"])
    soon(lambda: os.listdir(m / "other" / "unseen") == [])
    m.umount()
    m = m.again()
    assert (m / "other" / "seen" / "new").read_bytes() == NEW
    assert os.listdir(m / "other" / "unseen") == []
    shutil.rmtree(m / "other")
    assert os.listdir(m.path) == ["d"] or os.listdir(m.path) == []


@pytest.mark.parametrize("first", ["unlink", "rename"])
def test_a_change_by_another_name_stays(mount, scratch, first):
    """A file with several names was kept when one of them went: it has to have one when it is
    changed."""
    source = scratch / "source"
    trees.put(source / "d" / "one", b"remote" * 10)
    for name in ("two", "three"):
        os.link(source / "d" / "one", source / "d" / name)
    m = mount(source, "-o", "rw,listing_ttl=0")
    if first == "unlink":
        os.unlink(m / "d" / "two")
    else:
        os.rename(m / "d" / "two", m / "two")
    write(m / "d" / "one")
    shutil.rmtree(source / "d")
    soon(lambda: "three" not in os.listdir(m / "d"))
    left = "d/one" if first == "unlink" else "two"
    assert (m / left).read_bytes().startswith(NEW)
    m.umount()
    assert (m.again() / left).read_bytes().startswith(NEW)


def test_a_directory_that_was_listed_once_is_no_empty_one(mount, serve, scratch):
    """What was seen in it is in it, whatever the source says now."""
    source = scratch / "source"
    trees.put(source / "d" / "file", b"remote")
    server = serve(source)
    m = mount(server.url, "-o", "rw,listing_ttl=0,retries=0")
    assert os.listdir(m / "d") == ["file"]
    server.lie("/d/", lying.status(403))
    assert error_of(os.rmdir, m / "d") == errno.ENOTEMPTY
    m.umount()
    m = m.again()
    assert error_of(os.rmdir, m / "d") == errno.ENOTEMPTY
    os.unlink(m / "d" / "file"), os.rmdir(m / "d")
    assert os.listdir(m.path) == []


@pytest.mark.parametrize("kind", ["nginx", "dir"])
def test_refresh_of_a_file_that_is_a_directory_now(mount, lacunafs, web, scratch, kind):
    """It is left alone, with the reason, and is a directory when it is listed anew."""
    source, body = scratch / "source", trees.noise(3, 200_000)
    for name in ("f", "g"):
        trees.put(source / name, body)
    m = mount(web(servers.Nginx, source).url if kind == "nginx" else source, "-o", "rw")
    assert (m / "f").read_bytes() == (m / "g").read_bytes() == body
    write(m / "g")
    for name in ("f", "g"):
        os.unlink(source / name)
        trees.put(source / name / "inside", b"below")
    with open(m / "f", "rb") as f:
        done = lacunafs.run("refresh", m / "f", m / "g")
        assert done.returncode == 1
        assert done.stderr.count("it is a directory at the source now") == 2, done.stderr
        assert f.read() == body
    soon(lambda: (m / "f").is_dir() and (m / "f" / "inside").read_bytes() == b"below")
    assert (m / "g").read_bytes() == NEW + body[len(NEW):]
    assert sorted(os.listdir(m.path)) == ["f", "g"]
