# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""readdir(3) of directories that change meanwhile: it ends, positions survive, and what stays is
given once."""
import ctypes
import os
import random

import pytest

import trees

libc = ctypes.CDLL(None, use_errno=True)
libc.fdopendir.restype = libc.readdir64.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = libc.closedir.argtypes = libc.readdir64.argtypes = [ctypes.c_void_p]
libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


class Walk:
    """readdir(3), one entry after the other."""

    def __init__(self, path):
        self.dir = libc.fdopendir(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def next(self):
        entry = libc.readdir64(self.dir)
        if not entry:
            return None
        name = os.fsdecode(ctypes.string_at(entry + 19))  # after ino, off, reclen, type
        return name if name not in (".", "..") else self.next()

    def rest(self):
        found = []
        while (name := self.next()) is not None:
            found.append(name)
        return found

    def tell(self):
        return libc.telldir(self.dir)

    def seek(self, position):
        libc.seekdir(self.dir, position)

    def rewind(self):
        libc.rewinddir(self.dir)

    def close(self):
        libc.closedir(self.dir)


def walk_of(path):
    walk = Walk(path)
    try:
        return walk.rest()
    finally:
        walk.close()


LONG = "x" * 200  # a few hundred of them are more than readdir(3) reads at once


def made(mount, serve, scratch, where, count, *options):
    """A mount with `count` files in d: remote ones, local ones, or both and some that were
    changed."""
    source = scratch / "source"
    (source / "d").mkdir(parents=True)
    for i in range(count):
        if where == "remote" or (where == "mixed" and i % 2):
            trees.put(source / "d" / f"{i:04}{LONG}", b"1")
    m = mount(serve(source).url, "-o", ",".join(("rw", *options)))
    for i in range(count):
        if where == "local" or (where == "mixed" and i % 4 in (0, 1, 2)):
            (m / "d" / f"{i:04}{LONG}").write_bytes(b"2")
    return m


WHERE = pytest.mark.parametrize("where", ["local", "remote", "mixed"])


@WHERE
def test_positions_survive_changes(mount, serve, scratch, where):
    """Nothing twice, nothing left out that was there all the time."""
    source, count = scratch / "source", 400
    (source / "d").mkdir(parents=True)
    for i in range(count):
        if where == "remote" or (where == "mixed" and i % 2):
            trees.put(source / "d" / f"{i:04}", b"1")
    m = mount(serve(source).url, "-o", "rw")
    for i in range(count):
        if where == "local" or (where == "mixed" and i % 4 == 0):
            (m / "d" / f"{i:04}").write_bytes(b"2")
    before = set(os.listdir(m / "d"))
    draw = random.Random(1)
    walk, seen, gone, places = Walk(m / "d"), [], set(), []
    while True:
        places.append(walk.tell())
        if (name := walk.next()) is None:
            break
        seen.append(name)
        if len(seen) % 5 == 0 and before - gone:
            gone.add(victim := draw.choice(sorted(before - gone)))
            os.unlink(m / "d" / victim)
        if len(seen) % 7 == 0:
            (m / "d" / f"new{len(seen)}").write_bytes(b"3")
    assert len(seen) == len(set(seen))
    assert before - gone <= set(seen)
    for n in (3, len(places) // 2, len(places) - 4):  # those after it that are still there
        walk.seek(places[n])
        still = [name for name in seen[n:] if name not in gone]
        rest = walk.rest()  # of those that went since the walk began some may be told, says POSIX
        assert [name for name in rest if not name.startswith("new") and name not in gone] == \
            [name for name in still if not name.startswith("new")]
        assert {name for name in still if name.startswith("new")} <= set(rest)
        assert len(rest) == len(set(rest))
    walk.close()


@WHERE
@pytest.mark.parametrize("change", ["rename", "create", "away and back"])
def test_a_walk_ends(mount, serve, scratch, where, change):
    """Each file is renamed as it is read, or another made: what was there is given, no more."""
    count = 300
    m = made(mount, serve, scratch, where, count)
    if change == "create":
        m.umount()
        m = m.again()
    before = sorted(os.listdir(m / "d"))
    (m / "d" / "z").mkdir(), (m / "d" / "z").rmdir()  # what the kernel has kept of it goes
    walk, seen = Walk(m / "d"), []
    while (name := walk.next()) is not None:
        seen.append(name)
        assert len(seen) <= count
        if change == "create":
            (m / "d" / f"{name}.new").write_bytes(b"")
        else:
            os.rename(m / "d" / name, m / "d" / f"{name}.new")
        if change == "away and back":
            os.rename(m / "d" / f"{name}.new", m / "d" / name)
    assert sorted(seen) == before
    expected = {f"{n}.new" for n in before if change != "away and back"}
    expected |= set(before) if change != "rename" else set()
    walk.rewind()  # the next one sees them
    rest = walk.rest()
    assert len(rest) == len(set(rest)) and set(rest) == expected
    walk.close()


@WHERE
@pytest.mark.parametrize("change", ["unlink", "rename", "move", "replace", "rmdir"])
def test_what_went_before_a_walk_is_not_in_it(mount, serve, scratch, where, change):
    """Another walk, which began before the change, ends amid this one."""
    m = made(mount, serve, scratch, where, 8)
    d = m / "d"
    (m / "other").mkdir()
    if change == "rmdir":
        d = m / "other"
        for i in range(8):
            (d / f"{i}").mkdir()
    early = Walk(d)
    before = [early.next() for _ in range(8)]
    victim = before[-1]  # what is before it in the walks stays
    if change == "unlink":
        os.unlink(d / victim)
    elif change == "rmdir":
        os.rmdir(d / victim)
    else:
        os.rename(d / victim, {"rename": d / "new", "move": m / "other" / "new",
                               "replace": d / before[0]}[change])
    walk = Walk(d)
    now = [name for name in before if name != victim] + ["new"] * (change == "rename")
    begun = [walk.next() for _ in now]
    assert early.rest() == []
    assert begun + walk.rest() == walk_of(d) and sorted(begun) == sorted(now)
    early.close(), walk.close()


def test_the_source_changes_while_one_walks(mount, serve, scratch):
    """Names that count here go from the listing, come into it, or are others there: still once."""
    count = 400
    m = made(mount, serve, scratch, "mixed", count, "listing_ttl=0")
    d, source = m / "d", scratch / "source" / "d"
    draw, walk, seen = random.Random(7), Walk(d), []
    stays = {f"{i:04}{LONG}" for i in range(count) if i % 4 != 3}
    while (name := walk.next()) is not None:
        seen.append(name)
        if len(seen) % 20 == 0:
            for i in draw.sample(range(count), 20):
                other = source / f"{i:04}{LONG}"
                if other.exists():
                    other.unlink()
                else:
                    trees.put(other, b"other")
            os.listdir(d), os.stat(d / f"0000{LONG}")
    walk.close()
    assert sorted(name for name in seen if name in stays) == sorted(stays)
