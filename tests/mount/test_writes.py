# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Local changes over a remote tree: what they fetch, and that they stay."""
import errno
import fcntl
import os
import shutil
import stat
import struct
import subprocess
import time

import pytest

import trees
from outcomes import error_of

ADD_SEALS, GET_SEALS, SYNC = 0x4004ED01, 0x8004ED02, 0xED03


def fetched(m):
    return m.status()["network"]["bytes"]


@pytest.mark.sanitize
def test_names_and_attributes_fetch_nothing(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "rw")
    os.chmod(m / "big", 0o640)
    os.utime(m / "big", (1, 2))
    os.rename(m / "big", m / "many" / "renamed")
    os.link(m / "many" / "renamed", m / "linked")
    os.rename(m / "a", m / "empty" / "moved")
    os.unlink(m / "sizes" / "f65536")
    os.truncate(m / "sizes" / "f65537", 0)
    with open(m / "sizes" / "f196608", "wb") as f:
        f.write(b"new")
    shutil.rmtree(m / "dirs")
    assert fetched(m) == 0
    st = os.stat(m / "linked")
    assert (stat.S_IMODE(st.st_mode), st.st_mtime, st.st_size, st.st_nlink) == \
        (0o640, 2, (5 << 20) + 123, 2)
    assert sorted(os.listdir(m / "empty" / "moved" / "b" / "c" / "d")) == ["deep"]
    m.umount()
    m = m.again()
    assert not os.path.exists(m / "a") and not os.path.exists(m / "dirs")
    assert os.stat(m / "linked").st_mtime == 2
    assert (m / "sizes" / "f65537").read_bytes() == b""
    assert (m / "sizes" / "f196608").read_bytes() == b"new"
    assert (m / "linked").read_bytes() == (tree / "big").read_bytes()
    assert (m / "empty" / "moved" / "b" / "c" / "d" / "deep").read_bytes() == b"deep\n"


@pytest.mark.sanitize
def test_write_into_a_remote_file(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "rw")
    truth = bytearray((tree / "big").read_bytes())
    with open(m / "big", "r+b", buffering=0) as f:
        f.seek(100_000)
        f.write(b"here")
        f.seek(0, 2)
        f.write(b"and the end")
    truth[100_000:100_004] = b"here"
    truth += b"and the end"
    assert (m / "big").read_bytes() == truth
    m.umount()
    assert m.again("-o", "rw,end_epoch").__truediv__("big").read_bytes() == truth


def test_changes_survive_the_daemon(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "rw")
    (m / "born").write_bytes(b"x" * 200_000)
    os.mkdir(m / "made")
    os.symlink("born", m / "made" / "link")
    os.rename(m / "sizes", m / "made" / "sizes")
    os.unlink(m / "big")
    m.kill()
    m = m.again()
    assert (m / "born").read_bytes() == b"x" * 200_000
    assert os.readlink(m / "made" / "link") == "born"
    assert trees.differences(tree / "sizes", m / "made" / "sizes") == []
    assert not os.path.exists(m / "big") and not os.path.exists(m / "sizes")


def test_numbers_stay(mount, serve, tree):
    """st_ino is a file's for its life: renamed, written, across remounts."""
    m = mount(serve(tree).url, "-o", "rw")
    before = os.stat(m / "big").st_ino
    os.rename(m / "big", m / "other")
    with open(m / "other", "r+b") as f:
        f.write(b"1")
    (m / "born").write_bytes(b"")
    born = os.stat(m / "born").st_ino
    m.umount()
    m = m.again()
    assert os.stat(m / "other").st_ino == before
    assert os.stat(m / "born").st_ino == born


def test_local_wins_over_the_remote(mount, serve, tree, scratch):
    source = scratch / "source"
    trees.put(source / "both", b"remote")
    trees.put(source / "gone", b"remote")
    trees.put(source / "kept", b"remote")
    m = mount(serve(source).url, "-o", "rw,listing_ttl=0")
    (m / "both").write_bytes(b"local")
    os.unlink(m / "gone")
    (m / "new").write_bytes(b"local")
    trees.put(source / "both", b"remote, newer")
    trees.put(source / "gone", b"remote, newer")
    trees.put(source / "new", b"remote")
    os.unlink(source / "kept")
    deadline = time.monotonic() + 10
    while os.path.exists(m / "kept") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sorted(os.listdir(m.path)) == ["both", "new"]
    assert (m / "both").read_bytes() == (m / "new").read_bytes() == b"local"


