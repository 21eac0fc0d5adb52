# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The end of a mount while it has much to do."""
import ctypes
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

import lying
import processes
import trees

PATIENT = "retries=0,stall_timeout=60s,wait_timeout=60s"


def end(m, seconds=8):
    """SIGTERM; the daemon's exit code."""
    os.kill(m.pid, signal.SIGTERM)
    status = processes.reap(m.pid, seconds)
    assert status is not None, f"the daemon still runs {seconds} s after SIGTERM"
    m.pid = None
    return status


def quiet(*argv):
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(m, seconds=8):
    """SIGKILL; -9. What is stuck in the kernel would be there with its process."""
    os.kill(m.pid, signal.SIGKILL)
    status = processes.reap(m.pid, seconds)
    assert status is not None, f"the daemon is still there {seconds} s after SIGKILL"
    m.abandon()
    return status


@pytest.mark.sanitize
@pytest.mark.parametrize("how, ended", [(end, 0), (killed, -signal.SIGKILL)])
def test_while_the_kernel_waits_for_a_look_up(mount, serve, scratch, how, ended):
    """A look-up waits for the source and holds its directory; telling the kernel of a new name
    in it waits for the look-up, and has the device open meanwhile."""
    root = scratch / "source"
    trees.put(root / "d" / "one", b"1")
    server = serve(root, index="python")
    m = mount(server.url, "-o", f"listing_ttl=200ms,{PATIENT}")
    os.stat(m / "d")
    os.listdir(m.path)
    server.lie("/d/*", lying.delay(60), methods=("HEAD",))
    waiting = quiet("stat", m / "d" / "one")
    assert processes.wait_until(lambda: server.asked("/d/one", "HEAD"))
    trees.put(root / "d" / "two", b"2")
    time.sleep(0.4)
    os.stat(m / "d")
    time.sleep(0.2)
    late = [quiet("stat", m / "d" / f"none{i}") for i in range(2)]
    try:
        assert how(m) == ended
        for p in [waiting, *late]:
            assert p.wait(5) != 0
    finally:
        for p in [waiting, *late]:
            p.kill()


def threads(pid, name):
    """Thread ids by the threads' name."""
    task = pathlib.Path(f"/proc/{pid}/task")
    return [int(t.name) for t in task.iterdir() if (t / "comm").read_text() == f"{name}\n"]


def hold(tids):
    """Stops these threads alone, until they are killed."""
    for tid in tids:
        for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
            if processes.libc.ptrace(request, tid, None, None) != 0:
                raise OSError(ctypes.get_errno(), "ptrace")


def waits_at(tid, function):
    return function in pathlib.Path(f"/proc/{tid}/stack").read_text()


@pytest.mark.sanitize
def test_killed_before_it_read_a_request(mount, serve, scratch):
    """A look-up holds its directory, and its request is still in the queue; telling the kernel that
    a name there is a directory waits for the look-up, with the device open."""
    root, release = scratch / "source", threading.Event()
    trees.put(root / "d" / "one", b"1" * 9000)
    server = serve(root)
    m = mount(server.url, "-o", f"threads=1,{PATIENT}")
    os.listdir(m / "d")
    (root / "d" / "one").unlink()
    trees.put(root / "d" / "one" / "inner", b"2")
    server.lie("/d/one", lambda *_: release.wait(60))
    waiting = [quiet("cat", m / "d" / "one")]
    try:
        assert processes.wait_until(lambda: m.status()["transfers"])
        held = threads(m.worker(), "fuse")
        hold(held)
        waiting.append(quiet("stat", m / "d" / "none"))
        assert processes.wait_until(lambda: waits_at(waiting[1].pid, "fuse_lookup"))
        release.set()
        assert processes.wait_until(lambda: any(
            waits_at(t, "fuse_reverse_inval_entry") for t in threads(m.worker(), "notify")))
        guard = processes.child_named(m.pid, "lacunafs-guard")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGRTMIN):
            os.kill(guard, number)  # the end of a service reaches all of its processes
        os.kill(m.pid, signal.SIGKILL)
        for tid in held:
            os.waitpid(tid, 0x40000000)  # __WALL: a traced thread that ended is its tracer's
        assert killed(m) == -signal.SIGKILL
        assert [p.wait(10) for p in waiting] == [1, 1]
        assert processes.reap(guard, 10) == 0
    finally:
        release.set()
        for p in waiting:
            p.kill()


