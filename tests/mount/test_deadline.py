# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Nothing hangs: a deadline or a signal ends every wait."""
import errno
import os
import signal
import subprocess
import sys
import time

import pytest

import lying
import processes
import trees

SHORT = ("-o", "retries=0,connect_timeout=1s,stall_timeout=1s,wait_timeout=3s")


def read(path, offset=0):
    with open(path, "rb", buffering=0) as f:
        return os.pread(f.fileno(), 100, offset)


def fails(call, *errnos):
    """Seconds it took to fail."""
    before = time.monotonic()
    with pytest.raises(OSError) as e:
        call()
    assert e.value.errno in (errnos or (errno.EIO,)), e.value
    return time.monotonic() - before


@pytest.mark.sanitize
def test_stall(mount, serve, tree):
    server = serve(tree)
    server.lie("/big", lying.stall())
    m = mount(server.url, *SHORT)
    assert 0.5 < fails(lambda: read(m / "big")) < 6


def test_stall_in_the_middle(mount, serve, tree):
    server = serve(tree)
    server.lie("/big", lying.stall(3000))
    m = mount(server.url, *SHORT)
    assert 0.5 < fails(lambda: read(m / "big")) < 6
    server.honest()
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


def test_no_answer(mount, serve, tree):
    server = serve(tree)
    server.lie("/big", lying.delay(3600))
    m = mount(server.url, *SHORT)
    assert fails(lambda: read(m / "big")) < 6


def test_slow_but_moving_is_no_stall(mount, serve, tree):
    server = serve(tree)
    server.lie("/sizes/f65536", lying.slow(30_000))
    m = mount(server.url, "-o", "retries=0,stall_timeout=1s,wait_timeout=20s")
    assert (m / "sizes" / "f65536").read_bytes() == (tree / "sizes" / "f65536").read_bytes()


def test_whole_wait(mount, serve, tree):
    """A transfer that moves, but not soon enough for its reader."""
    server = serve(tree)
    server.lie("/big", lying.slow(3_000))
    m = mount(server.url, "-o", "retries=0,stall_timeout=5s,wait_timeout=2s")
    assert 1 < fails(lambda: read(m / "big", 1 << 20)) < 5


def test_stalled_listing(mount, serve, tree):
    server = serve(tree)
    server.lie("/many/", lying.stall())
    m = mount(server.url, *SHORT)
    assert fails(lambda: os.listdir(m / "many")) < 6
    server.honest()
    assert len(os.listdir(m / "many")) == 200


def test_refused_connection(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url, *SHORT)
    os.listdir(m.path)
    server.stop()
    assert fails(lambda: read(m / "big")) < 4


def test_cause_is_in_the_log_and_the_status(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url, *SHORT)
    server.lie("/big", lying.status(500))
    fails(lambda: read(m / "big"))
    assert "big" in m.log() and "500" in m.log()
    assert "500" in str(m.status("big"))


@pytest.mark.sanitize
def test_kill_ends_a_reader_at_once(mount, serve, tree):
    server = serve(tree)
    server.lie("/big", lying.stall())
    m = mount(server.url)
    with processes.Child(["cat", m / "big"], stdout=subprocess.DEVNULL) as reader:
        processes.wait_until(lambda: server.asked("/big"))
        before = time.monotonic()
        reader.kill()
        reader.wait()
        assert time.monotonic() - before < 1


def test_kill_ends_a_faulting_reader_at_once(mount, serve, big_program):
    program, _ = big_program
    server = serve(program.parent)
    m = mount(server.url)
    assert subprocess.run([m / "program"], stdout=subprocess.DEVNULL).returncode == 0
    server.lie("/program", lying.stall())
    with processes.Child([m / "program", str(150 << 20)], stdout=subprocess.DEVNULL) as reader:
        seen = len(server.asked("/program"))
        processes.wait_until(lambda: len(server.asked("/program")) > seen, 2)
        before = time.monotonic()
        reader.kill()
        reader.wait()
        assert time.monotonic() - before < 1


FAULT = """
import mmap, os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
with open(sys.argv[1], "rb") as f:
    m = mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
m.madvise(mmap.MADV_RANDOM)
os.write(1, b"!")
m[1 << 20]
"""


