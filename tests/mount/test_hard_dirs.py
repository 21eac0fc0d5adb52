# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Directories that are changed at both ends, that are very large, or moved with all that is in
them; names at the limits."""
import ctypes
import errno
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import time

import pytest

import trees
from outcomes import error_of, soon

CHUNK = trees.CHUNK
libc = ctypes.CDLL(None, use_errno=True)


def many(names):
    """A page of files as an index tells of them; none of them can be fetched."""
    rows = [{"name": n, "type": "file", "mtime": "Sun, 13 Sep 2020 12:26:40 GMT", "size": 10}
            for n in names]
    return "application/json", json.dumps(rows).encode()


def test_move_of_very_many(mount, serve, scratch):
    """It costs what the move of an empty one costs, in requests, space and time."""
    source = scratch / "source"
    (source / "big").mkdir(parents=True)
    (source / "small").mkdir()
    server = serve(source)
    server.pages["/big/"] = many(f"{i:06}" for i in range(50_000))
    m = mount(server.url, "-o", "rw")
    os.stat(m / "big")
    os.stat(m / "small")
    server.forget()
    seconds = {}
    for name in ("small", "big"):
        begun = time.monotonic()
        os.rename(m / name, m / f"moved-{name}")
        seconds[name] = time.monotonic() - begun
    assert server.asked() == []
    assert sum(len(files) for _, _, files in os.walk(m.store / "tree")) == 0
    begun = time.monotonic()
    assert len(os.listdir(m / "moved-big")) == 50_000
    listed = time.monotonic()
    os.rename(m / "moved-big", m / "moved-small" / "again")  # listed, and its names known
    seconds["again"] = time.monotonic() - listed
    # a step for each name takes many times as long as to list them, however busy the machine is
    allowed = 0.05 + seconds["small"] + listed - begun
    assert max(seconds.values()) < allowed, seconds
    assert os.stat(m / "moved-small" / "again" / "049999").st_size == 10
    m.umount()
    m = m.again()
    assert sorted(os.listdir(m.path)) == ["moved-small"]
    assert len(os.listdir(m / "moved-small" / "again")) == 50_000
    assert {r.path for r in server.asked()} <= {"/", "/big/", "/small/"}


def make_list_remove(top, count):
    times, begun = {}, time.monotonic()

    def lap(what):
        nonlocal begun
        times[what] = time.monotonic() - begun
        begun = time.monotonic()

    os.mkdir(top)
    fd = os.open(top, os.O_RDONLY)
    for i in range(count):
        os.close(os.open(f"file-{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=fd))
    lap("create")
    assert len(os.listdir(fd)) == count
    lap("list")
    for i in range(count):
        os.unlink(f"file-{i}", dir_fd=fd)
    lap("remove")
    os.close(fd)
    os.rmdir(top)
    return times


def test_very_many_files_in_one(mount, tree):
    """Eight times the files, about eight times the time. The quickest of a few rounds: others
    may have the processors in one of them, but what is quadratic is so in each."""
    m = mount(tree, "-o", "rw")
    make_list_remove(m / "warm", 500)
    few, all_ = make_list_remove(m / "few", 1_000), make_list_remove(m / "all", 8_000)

    def slower():
        return [what for what in few if all_[what] >= 8 * 2.5 * few[what] + 0.2]
    for n in range(4):
        if not slower():
            break
        again = make_list_remove(m / f"all{n}", 8_000)
        all_ = {what: min(all_[what], again[what]) for what in all_}
    assert not slower(), (few, all_)


def test_changed_at_both_ends(mount, serve, scratch):
    source = scratch / "source"
    for name in ("untouched", "removed", "written", "vanishes", "renamed"):
        trees.put(source / "d" / name, name.encode() * 10)
    server = serve(source)
    m = mount(server.url, "-o", "rw,listing_ttl=0")
    os.unlink(m / "d" / "removed")
    (m / "d" / "written").write_bytes(b"here")
    os.rename(m / "d" / "renamed", m / "d" / "moved")
    (m / "d" / "born").write_bytes(b"here")
    os.unlink(source / "d" / "vanishes")
    for name in ("appears", "removed", "written", "born", "renamed"):
        trees.put(source / "d" / name, b"there, and newer", 1_700_000_000)
    soon(lambda: os.path.exists(m / "d" / "appears") and not os.path.exists(m / "d" / "vanishes"))

    def check(m):
        names = ["appears", "born", "moved", "untouched", "written"]
        assert sorted(os.listdir(m / "d")) == names
        assert (m / "d" / "appears").read_bytes() == b"there, and newer"
        assert (m / "d" / "written").read_bytes() == (m / "d" / "born").read_bytes() == b"here"
        assert not os.path.exists(m / "d" / "removed")
        assert error_of(os.stat, m / "d" / "renamed") == errno.ENOENT

    def check_told(m, name, times):
        line = f"/d/{name} changed at the source, too"
        assert m.log().count(line) == times
        cause = (m.status(f"d/{name}")["last_error"] or {}).get("cause", "")
        assert ("changed at the source, too" in cause) == (times > 0)

    check(m)
    for name, times in (("written", 1), ("born", 1), ("moved", 0)):
        check_told(m, name, times)
    m.umount()
    trees.put(source / "d" / "written", b"there, and newer still", 1_700_000_100)
    m = m.again()
    soon(lambda: os.listdir(m / "d") and "/d/written changed" in m.log())
    check(m)
    os.unlink(m / "d" / "written")  # what was there is not back
    assert not os.path.exists(m / "d" / "written")
    shutil.rmtree(m / "d")
    assert os.listdir(m.path) == []
    m.umount()
    assert os.listdir(m.again().path) == []


def test_vanished_while_partial(mount, serve, scratch):
    """What came stays, here changed or not; what is missing is an error, and not zeros."""
    source, truth = scratch / "source", trees.noise(1, 20 * CHUNK)
    for name in ("read", "kept", "written"):
        trees.put(source / name, truth)
    m = mount(serve(source).url, "-o", "rw,listing_ttl=0,readahead=0,retries=0,wait_timeout=3s")
    for name in ("read", "kept", "written"):
        with open(m / name, "rb", buffering=0) as f:
            assert os.pread(f.fileno(), 10, 0) == truth[:10]
    os.chmod(m / "kept", 0o600)
    with open(m / "written", "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"x" * CHUNK, 10 * CHUNK)
    still = open(m / "read", "rb", buffering=0)
    for name in ("read", "kept", "written"):
        os.unlink(source / name)
    soon(lambda: not os.path.exists(m / "read"))
    assert sorted(os.listdir(m.path)) == ["kept", "written"]
    with still, open(m / "kept", "rb", buffering=0) as kept, \
            open(m / "written", "rb", buffering=0) as written:
        for f in (still, kept, written):
            assert os.pread(f.fileno(), 10, 0) == truth[:10]
            assert error_of(os.pread, f.fileno(), 10, 15 * CHUNK) == errno.EIO
        assert os.pread(written.fileno(), CHUNK, 10 * CHUNK) == b"x" * CHUNK
    os.rename(m / "kept", m / "other")
    os.truncate(m / "other", 100)
    assert (m / "other").read_bytes() == truth[:100]
    os.unlink(m / "written")
    assert os.listdir(m.path) == ["other"]


@pytest.mark.parametrize("touched", ["cold", "partial", "whole"])
def test_cut_then_longer(mount, serve, scratch, touched):
    """Of what was cut off no byte comes back."""
    source, truth = scratch / "source", trees.noise(2, 10 * CHUNK)
    trees.put(source / "f", truth)
    m = mount(serve(source).url, "-o", "rw,readahead=0")
    with open(m / "f", "rb", buffering=0) as f:
        os.pread(f.fileno(), {"cold": 0, "partial": 10, "whole": 10 * CHUNK}[touched], 5 * CHUNK
                 if touched == "partial" else 0)
        os.truncate(m / "f", 3 * CHUNK + 77)
        os.truncate(m / "f", 8 * CHUNK)
        expected = truth[:3 * CHUNK + 77] + bytes(5 * CHUNK - 77)
        assert os.pread(f.fileno(), CHUNK, 5 * CHUNK) == bytes(CHUNK)
    m.umount()
    m = m.again()
    assert (m / "f").read_bytes() == expected
    os.truncate(m / "f", 0)
    os.truncate(m / "f", CHUNK)
    assert (m / "f").read_bytes() == bytes(CHUNK)


def storm(top, seed, seconds):
    """Renames among a few names of three directories until the time is over, at least 13."""
    draw, until, done = random.Random(seed), time.monotonic() + seconds, 0
    paths = [top / d / f"{n}" for d in "abc" for n in range(6)]
    while time.monotonic() < until or done < 13:
        x, y = draw.sample(paths, 2)
        if draw.random() < 0.3:
            failed = libc.renameat2(-100, os.fsencode(x), -100, os.fsencode(y), draw.choice([1, 2]))
            e = ctypes.get_errno() if failed else 0
        else:
            e = error_of(os.rename, x, y)
        assert e in (0, errno.ENOENT, errno.EEXIST), errno.errorcode[e]
        done += e == 0
    return done


@pytest.mark.sanitize
def test_rename_storm(mount, serve, scratch):
    """Eight processes: whatever is left is whole, is one of what there was, and is what a remount
    shows."""
    source = scratch / "source"
    content = {}
    for d in "abc":
        for n in range(6):
            content[f"{d}{n}"] = trees.noise(ord(d) + n, 100 + n * 30_000)
            trees.put(source / d / f"{n}", content[f"{d}{n}"])
    m = mount(serve(source).url, "-o", "rw,readahead=0")
    with multiprocessing.get_context("fork").Pool(8) as pool:
        done = pool.starmap(storm, [(m.path, seed, 2.5) for seed in range(8)])
    assert sum(done) > 100

    def found(m):
        return {p.relative_to(m.path): p.read_bytes() for p in sorted(m.path.glob("?/*"))}

    before = found(m)
    assert before and len(set(before.values())) == len(before)
    assert set(before.values()) <= set(content.values())
    m.umount()
    assert found(m.again()) == before


NAMES = [b"x" * 255, b"\xff\xfe\x80", b"\xc3", "é".encode() * 127, b"new\nline", b"tab\t", b" ",
         b"tree", b"state", b"lock", b"gone", b"unlinked", b".lacunafs", b"0123456789abcdef", b"...",
         b"-rf", b"\x01", b"\x7f", b"*", b"a\\b", b"%2e%2e", b"user.lacuna"]


def test_names_at_the_limits(mount, scratch):
    """Bytes, not text: made, listed, linked, moved, removed, remounted."""
    source = scratch / "source"
    for name in NAMES:
        path = os.path.join(os.fsencode(source), b"remote", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(name)
    m = mount(source, "-o", "rw")
    top = os.fsencode(m.path)
    os.mkdir(top + b"/local")
    for name in NAMES:
        with open(top + b"/local/" + name, "wb") as f:
            f.write(name)
        os.mkdir(top + b"/" + (name if name != b"remote" else b"r"))
        os.rename(top + b"/remote/" + name, top + b"/" + name + b"/" + name)
        os.setxattr(top + b"/local/" + name, b"user.n", name)
    assert error_of(os.mkdir, top + b"/" + b"x" * 256) == errno.ENAMETOOLONG
    assert error_of(os.rename, top + b"/local/tree", top + b"/" + b"x" * 256) == errno.ENAMETOOLONG
    for again in (False, True):
        if again:
            m.umount()
            m = m.again()
        assert os.listdir(top + b"/remote") == []
        assert sorted(os.listdir(top + b"/local")) == sorted(NAMES)
        for name in NAMES:
            for path in (b"/local/" + name, b"/" + name + b"/" + name):
                with open(top + path, "rb") as f:
                    assert f.read() == name
    for name in NAMES:
        shutil.rmtree(top + b"/" + name)
        os.unlink(top + b"/local/" + name)
    assert sorted(os.listdir(top)) == [b"local", b"remote"]


def test_paths_at_the_limit(mount, scratch):
    """Deeper than a path can tell: as far as names go, and further, one step at a time."""
    source, depth, name = scratch / "source", 20, "d" * 250
    source.mkdir()
    fd = os.open(source, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open("leaf", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd), "wb") as f:
        f.write(b"remote")
    os.close(fd)
    m = mount(source, "-o", "rw")

    def descend(levels):
        fd = os.open(m.path, os.O_RDONLY)
        for _ in range(levels):
            below = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        return fd

    for levels in (12, 15, depth):
        fd = descend(levels)
        with open(os.open("made", os.O_CREAT | os.O_RDWR, 0o644, dir_fd=fd), "wb") as f:
            f.write(b"local")
        os.mkdir("dir", dir_fd=fd)
        os.rename("made", "dir/moved", src_dir_fd=fd, dst_dir_fd=fd)
        os.close(fd)
    fd = descend(depth)
    os.rename("leaf", "renamed", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    m.umount()
    m = m.again()
    fd = descend(depth)
    assert sorted(os.listdir(fd)) == ["dir", "renamed"]
    with open(os.open("renamed", os.O_RDONLY, dir_fd=fd), "rb") as f:
        assert f.read() == b"remote"
    os.close(fd)
    subprocess.run(["rm", "-rf", m / name], check=True)
    assert os.listdir(m.path) == []
