# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The worker dies in the middle of what it does: of a change, of a notice to the kernel, of one
request again and again, or before it has begun."""
import contextlib
import errno
import os
import pathlib
import subprocess
import threading

import crash_points
import faults
import processes
import pytest
import random_ops
import trees
import worker_points
from dying import PATIENT, Reader, die_at_once


def stuck(m):
    """Does a notice wait in the kernel?"""
    for task in pathlib.Path(f"/proc/{m.worker()}/task").iterdir():
        with contextlib.suppress(OSError):
            if "fuse_reverse_inval" in (task / "stack").read_text():
                return True
    return False


@pytest.mark.sanitize
def test_notices_are_sent_again(mount, serve, scratch):
    """The kernel knows that names do not exist; they appear, and the notices wait for the directory,
    which a look-up holds, when the worker dies."""
    if os.geteuid() != 0:
        pytest.skip("only root sees where a thread waits")
    root = scratch / "source"
    for name in ("slow", "goes"):
        trees.put(root / "d" / name, b"x")
    names = [f"new{n}" for n in range(20)]
    server = serve(root, index="python")
    answers = threading.Event()
    server.lie("/d/slow", lambda request, answer: answers.wait(60), methods=("HEAD",))
    m = mount(server.url, "-o", f"listing_ttl=10ms,{PATIENT}")
    assert (m / "d" / "goes").read_bytes() == b"x"
    for name in names:
        assert not (m / "d" / name).exists()
    slow = Reader(lambda: os.stat(m / "d" / "slow"))
    assert processes.wait_until(lambda: server.asked("/d/slow", "HEAD"))
    for name in names:
        trees.put(root / "d" / name, b"y")
    (root / "d" / "goes").unlink()
    listed = Reader(lambda: os.listdir(m / "d"))
    try:
        assert processes.wait_until(lambda: stuck(m))
        assert slow.is_alive()
        die_at_once(m)
    finally:
        answers.set()
    assert slow.answer().st_size == 1
    listed.answer()
    assert processes.wait_until(lambda: all((m / "d" / name).exists() for name in names))
    assert processes.wait_until(lambda: not (m / "d" / "goes").exists())
    assert sorted(os.listdir(m / "d")) == sorted(["slow", *names])


def test_seals_are_added_once(mount, scratch):
    """SEAL_SEAL refuses its own repetition. The worker dies at each step of it in turn."""
    root = scratch / "source"
    root.mkdir()
    disk = faults.Faults(scratch)
    m = mount(root, "-o", "keeper=auto", env=disk.env)
    at, died = 0, True
    while died:
        at += 1
        fd = os.open(m / f"f{at}", os.O_RDWR | os.O_CREAT)
        disk.set(faults.KILL_ONCE, left=at - 1)
        done = m.program.run("seal", m / f"f{at}", "shrink,seal")
        _, died = disk.clear()
        assert done.returncode == 0, f"died before call {at}, {died}: {done.stderr}"
        os.close(fd)
    assert at > 1 and m.status()["takeovers"] == at - 1
    disk.close()


@pytest.mark.parametrize("mode, deaths", [(faults.CRASH_SYMLINK, 3), (faults.KILL_SYMLINK, 18)])
def test_a_request_that_ends_workers_fails_alone(mount, scratch, mode, deaths):
    """It is tried three times, or, where something else may be to blame, more often; others do not
    suffer."""
    root = scratch / "source"
    trees.put(root / "f", b"f" * 5000)
    trees.put(root / "waits", b"w")
    disk = faults.Faults(scratch)
    m = mount(root, "-o", "keeper=auto", env=disk.env)
    assert (m / "f").read_bytes() == b"f" * 5000
    held = open(m / "f", "rb", buffering=0)
    disk.set(mode)
    with pytest.raises(OSError) as e:
        os.symlink("f", m / "new")
    assert e.value.errno == errno.EIO
    assert held.read(100) == b"f" * 100
    assert (m / "waits").read_bytes() == b"w"
    disk.clear()
    os.symlink("f", m / "new")
    assert m.status()["takeovers"] == deaths
    assert "workers died of it" in m.log()
    held.close()
    disk.close()


def test_a_worker_that_cannot_start(mount, scratch):
    """Nobody hangs: each request gets EIO, and the log says why."""
    root = scratch / "source"
    trees.put(root / "f", b"f")
    m = mount(root, "-o", "keeper=auto")
    os.listdir(m.path)
    held = open(m / "f", "rb", buffering=0)
    (m.store / "tree").rename(scratch / "tree")
    (m.store / "tree").touch()
    m.kill_worker()
    with pytest.raises(OSError) as e:
        (m / "g").stat()
    assert e.value.errno == errno.EIO
    with pytest.raises(OSError) as e:
        os.mkdir(m / "new")
    assert e.value.errno == errno.EIO
    with contextlib.suppress(OSError):
        held.close()
    text = (m.store / "state" / "log").read_text()
    assert "no worker can be started" in text and "Not a directory" in text
    subprocess.run(["umount", m.path], check=True)
    assert processes.reap(m.pid, 10) == 1
    m.pid = None


def orphans(m):
    folder = m.store / "state" / "unlinked"
    return os.listdir(folder) if folder.exists() else []


def test_an_unlinked_file_goes_with_its_last_handle(mount, scratch):
    """Also if the worker before had counted a look-up twice, or a FORGET was lost with it; one that
    is still open stays."""
    root = scratch / "source"
    root.mkdir()
    ends = faults.Unanswered(scratch)
    m = mount(root, env=ends.env)
    open_still = os.open(m / "open", os.O_RDWR | os.O_CREAT)
    os.write(open_still, b"still here")
    os.unlink(m / "open")
    for at in range(12):  # of a look-up, of a create, of an unlink, of a close
        ends.set(faults.REPLY, left=at)
        with open(m / f"twice{at}", "wb") as f:
            f.write(b"x")
        os.stat(m / f"twice{at}")
        held = os.open(m / f"twice{at}", os.O_RDONLY)
        os.unlink(m / f"twice{at}")
        os.close(held)
        ends.clear()
    lost = os.open(m / "lost", os.O_RDWR | os.O_CREAT)
    os.unlink(m / "lost")
    assert len(orphans(m)) >= 2
    before = m.worker()
    ends.set(faults.FORGET)
    os.close(lost)
    assert processes.wait_until(lambda: m.worker() not in (None, before))
    assert processes.wait_until(lambda: len(orphans(m)) == 1, 30)
    assert os.pread(open_still, 100, 0) == b"still here"
    assert m.status()["takeovers"] >= 8
    os.close(open_still)
    assert processes.wait_until(lambda: not orphans(m), 30)
    ends.close()


@pytest.mark.sanitize
@pytest.mark.patience(300)
def test_random_changes(lacunafs, seed, variant):
    """random_ops.py, while the worker is killed."""
    print(f"random_ops.py --seed {seed} --deaths 0.1 --variant {variant}")
    rounds, deaths = random_ops.torture(lacunafs, lacunafs.scratch, seed, 15, deaths=0.1,
                                        without=("crash",), steps=200)
    assert rounds >= 1 and deaths >= 5


@pytest.mark.patience(300)
@pytest.mark.parametrize("kind", [worker_points.Campaign, worker_points.Replies])
def test_killed_at_any_step(lacunafs, scratch, choose, kind):
    """worker_points.py, at a random choice of points."""
    rows = choose.sample(crash_points.rows(), 8)
    points, wrong = kind(lacunafs, scratch, rows).torture(choose, 25)
    assert points and not wrong, "\n".join(wrong)