def test_a_program_that_runs_is_not_written(mount, scratch, tree):
    source = scratch / "source"
    source.mkdir()
    shutil.copy("/bin/sleep", source / "sleep")
    m = mount(source, "-o", "rw")
    running = subprocess.Popen([m / "sleep", "30"])
    try:
        assert error_of(os.open, m / "sleep", os.O_WRONLY) == errno.ETXTBSY
        assert error_of(os.truncate, m / "sleep", 0) == errno.ETXTBSY
        os.chmod(m / "sleep", 0o700)
        os.rename(m / "sleep", m / "renamed")
    finally:
        running.kill()
        running.wait()
    deadline = time.monotonic() + 5
    while (e := error_of(os.truncate, m / "renamed", 10)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert e == 0
    with open(m / "renamed", "r+b"):
        assert error_of(subprocess.check_call, [m / "renamed", "0"]) == errno.ETXTBSY


def seal(m, name, *seals):
    return m.program.run("seal", m / name, *seals)


@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_seals(mount, serve, tree, passthrough):
    m = mount(serve(tree).url, "-o", f"rw,passthrough={passthrough}")
    assert seal(m, "big", "write,grow").returncode == 0
    assert seal(m, "big").stdout == "grow,write\n"
    assert fetched(m) < 1 << 20  # sealed, and lazy as before
    assert os.getxattr(m / "big", "user.lacuna.seals") == b"grow,write"
    assert error_of(os.open, m / "big", os.O_RDWR) == errno.EPERM
    fd = os.open(m / "big", os.O_WRONLY)
    assert error_of(os.pwrite, fd, b"x", 0) == errno.EPERM
    assert error_of(os.ftruncate, fd, 10 << 20) == errno.EPERM
    os.close(fd)
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    with open(m / "sizes" / "f65536", "r+b"):
        assert seal(m, "sizes/f65536", "write").returncode == 1
    deadline = time.monotonic() + 5
    while (done := seal(m, "sizes/f65536", "write,seal")).returncode and \
            time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.returncode == 0
    assert seal(m, "sizes/f65536", "grow").returncode == 1
    assert seal(m, "sizes/f65536", "bogus").returncode == 2
    m.umount()
    m = m.again()
    assert seal(m, "big").stdout == "grow,write\n"
    assert seal(m, "sizes/f65536").stdout == "seal,write\n"
    fd = os.open(m / "many" / "000.txt", os.O_RDONLY)
    assert error_of(fcntl.ioctl, fd, ADD_SEALS, struct.pack("I", 8)) == errno.EPERM
    assert fcntl.ioctl(fd, GET_SEALS, b"\0" * 4) == b"\0" * 4
    os.close(fd)


def test_sync(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "rw")
    (m / "born").write_bytes(b"1")
    assert m.program.run("sync", m.path, m / "born").returncode == 0
    outside = m.program.run("sync", "/proc")
    assert outside.returncode == 1 and "not in a lacunafs mount" in outside.stderr


def test_ordinary_tree_below(mount, serve, tree):
    """What is local lies in the store as an ordinary tree."""
    m = mount(serve(tree).url, "-o", "rw")
    os.mkdir(m / "made")
    (m / "made" / "file").write_bytes(b"content")
    os.symlink("file", m / "made" / "link")
    m.umount()
    below = m.store / "tree" / "made"
    assert (below / "link").read_bytes() == b"content"


def test_unprivileged(mount, lacunafs, serve, tree, nobody):
    lacunafs.give(nobody)
    m = mount(serve(tree).url, "-o", "rw", user=nobody)
    script = f"""
        set -e; cd {m.path}
        echo born > born; echo more >> many/000.txt; mkdir d; mv big d/; ln d/big linked
        mv a d; rm -r names; chmod 4711 born; mkfifo pipe; ln -s born link
        test "$(stat -c %a born)" = 4711; test "$(cat link)" = born; sync born"""
    become = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
    subprocess.run([*become, "sh", "-c", script], check=True)
    subprocess.run([*become, "cmp", m / "d" / "big", tree / "big"], check=True)
