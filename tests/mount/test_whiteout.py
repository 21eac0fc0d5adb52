# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Whiteouts, and a mount as the upper layer of an overlay (containers in containers)."""
import ctypes
import os
import shutil
import stat
import subprocess

import pytest

import trees

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
libc = ctypes.CDLL(None, use_errno=True)


def rename(a, b, flags):
    failed = libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags)
    return ctypes.get_errno() if failed else 0


def shown(top):
    """Type, device, size and content of every name."""
    found = {}
    for d, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(d, name)
            st = os.lstat(path)
            content = open(path, "rb").read() if stat.S_ISREG(st.st_mode) else None
            found[os.path.relpath(path, top)] = (st.st_mode, st.st_rdev, content)
    return found


def make(top):
    for name in ("file", "other", "d/file", "e/x", "f/x"):
        trees.put(top / name, name.encode() * 1000)
        os.chmod(top / name, 0o644)
    (top / "bare").mkdir()
    os.symlink("file", top / "link")
    for path in (top, *(p for p in top.rglob("*") if p.is_dir())):
        os.chmod(path, 0o755)


CASES = [("file", "new", WHITEOUT), ("file", "other", WHITEOUT), ("d/file", "e/y", WHITEOUT),
         ("d", "moved", WHITEOUT), ("d", "bare", WHITEOUT), ("d", "e", WHITEOUT),
         ("link", "d/file", WHITEOUT), ("file", "new", WHITEOUT | NOREPLACE),
         ("file", "other", WHITEOUT | NOREPLACE), ("file", "other", WHITEOUT | EXCHANGE),
         ("file", "new", 8), ("none", "new", WHITEOUT), ("d", "d/below", WHITEOUT)]


@pytest.mark.sanitize
@pytest.mark.parametrize("kept", [False, True])
def test_a_whiteout_takes_the_old_name(mount, scratch, kept):
    """As natively, of what is remote and of what was changed here."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    source = scratch / "source"
    for n in range(len(CASES)):
        make(source / f"{n}")
    shutil.copytree(source, scratch / "native", symlinks=True)
    m = mount(source, "-o", "rw,dev")
    for n, (a, b, flags) in enumerate(CASES):
        top, native = m / f"{n}", scratch / "native" / f"{n}"
        for path in [top / a, top / b] if kept else []:
            if os.path.lexists(path):
                os.utime(path, (1, 1), follow_symlinks=False)
        assert rename(top / a, top / b, flags) == rename(native / a, native / b, flags), (a, b)
    assert shown(m.path) == shown(scratch / "native")
    m.umount()
    m = m.again()
    assert shown(m.path) == shown(scratch / "native")
    os.unlink(m / "0" / "file")  # it is a name like another, and what was there is not back
    assert not os.path.lexists(m / "0" / "file")
    (m / "3" / "d").unlink(), (m / "3" / "d").mkdir()
    assert os.listdir(m / "3" / "d") == [] and os.stat(m / "3").st_nlink == 7


class Overlay:
    def __init__(self, lower, upper, work, point):
        self.point = point
        point.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir={lower},upperdir={upper},workdir={work}", point], check=True)

    def __enter__(self):
        return self.point

    def __exit__(self, *_):
        subprocess.run(["umount", self.point], check=True)


def change(top):
    """What an overlay makes whiteouts and opaque directories of."""
    os.unlink(top / "file")
    os.rename(top / "other", top / "renamed")
    os.rename(top / "d" / "file", top / "e" / "x")
    shutil.rmtree(top / "f")
    (top / "f").mkdir()
    trees.put(top / "f" / "new", b"new")
    os.rmdir(top / "bare")
    trees.put(top / "bare", b"a file now")
    os.unlink(top / "link")
    (top / "link").mkdir()
    os.rename(top / "renamed", top / "again")
    os.rename(top / "again", top / "other")
    os.unlink(top / "other")
    with open(top / "e" / "x", "ab") as f:
        f.write(b"more")


@pytest.mark.parametrize("lower", ["native", "mount"])
def test_the_upper_layer_of_an_overlay(mount, scratch, lower):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    source = scratch / "source"
    make(source / "lower")
    make(scratch / "native")
    make(scratch / "expected")
    for name in ("up", "work"):
        (source / name).mkdir()
    m = mount(source, "-o", "rw,dev,suid")
    below = m / "lower" if lower == "mount" else scratch / "native"
    with Overlay(below, m / "up", m / "work", scratch / "o") as top:
        change(top), change(scratch / "expected")
        assert shown(top) == shown(scratch / "expected")
    whiteout = os.lstat(m / "up" / "file")
    assert stat.S_ISCHR(whiteout.st_mode) and whiteout.st_rdev == 0
    m.umount()
    m = m.again()
    with Overlay(below, m / "up", m / "work", scratch / "o") as top:
        assert shown(top) == shown(scratch / "expected")
        shutil.rmtree(top / "f"), os.unlink(top / "bare")
        assert not os.path.lexists(top / "f") and not os.path.lexists(top / "bare")
