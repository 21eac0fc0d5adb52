# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Whole files run at the kernel's own speed; where not, status says why."""
import mmap
import os
import subprocess
import time

import pytest

import lying
import processes
import trees

CHUNK = trees.CHUNK


@pytest.fixture
def pmount(mount):
    def make(*args, **options):
        m = mount(*args, **options)
        if not m.status()["passthrough"]["usable"]:
            pytest.skip(f"no passthrough here: {m.status()['passthrough']['reason']}")
        return m
    return make


def mode(m, name):
    status = m.status(name)
    return status["mode"], status["passthrough_reason"]


def settled(m, name, wanted):
    """RELEASE is asynchronous."""
    processes.wait_until(lambda: mode(m, name)[0] == wanted, 3)
    return mode(m, name)[0]


@pytest.mark.sanitize
def test_promotion(pmount, serve, tree):
    m = pmount(serve(tree).url)
    truth = (tree / "big").read_bytes()
    with open(m / "big", "rb") as f:
        assert mode(m, "big")[0] == "cached"
        assert mode(m, "big")[1], "it does not say why"
        assert f.read() == truth
    settled(m, "big", "none")
    with open(m / "big", "rb", buffering=0) as f:
        assert mode(m, "big") == ("passthrough", None)
        before = m.status()["store"]["bytes_served"]
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert f.read() == truth
        view = mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        assert view[:] == truth
        # the daemon saw none of it
        assert m.status()["store"]["bytes_served"] == before


def test_whole_since_another_mount(pmount, serve, tree):
    """No open has looked at it yet in this one; the next one will have it passed through."""
    m = pmount(serve(tree).url)
    m.fill("big")
    m.umount()
    m = m.again()
    told = m.status("big")
    assert told["content"] == "complete" and told["passthrough_reason"] is None
    with open(m / "big", "rb"):
        assert mode(m, "big") == ("passthrough", None)


def test_reads_after_the_daemon_is_dead(pmount, serve, tree):
    """Proof that passthrough is none of the daemon's business."""
    m = pmount(serve(tree).url)
    truth = (tree / "big").read_bytes()
    (m / "big").read_bytes()
    settled(m, "big", "none")
    with open(m / "big", "rb", buffering=0) as f:
        os.kill(m.pid, 9)
        processes.reap(m.pid, 5)
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(f.fileno(), len(truth), 0) == truth
    m.abandon()


def test_cached_handle_delays_it(pmount, serve, tree):
    m = pmount(serve(tree).url)
    truth = (tree / "big").read_bytes()
    with open(m / "big", "rb", buffering=0) as first:
        (m / "big").read_bytes()
        with open(m / "big", "rb", buffering=0) as second:
            assert mode(m, "big")[0] == "cached"
            assert mode(m, "big")[1]
            assert second.read() == truth
        assert first.read() == truth
    settled(m, "big", "none")
    with open(m / "big", "rb"):
        assert mode(m, "big")[0] == "passthrough"


def test_cached_mapping_delays_it(pmount, serve, tree):
    """A mapping outlives its descriptor."""
    m = pmount(serve(tree).url)
    with open(m / "big", "rb") as f:
        view = mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        f.read()
    with open(m / "big", "rb") as f:
        assert mode(m, "big")[0] == "cached"
        assert processes.apart(lambda: view[:] == f.read())
    view.close()
    settled(m, "big", "none")
    with open(m / "big", "rb"):
        assert mode(m, "big")[0] == "passthrough"


def test_partial_says_why(pmount, serve, tree):
    m = pmount(serve(tree).url, "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 1, 0)
        why = mode(m, "big")
        assert why[0] == "cached" and why[1]


@pytest.mark.sanitize
def test_off(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "passthrough=no")
    assert not m.status()["passthrough"]["usable"] and m.status()["passthrough"]["reason"]
    for _ in range(2):
        with open(m / "big", "rb") as f:
            assert f.read() == (tree / "big").read_bytes()
            assert mode(m, "big")[0] == "cached" and mode(m, "big")[1]


def test_program_in_passthrough(pmount, serve, scratch, big_program):
    program, byte = big_program
    m = pmount(program.parent)
    m.fill("program")
    settled(m, "program", "none")
    argv = [m / "program", str(99 << 20)]
    for _ in range(3):
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.stdout.splitlines()[1] == str(byte(99 << 20))


def test_remounted(pmount, serve, tree):
    """What is whole is passthrough from the first open on."""
    m = pmount(serve(tree).url)
    (m / "big").read_bytes()
    m.umount()
    m = m.again()
    with open(m / "big", "rb"):
        assert mode(m, "big")[0] == "passthrough"


def test_many_files(pmount, serve, tree):
    """More files than descriptors: ids are given back."""
    server = serve(tree)
    m = pmount(server.url)
    for _ in range(3):
        assert trees.differences(tree, m.path) == []
    handles = [open(m / "many" / f"{i:03}.txt", "rb") for i in range(200)]
    assert [h.read() for h in handles] == [(tree / "many" / f"{i:03}.txt").read_bytes()
                                           for i in range(200)]
    for h in handles:
        h.close()


def test_open_and_fill_race(pmount, serve, tree):
    """Opens while the last chunk comes in: never an error, whichever mode it is."""
    server = serve(tree)
    server.lie("/sizes/*", lying.delay(0.05))
    truth = (tree / "sizes" / "f196608").read_bytes()
    for i in range(6):
        m = pmount(server.url, "-o", f"chunk_size=4K,readahead={i % 2}")
        readers = [subprocess.Popen(["cmp", m / "sizes" / "f196608", tree / "sizes" / "f196608"])
                   for _ in range(12)]
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            with open(m / "sizes" / "f196608", "rb", buffering=0) as f:
                assert os.pread(f.fileno(), 5000, 100_000) == truth[100_000:105_000]
        assert [r.wait() for r in readers] == [0] * 12
        m.umount()
