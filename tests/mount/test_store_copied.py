# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A store that was copied or restored: other inode numbers, the same content. And who else gets
at a store."""
import os
import shutil
import stat
import struct
import subprocess

import pytest

import faults
import trees
import volumes

CHUNK = 4096
OPTIONS = ("-o", "rw,chunk_size=4K,readahead=0,passthrough=no,allow_other")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# As rsync -aX does it: hard links are files of their own
COPIES = {"cp -a": ["cp", "-a"], "no links": ["cp", "-r", "--preserve=mode,ownership,timestamps,xattr"]}


def put(path, offset, data):
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def make_source(d):
    for n, (name, size) in enumerate([("part", 9 * CHUNK), ("edited", 20 * CHUNK + 5),
                                      ("small", 900), ("cut", 6 * CHUNK), ("rewritten", 30_000),
                                      ("whole", 50_000), ("moved", 40_000), ("d/x", 20_000),
                                      ("gone", 10), ("hard1", 30_000), ("cold", 7 * CHUNK)]):
        trees.put(d / name, trees.noise(n, size), 1_600_000_000 + n)
    os.link(d / "hard1", d / "hard2")


def change(d):
    """The same in the mount and natively."""
    with open(d / "part", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 3 * CHUNK)
    put(d / "edited", 2 * CHUNK + 100, b"mine" * 500)
    put(d / "small", 10, b"mine")
    put(d / "hard1", 5000, b"mine")
    os.truncate(d / "cut", 3 * CHUNK)
    (d / "rewritten").write_bytes(b"all of it is mine" * 1000)
    (d / "whole").read_bytes()
    os.chmod(d / "whole", 0o600)
    os.rename(d / "moved", d / "d" / "here")
    os.chmod(d / "d", 0o711)
    os.unlink(d / "gone")
    (d / "born").write_bytes(b"born" * 5000)
    os.link(d / "born", d / "twin")
    os.symlink("born", d / "to")


def copied(m, how):
    """The store is a copy of what it was; the old one is gone."""
    old = m.store.with_name("old")
    os.rename(m.store, old)
    subprocess.run([*COPIES[how], old, m.store], check=True)
    shutil.rmtree(old)


@pytest.fixture
def world(mount, scratch):
    source, native = scratch / "source", scratch / "native"
    make_source(source), make_source(native)
    m = mount(source, *OPTIONS)
    for d in (native, m.path):
        change(d)
    return m, native


@pytest.mark.sanitize
@pytest.mark.parametrize("how", COPIES)
def test_nothing_is_lost_in_a_copy(world, how):
    m, native = world
    m.umount()
    copied(m, how)
    m = m.again()
    assert trees.differences(native, m.path) == []
    assert m.status()["chunks"]["verified"] > 0
    assert "set aside" not in m.log() and "is a copy" in m.log()
    for d in (native, m.path):  # it works on
        put(d / "edited", 7 * CHUNK, b"again" * 2000)
        put(d / "hard2", 0, b"again")
        if how == "cp -a":  # what was made here has no id: links of it are what the copy made
            put(d / "twin", 3, b"again")
        os.rename(d / "cut", d / "part")
    m.umount()
    m = m.again()
    assert trees.differences(native, m.path) == []
    assert m.log().count("is a copy") == 1
    assert not os.path.exists(m.store / "state" / "orphans")


def test_a_copy_of_what_was_killed(world, mount, faulty):
    """What was written and not synced is in the copy, too; but no hole is taken for it."""
    m, native = world
    m.umount()
    m = mount(m.source, *OPTIONS, point=m.path, store=m.store, env=faulty.env)
    for d in (native, m.path):
        put(d / "edited", 5, b"first")  # that the store is in use is synced
    faulty.set(faults.HOLD_SYNCS)  # by itself it would sync after some seconds
    for d in (native, m.path):
        put(d / "edited", 5 * CHUNK + 9, b"the last words")
        put(d / "edited", 9 * CHUNK, b"w" * 2 * CHUNK)
        put(d / "part", 6 * CHUNK, b"w" * CHUNK)
    m.kill()
    faulty.clear()
    copied(m, "cp -a")
    subprocess.run(["fallocate", "--punch-hole", "--offset", f"{6 * CHUNK}", "--length", f"{CHUNK}",
                    m.store / "tree" / "part"], check=True)
    m = m.again()
    shutil.copyfile(m.source / "part", native / "part")
    shutil.copystat(m / "part", native / "part")
    assert trees.differences(native, m.path) == []
    assert "copied before its last changes were synced" in m.log()
    assert "1 are missing" in m.log()
    m.umount()
    m = m.again()
    assert trees.differences(native, m.path) == []


def test_a_copy_of_a_store_in_use(world, scratch):
    """It may hold the map of a moment and the bytes of an earlier one: nothing is believed."""
    m, native = world
    assert m.program.run("sync", m.path).returncode == 0
    old = scratch / "live"
    subprocess.run(["cp", "-a", m.store / "tree", scratch / "tree"], check=True)
    (m / "cold").read_bytes()  # in the map, and not in the copy of the tree
    subprocess.run(["cp", "-a", m.store, old], check=True)
    shutil.rmtree(old / "tree")
    shutil.move(scratch / "tree", old / "tree")
    m.umount()
    shutil.rmtree(m.store)
    os.rename(old, m.store)
    m = m.again()
    assert trees.differences(native, m.path) == []


def test_a_map_that_was_not_copied(world):
    """What is here cannot be told from what is not: it is set aside, whole, and said."""
    m, native = world
    m.umount()
    edited = (m.store / "tree" / "edited").read_bytes()
    copied(m, "cp -a")
    shutil.rmtree(m.store / "state" / "maps")
    m = m.again()
    assert "tree/edited has lost its map" in m.log()
    try:
        (m / "edited").read_bytes()
    except OSError:
        pass
    aside = [p.read_bytes() for p in (m.store / "state" / "orphans").iterdir()]
    assert edited in aside
    assert m.status()["store"]["set_aside"] == len(aside)
    assert "set aside" in m.program.run("status", m.path).stdout
    for name in ("small", "rewritten", "born", "d/here"):
        assert (m / name).read_bytes() == (native / name).read_bytes(), name


def test_a_store_of_an_earlier_version(world):
    """That never said where it lies: its files tell."""
    m, native = world
    m.umount()
    os.removexattr(m.store / "state" / "lock", "user.lacuna.place")
    m = m.again()
    assert "is a copy" not in m.log()
    m.umount()
    os.removexattr(m.store / "state" / "lock", "user.lacuna.place")
    copied(m, "cp -a")
    m = m.again()
    assert "is a copy" in m.log()
    assert trees.differences(native, m.path) == []


def test_without_their_origins(world):
    """Of a store that was restored in part, or of a file system that lost names with the power:
    what is all here counts, and what cannot be told is set aside by who comes in its place."""
    m, native = world
    m.umount()
    edited = (m.store / "tree" / "edited").read_bytes()
    shutil.rmtree(m.store / "state" / "origins")
    os.unlink(m.source / "edited")
    m = m.again()
    for name in ("small", "rewritten", "cut"):
        if name != "cut":  # what it was made from is known again when it is changed
            assert (m / name).read_bytes() == (native / name).read_bytes(), name
        put(m / name, 20, b"goes on"), put(native / name, 20, b"goes on")
    (m / "in the root").write_bytes(b"which is kept, too")
    assert m.program.run("refresh", m.path).returncode == 0
    assert "edited" not in os.listdir(m.path)
    (m / "edited").write_bytes(b"another")
    m.umount()
    assert edited in [p.read_bytes() for p in (m.store / "state" / "orphans").iterdir()]
    m = m.again()
    for name in ("small", "rewritten", "cut"):
        assert (m / name).read_bytes() == (native / name).read_bytes(), name


def test_restored_over_a_later_one(world):
    """What stayed is of an epoch that comes after the one that came back, and is not believed."""
    m, native = world
    m.umount()
    earlier = (m.store / "state" / "epoch").read_bytes()
    m = m.again(OPTIONS[0], OPTIONS[1] + ",end_epoch")
    (m / "cold").read_bytes()
    m.kill()
    put(m.store / "tree" / "cold", 2 * CHUNK, bytes(CHUNK))  # never came to the disk
    (m.store / "state" / "epoch").write_bytes(earlier)
    copied(m, "cp -a")
    m = m.again(*OPTIONS)
    assert (m / "cold").read_bytes() == (native / "cold").read_bytes()


def test_a_walk_that_was_cut_short_is_done_again(world):
    """Of a store of an earlier version most files are bound by then, and tell that it is none."""
    m, native = world
    m.umount()
    os.removexattr(m.store / "state" / "lock", "user.lacuna.place")
    copied(m, "cp -a")
    tree = m.store / "tree"
    recorded = [n for n in os.listdir(tree) if (tree / n).is_file()  # in the order of the walk
                and "user.lacuna" in os.listxattr(tree / n)]
    last = [n for n in recorded if n in ("edited", "part", "cut")][-1]
    identity = struct.unpack_from("<Q", os.getxattr(tree / last, "user.lacuna"), 8)[0]
    map_ = next(m.store.glob(f"state/maps/*/{identity:016x}"))
    os.rename(map_, m.store / "map"), os.mkfifo(map_)
    done = m.program.run("mount", m.source, m.path, "--store", m.store, *OPTIONS)
    assert done.returncode != 0, "it is mounted though the walk failed"
    os.rename(m.store / "map", map_)
    others = [n for n in recorded if n != last]
    for n in others:  # as if all of these had come before
        value = bytearray(os.getxattr(tree / n, "user.lacuna"))
        if value[1] & 8:  # all local: it has no map
            struct.pack_into("<Q", value, 16, os.stat(tree / n).st_ino)
            os.setxattr(tree / n, "user.lacuna", bytes(value))
    m = m.again()
    assert trees.differences(native, m.path) == []
    assert "is a copy" in m.log() and "set aside" not in m.log()


def test_a_deep_tree_is_bound(mount, scratch):
    """Deeper than the daemon has descriptors."""
    source = scratch / "source"
    trees.put(source / "f", trees.noise(1, 5 * CHUNK), 1_600_000_000)
    m = mount(source, *OPTIONS)
    put(m / "f", 100, b"mine")
    expected = (m / "f").read_bytes()
    fd = os.open(m.path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=fd)
        fd, old = os.open("d", os.O_RDONLY, dir_fd=fd), fd
        os.close(old)
    os.close(fd)
    m.umount()
    copied(m, "cp -a")
    m = m.again(prefix=["prlimit", "--nofile=256:256"])
    assert "is a copy" in m.log()
    assert (m / "f").read_bytes() == expected


def test_a_copy_within_the_tree_takes_nothing_along(world):
    """A file that somebody put there has the id of another, whose map it must not remove."""
    m, native = world
    m.umount()
    subprocess.run(["cp", "-a", m.store / "tree" / "edited", m.store / "tree" / "double"], check=True)
    m = m.again()
    if os.path.exists(m / "double"):
        os.unlink(m / "double")
    m.umount()
    m = m.again()
    assert (m / "edited").read_bytes() == (native / "edited").read_bytes()


@pytest.fixture(params=["directory", "volume", "earlier"])
def open_store(request, mount, scratch):
    """A mount as root whose store's directory was there, open to others, with set-id programs."""
    if os.geteuid() != 0:
        pytest.skip("needs root for set-id files of root")
    source, store, volume = scratch / "source", scratch / "open", None
    source.mkdir(mode=0o700)
    if request.param == "volume":
        volume = volumes.Volume(scratch, "ext4", 32)
        store = volume.path
    else:
        store.mkdir()
    shutil.copy("/usr/bin/id", source / "suid")
    (source / "secret").write_bytes(b"secret" * 1000)
    os.chmod(source / "suid", 0o6755), os.chmod(source / "secret", 0o644)
    os.chmod(store, 0o755)
    m = mount(source, "-o", "rw,readahead=0", store=store)
    yield m, request.param, store
    wrong = m.program.close()
    if volume:
        volume.close()
    assert not wrong, wrong


