# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A directory as source: everything a tree can contain, attribute by attribute."""
import os
import shutil
import socket
import subprocess

import pytest

import trees

ALL = ("type", "size", "content", "mode", "owner", "mtime", "nlink", "links", "target", "rdev",
       "xattrs")


@pytest.fixture(scope="module")
def everything(session_scratch):
    root = trees.make_plain(session_scratch / "everything")
    k = root / "kinds"
    k.mkdir()
    trees.put(k / "file", trees.noise(1, 200_000))
    os.link(k / "file", k / "hard")
    (root / "a" / "linked").hardlink_to(k / "file")
    os.symlink("file", k / "relative")
    os.symlink("/nowhere/at/all", k / "broken")
    os.symlink("x" * 4000, k / "long")
    os.symlink("..", k / "up")
    os.mkfifo(k / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(k)
        s.bind("socket")
        os.chdir(here)
    with open(k / "sparse", "wb") as f:
        f.truncate(50 << 20)
        f.seek(20 << 20)
        f.write(b"in the middle")
    with open(k / "hole", "wb") as f:
        f.truncate(3 << 20)
    for mode in (0o000, 0o400, 0o644, 0o4755, 0o2755, 0o1644, 0o777):
        trees.put(k / f"mode{mode:04o}", b"m")
        os.chmod(k / f"mode{mode:04o}", mode)
    (k / "sticky").mkdir()
    os.chmod(k / "sticky", 0o1777)
    for ns in (0, 1, 999_999_999, 4_000_000_000_123_456_789, -1_500_000_001):
        trees.put(k / f"time{ns}", b"t")
        os.utime(k / f"time{ns}", ns=(ns, ns))
    trees.put(k / "xattrs", b"x")
    os.setxattr(k / "xattrs", "user.one", b"1")
    os.setxattr(k / "xattrs", "user.bytes", bytes(range(256)))
    os.setxattr(k / "xattrs", "user.empty", b"")
    os.setxattr(k, "user.directory", b"d")
    if os.geteuid() == 0:
        os.mknod(k / "null", 0o20666, os.makedev(1, 3))
        os.mknod(k / "block", 0o60640, os.makedev(259, 70000))
        os.chown(k / "relative", 12, 34, follow_symlinks=False)
        trees.put(k / "owned", b"o")
        os.chown(k / "owned", 1234, 70000)
        os.setxattr(k / "owned", "trusted.t", b"t")
        os.setxattr(k / "broken", "trusted.link", b"l", follow_symlinks=False)
        trees.put(k / "capable", b"c")
        os.setxattr(k / "capable", "security.capability",
                    bytes.fromhex("0100000200040000000000000000000000000000"))
    os.utime(k / "relative", ns=(5, 5), follow_symlinks=False)
    return root


@pytest.mark.sanitize
def test_everything(mount, everything):
    m = mount(everything)
    assert trees.differences(everything, m.path, ALL) == []


def test_dir_url(mount, everything):
    m = mount(f"dir:{everything}")
    assert trees.differences(everything, m.path, ALL) == []


def test_everything_again_without_the_source(mount, everything, scratch):
    """The store alone has it all."""
    subprocess.run(["cp", "-a", everything, scratch / "source"], check=True)
    m = mount(scratch / "source")
    assert trees.differences(everything, m.path, ALL) == []
    m.umount()
    (scratch / "source").rename(scratch / "away")
    (scratch / "source").mkdir()
    shutil.copystat(scratch / "away", scratch / "source")
    m = m.again("-o", "listing_ttl=never,retries=0")
    assert trees.differences(everything, m.path, ALL) == []


def test_sparse_stays_sparse(mount, everything):
    m = mount(everything)
    assert (m / "kinds" / "sparse").read_bytes() == (everything / "kinds" / "sparse").read_bytes()
    local = m.store / "tree" / "kinds" / "sparse"
    assert os.stat(local).st_blocks * 512 < 16 << 20


def test_hard_links_are_one_file(mount, everything):
    m = mount(everything)
    (m / "kinds" / "hard").read_bytes()
    fetched = m.status()["network"]["bytes"]
    (m / "kinds" / "file").read_bytes()
    (m / "a" / "linked").read_bytes()
    assert m.status()["network"]["bytes"] == fetched
    assert len({os.stat(m / p).st_ino for p in ("kinds/file", "kinds/hard", "a/linked")}) == 1


def test_only_what_is_touched(mount, scratch):
    trees.put(scratch / "t" / "f", trees.noise(1, 64 << 20))
    m = mount(scratch / "t", "-o", "readahead=0")
    with open(m / "f", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 30 << 20)
    assert 0 < m.status("f")["present_bytes"] <= 1 << 20


def test_changed_file(mount, scratch):
    trees.put(scratch / "t" / "f", trees.noise(1, 1 << 20))
    m = mount(scratch / "t", "-o", "readahead=0")
    with open(m / "f", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 0)
        trees.put(scratch / "t" / "f", trees.noise(2, 1 << 20))
        with pytest.raises(OSError) as e:
            os.pread(f.fileno(), 10, 8 * trees.CHUNK)
        assert e.value.errno == 5


def test_unreadable_source(mount, lacunafs, scratch, nobody):
    """What the source denies is EACCES, not EIO and not empty."""
    trees.put(scratch / "t" / "closed", b"secret")
    (scratch / "t" / "closed").chmod(0o600)
    trees.put(scratch / "t" / "open", b"public")
    lacunafs.give(nobody)
    m = mount(scratch / "t", user=nobody)
    done = subprocess.run(["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups",
                           "cat", m / "open", m / "closed"], capture_output=True, text=True)
    assert done.stdout == "public" and "Permission denied" in done.stderr


def test_source_symlink_out_of_the_tree_is_not_followed(mount, scratch):
    trees.put(scratch / "secret", b"secret")
    (scratch / "t").mkdir()
    os.symlink(scratch, scratch / "t" / "out")
    m = mount(scratch / "t")
    assert os.readlink(m / "out") == str(scratch)
    os.lstat(m / "out")
    assert list((m.store / "tree").rglob("secret")) == []


def test_special_files_do_not_block(mount, everything):
    """Walking past a fifo and a device opens neither."""
    m = mount(everything)
    done = subprocess.run(["tar", "-C", m.path, "-cf", "/dev/null", "kinds"], capture_output=True,
                          text=True, timeout=60)
    errors = [e for e in done.stderr.splitlines() if "socket ignored" not in e
              and "implausibly old" not in e]
    assert errors == [] or os.geteuid() != 0
