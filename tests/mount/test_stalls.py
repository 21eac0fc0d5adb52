# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Real disks that stall under a mount in use: who waits, and who does not."""
import contextlib
import errno
import os
import subprocess
import threading
import time

import pytest

import lying
import processes
import trees
from outcomes import error_of
from test_hard_disks import read, write


@pytest.mark.parametrize("threads", [1, 3])
def test_a_disk_that_stalls(volume, mount, serve, scratch, threads):
    """Operations that need it wait, as on any file system; all others are served, and a reader who
    waits for the source can be killed."""
    for name in ("warm", "cold"):
        trees.put(scratch / "src" / name, trees.noise(3, 300_000))
    disk = volume("ext4", 64)
    server = serve(scratch / "src")
    m = mount(server.url, "-o", f"threads={threads},passthrough=no,stall_timeout=60s",
              store=disk.path / "store")
    data = read(m / "warm", 0, 300_000)
    directories = ["a", "bb", "c", "dd", "e"]
    for name in directories:
        os.mkdir(m / name)
    server.lie("/cold", lying.stall())
    reader = subprocess.Popen(["dd", f"if={m.path}/cold", "iflag=direct"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert processes.wait_until(lambda: server.asked("/cold"))
    disk.freeze()
    late = threading.Timer(60, disk.thaw)  # should this process wait for it, too
    late.start()
    try:
        # each holds its directory in the kernel
        stuck = [subprocess.Popen([("mkdir", "touch")[len(name) - 1], m / name / "new"])
                 for name in directories]
        time.sleep(0.5)
        before = time.monotonic()
        assert read(m / "warm", 4096, 4096) == data[4096:8192]
        with open(m / "warm", "rb", buffering=0) as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert f.read(300_000) == data
        assert os.stat(m / "warm").st_size == 300_000 and not os.path.exists(m / "none")
        reader.kill()
        assert reader.wait() == -9
        assert time.monotonic() - before < 10
        assert all(p.poll() is None for p in stuck)
    finally:
        late.cancel()
        disk.thaw()
    assert [p.wait(30) for p in stuck] == [0] * len(stuck)
    assert all(os.path.exists(m / name / "new") for name in directories)


STALLS = {"rename": ["mv", "d/x", "d/y"], "replace": ["mv", "d/x", "d/z"],
          "directory": ["mv", "-T", "d/sub", "d/moved"], "unlink": ["rm", "d/x"],
          "link": ["ln", "d/x", "d/y"], "rmdir": ["rmdir", "d/sub"], "mkdir": ["mkdir", "d/new"]}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("what", STALLS)
def test_a_name_that_stalls(volume, mount, serve, scratch, what, threads):
    """One name moves on a disk that stands still: only who needs what is moved waits for it."""
    for name in ("warm", *(f"many/{n:02}" for n in range(20))):
        trees.put(scratch / "src" / name, trees.noise(3, 300_000))
    disk = volume("ext4", 64)
    m = mount(serve(scratch / "src").url, "-o", f"threads={threads}", store=disk.path / "store")
    data = read(m / "warm", 0, 300_000)
    os.makedirs(m / "d" / "sub")
    for name in ("mine", "many/mine", "d/x", "d/z"):
        write(m / name, data)
    os.stat(m / "many" / "00")
    files = [os.open(m / name, os.O_RDONLY) for name in ("warm", "mine")]
    disk.freeze()
    late = threading.Timer(40, disk.thaw)  # should this process wait for it, too
    late.start()
    try:
        stuck = subprocess.Popen(STALLS[what], cwd=m.path)
        time.sleep(0.5)
        before = time.monotonic()
        for f in files:  # one is not open any more after that, perhaps in passthrough
            os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(f, 300_000, 0) == data
            os.close(f)
        for name in ("warm", "mine", "many/01", "many/mine"):
            subprocess.run(["stat", "--cached=never", m / name], check=True,
                           stdout=subprocess.DEVNULL, timeout=20)
            if name != "many/01":  # which is not here
                assert read(m / name, 4096, 4096) == data[4096:8192]
        assert not os.path.exists(m / "none")
        assert sorted(os.listdir(m / "many")) == [*(f"{n:02}" for n in range(20)), "mine"]
        assert m.status("mine")["path"] == "mine" and m.status()["mountpoint"]
        assert time.monotonic() - before < 20
        assert stuck.poll() is None
    finally:
        late.cancel()
        disk.thaw()
    assert stuck.wait(30) == 0
    names = {"rename": "sub y z", "replace": "sub z", "directory": "moved x z", "unlink": "sub z",
             "link": "sub x y z", "rmdir": "x z", "mkdir": "new sub x z"}[what]
    assert sorted(os.listdir(m / "d")) == names.split()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_log_that_stalls(volume, mount, serve, scratch, threads):
    """The disk of the store and the log stands still, and the clock, the network's thread and those
    that serve have something to log: each deadline is kept, data that is present is read, the mount
    answers, and afterwards the log has it all."""
    truth = trees.noise(3, 300_000)
    for name in ("warm", "late", "broken", "gone"):
        trees.put(scratch / "src" / name, truth)
    disk = volume("ext4", 64)
    server = serve(scratch / "src")
    m = mount(server.url, "-o", f"threads={threads},passthrough=no,wait_timeout=500ms,retries=0,"
              "stall_timeout=60s,readahead=0", store=disk.path / "store")
    assert read(m / "warm", 0, 300_000) == truth
    files = {name: open(m / name, "rb", buffering=0) for name in ("late", "broken", "gone")}
    server.lie("/late", lying.stall(0))
    server.lie("/broken", lying.status(500))
    server.lie("/gone", lying.status(403))
    m.log_settle()
    disk.freeze()
    late = threading.Timer(60, disk.thaw)
    late.start()
    try:
        begun = time.monotonic()
        for n in range(2):
            for name, f in files.items():
                assert error_of(os.pread, f.fileno(), 10, n << 16) == errno.EIO, name
            with open(m / "warm", "rb", buffering=0) as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert f.read(300_000) == truth
            state = m.status()
            assert state["log"]["waiting"] > 0 and state["log"]["lost"] == 0
        assert time.monotonic() - begun < 30  # a few deadlines of half a second
        assert "/broken" not in (m.store / "state" / "log").read_text()
    finally:
        late.cancel()
        disk.thaw()
        for f in files.values():
            f.close()
    log = m.log()
    assert "messages were lost" not in log
    for name in files:
        assert f"/{name}" in log, name


@contextlib.contextmanager
def evicting(m, disk, name):
    """An eviction that has the file for itself, and waits for the disk."""
    disk.freeze()
    late = threading.Timer(60, disk.thaw)
    late.start()
    evict = lambda: m.program.start("evict", m / name, stderr=subprocess.PIPE)
    eviction = evict()
    try:
        # an open that does not wait ends before the next look
        def opens():
            nonlocal eviction
            if eviction.poll() is not None:  # an open was in its way
                eviction.communicate()
                eviction = evict()
            child = subprocess.Popen(["head", "-c1", m / name], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            try:
                return child.wait(2) != 0
            except subprocess.TimeoutExpired:
                return child
        child = processes.wait_until(opens, 20)
        assert isinstance(child, subprocess.Popen)
        yield child
    finally:
        late.cancel()
        disk.thaw()
    assert eviction.wait(30) == 0, eviction.communicate()


@pytest.mark.parametrize("seconds", [60, 4])
def test_what_waits_beside_an_eviction_that_stalls(volume, mount, serve, scratch, seconds):
    """An open, and what makes the file count: each can be killed, and ends by its deadline. Others
    are served, however many wait."""
    truth = trees.noise(3, 300_000)
    trees.put(scratch / "src" / "warm", truth)
    disk = volume("ext4", 64)
    m = mount(serve(scratch / "src").url, "-o", f"passthrough=no,wait_timeout={seconds}s",
              store=disk.path / "store")
    assert read(m / "warm", 0, 300_000) == truth
    time.sleep(0.1)  # the RELEASE is on its way
    with evicting(m, disk, "warm") as child:
        waiting = [child] + [subprocess.Popen(["chmod", "600", m / "warm"],
                                              stderr=subprocess.DEVNULL)]
        waiting += [subprocess.Popen(["setfattr", "-n", f"user.{n}", m / "warm"],
                                     stderr=subprocess.DEVNULL) for n in range(3 if seconds == 60 else 0)]
        time.sleep(0.5)
        begun = time.monotonic()
        assert m.status()["mountpoint"] and not os.path.exists(m / "none")
        if seconds == 60:
            assert all(one.poll() is None for one in waiting)
            for one in waiting:  # first all: some wait in the kernel for one of the others
                one.kill()
        for one in waiting:
            assert one.wait(30) == (-9 if seconds == 60 else 1)
        assert time.monotonic() - begun < 25
    assert read(m / "warm", 0, 300_000) == truth
