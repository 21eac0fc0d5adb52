# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Without the network: what is held stays readable, what is not is an error, soon."""
import errno
import os
import subprocess
import time

import pytest

import trees
from outcomes import error_of


@pytest.mark.sanitize
def test_remount_offline(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    assert trees.differences(tree, m.path) == []
    m.umount()
    server.stop()
    m = m.again()
    assert trees.differences(tree, m.path) == []


def test_mount_itself_needs_no_network(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    os.listdir(m.path)
    m.umount()
    server.stop()
    before = time.monotonic()
    m = m.again()
    assert time.monotonic() - before < 2
    assert sorted(os.listdir(m.path)) == sorted(os.listdir(tree))


def test_partial_file_offline(mount, serve, tree):
    server = serve(tree)
    truth = (tree / "big").read_bytes()
    m = mount(server.url, "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 4096, 3 << 20)
    m.umount()
    server.stop()
    m = m.again()
    with open(m / "big", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 4096, 3 << 20) == truth[3 << 20:(3 << 20) + 4096]
        before = time.monotonic()
        assert error_of(lambda: os.pread(f.fileno(), 4096, 0)) == errno.EIO
        assert time.monotonic() - before < 30
    # and it is not latched
    server.start()
    assert (m / "big").read_bytes() == truth


def test_absent_listing_offline(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    os.listdir(m.path)
    server.stop()
    assert error_of(lambda: os.listdir(m / "many")) == errno.EIO
    server.start()
    assert len(os.listdir(m / "many")) == 200


def test_stale_listing_stays(mount, serve, tree):
    """Unreachable is not deleted."""
    server = serve(tree)
    m = mount(server.url, "-o", "listing_ttl=0")
    assert len(os.listdir(m / "many")) == 200
    server.stop()
    for _ in range(3):
        assert len(os.listdir(m / "many")) == 200
        assert os.stat(m / "many" / "007.txt").st_size == (tree / "many" / "007.txt").stat().st_size


def test_program_offline(mount, serve, big_program):
    program, byte = big_program
    server = serve(program.parent)
    m = mount(server.url)
    argv = [m / "program", "100", str(200 << 20)]
    first = subprocess.run(argv, capture_output=True)
    assert first.returncode == 0
    m.umount()
    server.stop()
    m = m.again()
    again = subprocess.run(argv, capture_output=True)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    # a page that is absent is SIGBUS, as for any file on a disk that fails
    absent = subprocess.run([m / "program", str(100 << 20)], capture_output=True)
    assert absent.returncode == -7
