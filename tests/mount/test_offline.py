# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Without the network: what is held stays readable, what is not is an error, soon."""
import errno
import os
import shutil
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


@pytest.mark.parametrize("kind", ["http", "dir"])
def test_offline_asks_nobody(mount, serve, tree, scratch, kind):
    """-o offline: what the store has, and an error at once for the rest; no request leaves."""
    server = serve(tree)
    shutil.copytree(tree / "many", scratch / "source" / "many")
    trees.put(scratch / "source" / "big", (tree / "big").read_bytes())
    m = mount(server.url if kind == "http" else scratch / "source", "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 4096, 3 << 20)
    names = sorted(os.listdir(m / "many"))
    (m / "many" / "007.txt").read_bytes()
    m.umount()
    server.forget()
    if kind == "dir":
        os.rename(scratch / "source", scratch / "gone")
    m = m.again("-o", "offline,listing_ttl=0,prefetch=1M")
    before = time.monotonic()
    assert sorted(os.listdir(m / "many")) == names
    assert (m / "many" / "007.txt").read_bytes() == (tree / "many" / "007.txt").read_bytes()
    with open(m / "big", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 4096, 3 << 20) == (tree / "big").read_bytes()[3 << 20:][:4096]
        assert error_of(lambda: os.pread(f.fileno(), 4096, 0)) == errno.EIO
    assert error_of((m / "many" / "008.txt").read_bytes) == errno.EIO
    (m / "many" / "new").write_text("made offline")
    assert time.monotonic() - before < 10  # no retry, no time-out
    assert not server.asked() and m.status()["network"]["offline"]
    assert "-o offline" in m.status("big")["last_error"]["cause"]
    m.umount()
    if kind == "dir":
        os.rename(scratch / "gone", scratch / "source")
    m = m.again("-o", "readahead=0")
    assert (m / "many" / "008.txt").read_bytes() == (tree / "many" / "008.txt").read_bytes()
    assert (m / "many" / "new").read_text() == "made offline"


def test_offline_without_a_store(lacunafs, serve, tree, scratch):
    (scratch / "p").mkdir()
    server = serve(tree)
    before = time.monotonic()
    done = lacunafs.run("mount", server.url, scratch / "p", "-o", "offline")
    assert done.returncode == 1 and "offline" in done.stderr and time.monotonic() - before < 10
    assert not server.asked()
