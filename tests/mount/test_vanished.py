# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Directories that go at the source while something in them was made or changed here."""
import errno
import os
import shutil

import pytest

import processes
import trees

NEW = b"made here, and not there"


def error_of(call, *args):
    try:
        call(*args)
    except OSError as e:
        return e.errno
    return 0


def soon(condition):
    assert processes.wait_until(condition)


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