@pytest.mark.sanitize
def test_kill_after_a_caught_signal(mount, serve, tree):
    """The kernel asks to interrupt a request once: for the signal that was caught."""
    server = serve(tree)
    m = mount(server.url)
    server.lie("/big", lying.stall())
    with processes.Child([sys.executable, "-c", FAULT, m / "big"],
                         stdout=subprocess.PIPE) as reader:
        reader.stdout.read(1)
        processes.wait_until(lambda: server.asked("/big"))
        time.sleep(0.4)
        assert reader.poll() is None
        before = time.monotonic()
        reader.kill()
        reader.wait()
        assert time.monotonic() - before < 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_signal_ends_a_listing_at_once(mount, serve, tree, number):
    server = serve(tree)
    server.lie("/many/", lying.stall())
    m = mount(server.url)
    with processes.Child(["ls", m / "many"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) as reader:
        processes.wait_until(lambda: server.asked("/many/"))
        before = time.monotonic()
        reader.send_signal(number)
        assert reader.wait() == -number
        assert time.monotonic() - before < 1


def test_umount_does_not_wait_for_the_network(mount, serve, tree):
    """A transfer under way for nobody is no reason to stay."""
    server = serve(tree)
    server.lie("/big", lying.stall())
    m = mount(server.url)
    with processes.Child(["cat", m / "big"], stdout=subprocess.DEVNULL) as reader:
        processes.wait_until(lambda: server.asked("/big"))
        reader.kill()
    before = time.monotonic()
    m.umount()
    assert time.monotonic() - before < 3


def test_failed_fetch_is_tried_again(mount, serve, tree):
    """By the next reader: a failure is not latched."""
    server = serve(tree)
    server.lie("/sizes/f4096", lying.status(404))
    m = mount(server.url, *SHORT)
    for _ in range(2):
        fails(lambda: read(m / "sizes" / "f4096"))
    server.honest()
    assert (m / "sizes" / "f4096").read_bytes() == (tree / "sizes" / "f4096").read_bytes()


@pytest.mark.parametrize("lie", [lying.status(500), lying.status(503), lying.drop,
                                 lying.truncate(1000)])
def test_transient_failures_are_retried(mount, serve, tree, lie):
    server = serve(tree)
    server.lie("/big", lie, times=2)
    m = mount(server.url)
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


def test_retries_back_off(mount, serve, tree):
    server = serve(tree)
    server.lie("/sizes/f1", lying.status(503))
    m = mount(server.url, "-o", "retries=2")
    fails(lambda: read(m / "sizes" / "f1"))
    times = [r.at for r in server.asked("/sizes/f1", "GET")]
    # The kernel asks a second time, for the first page alone, when its read-ahead failed
    assert len(times) == 6
    assert times[2] - times[0] > 0.1 and times[5] - times[3] > 0.1


def test_many_stalled_readers_leave_threads(mount, serve, tree):
    """Requests that wait do not keep others from being served."""
    server = serve(tree)
    m = mount(server.url)
    for path in trees.walk(m.path):
        os.lstat(os.path.join(os.fsencode(m.path), path))
    read(m / "sizes" / "f4097")
    server.lie("/many/*", lying.stall())
    readers = [subprocess.Popen(["cat", m / "many" / f"{i:03}.txt"], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for i in range(64)]
    processes.wait_until(lambda: len(server.asked()) > 20, 2)
    before = time.monotonic()
    assert read(m / "sizes" / "f4097") == (tree / "sizes" / "f4097").read_bytes()[:100]
    assert len(os.listdir(m / "names")) == len(trees.NAMES)
    assert time.monotonic() - before < 1
    for reader in readers:
        reader.kill()
    for reader in readers:
        reader.wait()


def drip(request, answer):
    answer.drip_head = True


@pytest.mark.parametrize("lie", [lying.delay(3600), drip], ids=["delay", "drip"])
def test_asking_has_a_deadline(mount, serve, tree, lacunafs, lie):
    """`refresh` asks by a HEAD whose answer never ends."""
    server = serve(tree)
    m = mount(server.url, *SHORT)
    name, truth = m / "sizes" / "f4096", (tree / "sizes" / "f4096").read_bytes()
    assert name.read_bytes() == truth
    server.lie("/sizes/f4096", lie, methods=("HEAD",))
    before = time.monotonic()
    assert lacunafs.run("refresh", name).returncode != 0
    assert time.monotonic() - before < 4 * 3
    assert name.read_bytes() == truth


def test_stopping_cuts_before_it_waits(mount, serve, tree, lacunafs):
    server = serve(tree)
    m = mount(server.url, "-o", "wait_timeout=60s,stall_timeout=60s")
    (m / "sizes" / "f4096").read_bytes()
    server.lie("/sizes/f4096", lying.delay(3600), methods=("HEAD",))
    asked = len(server.asked("/sizes/f4096", "HEAD"))
    with lacunafs.start("refresh", m / "sizes" / "f4096", stderr=subprocess.DEVNULL) as client:
        processes.wait_until(lambda: len(server.asked("/sizes/f4096", "HEAD")) > asked)
        client.kill()  # it has the file open; the daemon goes on asking
        client.wait()
        before = time.monotonic()
        m.umount(seconds=20)
        assert time.monotonic() - before < 20
