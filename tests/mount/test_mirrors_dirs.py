# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Directories as mirrors: --mirror PATH."""
import os
import shutil

from mirrored import pair, quick, read_at, states
from processes import wait_until

__all__ = ["pair"]  # a fixture


def test_directory_as_mirror(mount, scratch, pair):
    """A copy on a disk takes over for a web server, in the middle of a file too."""
    root, a, _ = pair
    shutil.copytree(root, scratch / "copy")
    m = mount(a.url, "--mirror", scratch / "copy", *quick("etag=no"))
    os.listdir(m.path)
    truth = (root / "big").read_bytes()
    assert read_at(m / "big", 0) == truth[:4096]
    a.stop()
    assert (m / "big").read_bytes() == truth
    assert sorted(os.listdir(m / "d")) == sorted(os.listdir(root / "d"))
    assert (m / "d" / "f3").read_bytes() == (root / "d" / "f3").read_bytes()


def test_directory_that_is_not_there_yet(mount, scratch, pair):
    """A mirror on a disk that is mounted later."""
    root, a, _ = pair
    m = mount(scratch / "later", "--mirror", a.url, *quick("etag=no"))
    assert (m / "d" / "f0").read_bytes() == (root / "d" / "f0").read_bytes()
    assert states(m) == ["failed", "in use"]
    shutil.copytree(root, scratch / "later")

    def back():
        os.listdir(m / "d")
        read_at(m / "big", 0)
        (m / "d" / "f1").read_bytes()
        m.program.run("refresh", m / "d")
        return states(m) == ["in use", "ready"]
    assert wait_until(back, 30)
    a.forget()
    assert (m / "big").read_bytes() == (root / "big").read_bytes() and not a.asked("/big")


def test_mount_point_whose_file_system_comes_later(mount, scratch, pair):
    """Its directory is there, and empty: neither the tree nor what is bound to for good."""
    root, a, _ = pair
    (scratch / "later").mkdir()
    m = mount(scratch / "later", "--mirror", a.url, *quick("etag=no"))
    assert (m / "d" / "f0").read_bytes() == (root / "d" / "f0").read_bytes()
    assert states(m) == ["failed", "in use"]
    assert "not mounted yet" in m.status()["mirrors"][0]["last_error"]["cause"]
    shutil.copytree(root, scratch / "full")
    os.rename(scratch / "full", scratch / "later")  # another inode, as by a mount

    def back():
        m.program.run("refresh", m / "d")
        return states(m) == ["in use", "ready"]
    assert wait_until(back, 30)
    a.forget()
    assert (m / "big").read_bytes() == (root / "big").read_bytes() and not a.asked("/big")