def test_a_store_is_closed_to_others(open_store):
    m, kind, store = open_store
    (m / "suid").read_bytes(), (m / "secret").read_bytes()
    local = store / "tree" / "suid"
    if kind == "earlier":  # its files had the bits themselves
        m.umount()
        os.chmod(local, 0o6755), os.chmod(store, 0o755), os.chmod(store / "tree", 0o755)
        os.removexattr(store / "state" / "lock", "user.lacuna.place")
        m = m.again()
    assert os.stat(store).st_mode & 0o077 == 0
    # by a shell: setpriv itself still has root's capabilities when it looks for a program
    for argv in (["cat", store / "tree" / "secret"], ["sh", "-c", f"exec {local} -u"]):
        done = subprocess.run([*NOBODY, *map(str, argv)], capture_output=True)
        assert done.returncode != 0 and done.stdout == b""
    assert local.stat().st_mode & 0o7777 == 0o755
    assert (m / "suid").stat().st_mode & 0o7777 == 0o6755


def bits(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_set_id_bits_are_kept_beside(mount, scratch):
    """As they would be natively, whatever comes first; never on a file of the store."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    source, native = scratch / "source", scratch / "native"
    for d in (source, native):
        d.mkdir()
        for name in ("a", "b", "c", "e", "f"):
            (d / name).write_bytes(b"#!/bin/true\n" + name.encode())
            os.chmod(d / name, 0o4755)
    m = mount(source, "-o", "rw,suid,allow_other")
    for d in (native, m.path):
        os.chmod(d / "a", 0o6711)
        os.chmod(d / "b", 0o755)
        os.chown(d / "c", 5, 6)
        os.utime(d / "e", (5, 6))  # kept, for something else
        os.chmod(d / "c", 0o2755)
        os.close(os.open(d / "g", os.O_CREAT | os.O_WRONLY, 0o4711))
        os.mknod(d / "h", stat.S_IFREG | 0o2755)
        os.setxattr(d / "a", "user.x", b"1")
        os.link(d / "e", d / "i")
        subprocess.run(["setfacl", "-m", "u:1:r", d / "e"], check=True)
    names = sorted(os.listdir(native))
    for _ in range(2):
        assert {n: bits(m / n) for n in names} == {n: bits(native / n) for n in names}
        for n in names:
            if os.path.lexists(m.store / "tree" / n):
                assert bits(m.store / "tree" / n) & 0o6000 == 0, n
        m.umount()
        m = m.again()
