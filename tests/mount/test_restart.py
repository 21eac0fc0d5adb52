# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The keeper is killed, and a service manager that has its descriptors starts it again: the mount is
intact."""
import fcntl
import os
import signal
import subprocess
import threading

import handlers
import lying
import processes
import pytest
import supervising
import trees
import upgrading
from dying import PATIENT, Reader, die, is_brought

KEPT = ["lacuna-area", "lacuna-device", "lacuna-listener", "lacuna-lock", "lacuna-second"]


@pytest.fixture
def supervised(lacunafs):
    made = []

    def mount(*args, **options):
        made.append(supervising.Supervised(lacunafs, *args, **options))
        return made[-1]
    yield mount
    for m in made:
        m.close()


@pytest.mark.sanitize
def test_what_is_open_goes_on(supervised, scratch):
    root = scratch / "source"
    for name in ("a", "b"):
        trees.put(root / "d" / name, name.encode() * 200000)
    trees.put(root / "watched", b"w" * 9000)
    m = supervised(root)
    held = open(m / "d" / "a", "rb")
    gone = open(m / "d" / "b", "rb")
    os.unlink(m / "d" / "b")
    written = open(m / "d" / "new", "w+b", buffering=0)
    written.write(b"1" * 8192)
    os.rename(m / "d", m / "e")
    fcntl.flock(held, fcntl.LOCK_EX)
    where = subprocess.Popen(["sh", "-c", "read x; cat new; pwd"], cwd=m / "e", text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    handler = handlers.Handler(m, name="n")
    assert handler.mark(handlers.FILE, m / "watched") == 0
    for n in range(3):
        assert processes.wait_until(lambda: m.manager.names() == sorted(KEPT + ["lacuna-handler0"]))
        m.restart()
        if n == 1:
            die(m)
        assert held.read(1000) == b"a" * 1000
        assert gone.read(1000) == b"b" * 1000
        assert sorted(os.listdir(m / "e")) == ["a", "new"]
        with open(m / "e" / "a", "rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    is_brought(m / "watched", handler)
    with where:
        out, _ = where.communicate("\n")
    assert out == "1" * 8192 + f"{m / 'e'}\n"
    for f in (held, gone, written):
        f.close()
    m.umount()
    assert processes.wait_until(lambda: m.manager.names() == [])
    assert m.manager.said[-1] == "STOPPING=1"


@pytest.mark.sanitize
def test_who_waits_is_answered(supervised, serve, scratch):
    """Also with calls that came while nobody served."""
    root = scratch / "source"
    trees.put(root / "slow", b"s" * 300000)
    server = serve(root, index="python")
    m = supervised(server.url, "-o", PATIENT)
    os.listdir(m.path)
    server.lie("/slow", lying.delay(2), methods=("GET",))
    readers = [Reader(lambda: (m / "slow").read_bytes()) for _ in range(3)]
    assert processes.wait_until(lambda: server.asked("/slow", "GET"))
    os.kill(m.pid, signal.SIGKILL)
    m.child.wait(30)
    readers.append(Reader(lambda: os.listdir(m / ".")))
    readers.append(Reader(lambda: (m / "new").write_bytes(b"n")))
    m.start()
    assert {r.answer() for r in readers[:3]} == {b"s" * 300000}
    assert "slow" in readers[3].answer() and readers[4].answer() == 1
    assert (m / "new").read_bytes() == b"n"


def test_only_one_worker_works(supervised, scratch):
    """One whose keeper was killed may take its time to end: the next one waits for it."""
    trees.put(scratch / "source" / "a", b"a")
    m = supervised(scratch / "source")
    worker, killed = m.worker(), m.pid
    with open(upgrading.area_of(m), "rb") as area:
        with pytest.raises(BlockingIOError):
            fcntl.flock(area, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(m.pid, signal.SIGKILL)
        m.child.wait(30)
        assert processes.wait_until(lambda: processes.executable(worker) is None)
        fcntl.flock(area, fcntl.LOCK_EX)  # in the place of the worker
        starting = threading.Thread(target=m.start)
        starting.start()
        assert processes.wait_until(lambda: m.pid != killed and m.worker() is not None)
        starting.join(0.5)
        assert starting.is_alive()
    starting.join(30)
    assert (m / "a").read_bytes() == b"a"


def test_an_upgrade_between_two_restarts(supervised, lacunafs, scratch):
    """The new keeper speaks to the manager, too."""
    trees.put(scratch / "source" / "a", b"a" * 100000)
    m = supervised(scratch / "source")
    held = open(m / "a", "rb")
    upgrading.upgraded(m, upgrading.newer(lacunafs, scratch))
    os.utime(m / "a")
    handler = handlers.Handler(m, name="n")
    assert processes.wait_until(lambda: m.manager.names() == sorted(KEPT + ["lacuna-handler0"]))
    m.restart()
    assert held.read(1000) == b"a" * 1000
    assert [h["state"] for h in m.status()["handlers"]] == ["attached"]
    handler.detach()
    held.close()


@pytest.mark.parametrize("how", ["layout", "device", "area"])
def test_what_cannot_be_resumed_is_mounted_anew(supervised, scratch, how):
    """And is told; the store is as it was."""
    trees.put(scratch / "source" / "a", b"a")
    m = supervised(scratch / "source")
    (m / "new").write_bytes(b"n")
    if how == "layout":
        upgrading.layout_change(m)
    else:
        m.manager.take({"FDSTOREREMOVE": "1", "FDNAME": f"lacuna-{how}"}, [])
    m.restart()
    assert "cannot be resumed" in m.told()
    assert (m / "a").read_bytes() == b"a" and (m / "new").read_bytes() == b"n"
    assert processes.wait_until(lambda: m.manager.names() == KEPT)
    m.restart()
    assert (m / "new").read_bytes() == b"n"


def test_an_ordinary_user(supervised, serve, tree, nobody, lacunafs, scratch):
    lacunafs.give(nobody)
    scratch.chmod(0o777)
    m = supervised(serve(tree).url, user=nobody)
    assert m.status()["takeovers"] == 0
    m.restart()
    assert m.status()["takeovers"] == 1


def test_a_manager_without_a_store(supervised, scratch):
    """What waits when the keeper is killed gets an error, and the next one mounts anew."""
    root = scratch / "source"
    trees.put(root / "a", b"a")
    m = supervised(root, room=0)
    assert processes.child_named(m.pid, "lacunafs-guard") and m.manager.names() == []
    (m / "new").write_bytes(b"n")
    m.restart()
    assert m.status()["takeovers"] == 0
    assert (m / "a").read_bytes() == b"a" and (m / "new").read_bytes() == b"n"


def test_a_manager_without_a_keeper(supervised, tree):
    """It is told all the same."""
    m = supervised(tree, "-o", "keeper=no")
    assert m.manager.names() == []
    m.umount()
    assert processes.wait_until(lambda: m.manager.said == ["READY=1", "STOPPING=1"]), m.manager.said