@pytest.mark.sanitize
@pytest.mark.parametrize("how", ["SIGTERM", "umount -l", "umount -f"])
def test_under_load(mount, serve, scratch, how):
    """Nobody hangs, nothing leaks, and nothing wrong is in the store."""
    if how != "SIGTERM" and os.geteuid() != 0:
        pytest.skip("only root unmounts by umount(8)")
    root = scratch / "source"
    for i in range(24):
        trees.put(root / "d" / f"f{i}", trees.noise(i, 150_000))
    server = serve(root)
    m = mount(server.url, "-o", f"threads=3,{PATIENT}")
    os.listdir(m / "d")
    server.lie("/d/f*", lying.slow(200_000))
    server.lie("/d/f*3", lying.stall())
    readers = [quiet("cat", m / "d" / f"f{i}") for i in range(24)]
    readers += [quiet("find", m.path, "-type", "f", "-size", "+1")]
    time.sleep(0.4)
    if how == "SIGTERM":
        assert end(m) == 0
    else:
        subprocess.run([*how.split(), m.path], check=how == "umount -l")
        for p in readers:
            p.kill()
        assert processes.reap(m.pid, 8) == 0
        m.pid = None
        subprocess.run(["umount", "-l", m.path], stderr=subprocess.DEVNULL)
    for p in readers:
        p.kill()
        p.wait(5)
    server.honest()
    m = m.again()
    for i in range(24):
        assert (m / "d" / f"f{i}").read_bytes() == (root / "d" / f"f{i}").read_bytes()


def test_ctrl_c_while_mounting(lacunafs, serve, tree, scratch):
    """The server does not answer, and whoever asked for the mount does not want it any more."""
    server = serve(tree)
    server.lie("*", lying.stall())
    (scratch / "m").mkdir()
    for options in ([], ["--foreground"]):
        asked = lacunafs.start("mount", server.url, scratch / "m", "--store", scratch / "s", "-o",
                               PATIENT, *options, stderr=subprocess.PIPE)
        time.sleep(0.5)
        asked.send_signal(signal.SIGINT)
        _, said = asked.communicate(timeout=5)
        assert asked.returncode != 0 and len(said.splitlines()) == 1, said
        assert not os.path.ismount(scratch / "m")


def test_a_source_that_does_not_let_go(mount, serve, scratch):
    """A tree of a mount whose server is dead: a thread of ours is in the kernel until it is back."""
    root = scratch / "source"
    trees.put(root / "read", trees.noise(1, 150_000))
    trees.put(root / "listed" / "f", b"1")
    server = serve(root)
    dead = mount(server.url, "-o", "retries=0,stall_timeout=1h,wait_timeout=1h,connect_timeout=1h")
    m = mount(dead.path, "-o", "wait_timeout=1h", store=scratch / "store")
    trees.put(m / "own", b"written here")
    server.lie("/read", lying.stall())
    server.lie("/listed/", lying.stall())
    waiting = [quiet("cat", m / "read"), quiet("ls", m / "listed")]
    assert processes.wait_until(lambda: server.asked("/read") and server.asked("/listed/"))
    try:
        assert end(m, 60) == 0
        for p in waiting:
            assert p.wait(10) != 0
    finally:
        for p in waiting:
            p.kill()
    assert "does not answer" in m.log() and not os.path.ismount(m.path)
    again = mount(dead.path, store=scratch / "store")
    assert (again / "own").read_bytes() == b"written here"


def test_a_log_that_nobody_reads(lacunafs, mount, tree, scratch):
    """A FIFO: without a reader it is refused; with one that stands still the mount works, and ends."""
    fifo = scratch / "fifo"
    os.mkfifo(fifo)
    (scratch / "none").mkdir()
    refused = lacunafs.run("mount", tree, scratch / "none", "--store", scratch / "s", "--log", fifo,
                           timeout=20)
    assert refused.returncode == 1 and f"{fifo}: a FIFO that nobody reads" in refused.stderr
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    full = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for size in (4096, 1):
            try:
                while os.write(full, bytes(size)):
                    pass
            except BlockingIOError:
                pass
        m = mount(tree, "--log", fifo)
        assert (m / "big").read_bytes() == (tree / "big").read_bytes()
        assert m.status()["log"]["waiting"] > 0
        m.umount()
    finally:
        os.close(full)
        os.close(reader)


@pytest.mark.sanitize
@pytest.mark.parametrize("how", ["over it", "in its place"])
def test_what_others_mounted_stays(mount, tree, how):
    """Told to stop, the daemon unmounts its own mount, not what is topmost at the path."""
    m = mount(tree)
    held = os.open(m / "big", os.O_RDONLY) if how == "in its place" else -1
    if held >= 0:
        subprocess.run(["umount", "-l", m.path], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "theirs", m.path], check=True)
    try:
        (m.path / "precious").write_text("data")
        assert end(m) == 0
        assert (m.path / "precious").read_text() == "data"
    finally:
        subprocess.run(["umount", m.path], check=True)
        if held >= 0:
            os.close(held)
        else:  # what was covered is dead, and the next mount takes it away
            m.again()
            assert (m / "big").exists()
