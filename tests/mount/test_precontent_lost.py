# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Handlers that die, hang, or block on themselves."""
import contextlib
import errno
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

import handlers
import processes
import trees
from handlers import AGAIN, ALLOW, ANSWER, HEADER, MARK, MOUNT, Handler, Serving
from outcomes import error_of
from precontent import CHUNK, DATA, OTHER, Reader, bring, pread, source

__all__ = ["source"]  # a fixture


class Process:
    """A handler in a process of its own."""

    def __init__(self, mount, kind, root, **attach):
        env = {**os.environ, "XDG_RUNTIME_DIR": mount.program.env["XDG_RUNTIME_DIR"]}
        self.child = subprocess.Popen(
            [sys.executable, handlers.__file__, mount.path, kind, root, json.dumps(attach)],
            stdout=subprocess.PIPE, text=True, env=env)
        self.ready = self.line()

    def line(self):
        return self.child.stdout.readline().strip()

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


def lost(mount):
    """Until the mount has seen it."""
    until = time.monotonic() + 20
    while any(h["state"] == "attached" for h in mount.status()["handlers"]):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_who_waits_for_a_dead_handler_waits_for_the_next(source, mount):
    m = mount(source)
    dead = Process(m, "hang", source, name="n")
    assert dead.ready == "ready False"
    readers = [Reader(m / "f", 0, 10), Reader(m / "g", 0, 10)]
    assert dead.line() == "event" and dead.line() == "event"
    dead.kill()
    lost(m)
    readers.append(Reader(m / "f", 8 * CHUNK, 10))  # nobody has been told of it yet
    other = Handler(m, name="other")
    assert other.hello["inherited"] is False
    assert all(r.is_alive() for r in readers)
    told = {h["name"]: h for h in m.status()["handlers"]}
    assert told["n"]["state"] == "lost" and told["n"]["waiting"] == 3
    back = Handler(m, name="n")
    assert back.hello["inherited"] is True
    events = [back.next() for _ in range(3)]
    assert sorted((e.path, e.offset, e.flags) for e in events) == \
        [("f", 0, AGAIN), ("f", 8 * CHUNK, 0), ("g", 0, AGAIN)]
    for event in events:
        event.bring(OTHER)
        back.answer(event, ALLOW)
    assert [r.wait() for r in readers] == [OTHER[:10], OTHER[:10], OTHER[8 * CHUNK:][:10]]
    back.detach(), other.detach()
    assert pread(m / "sub" / "f", 0, 10) == DATA[:10]
    assert m.status()["handlers"] == []


@pytest.mark.parametrize("policy, expected", [("deny", errno.EIO), ("source", DATA[:10])])
def test_what_else_may_become_of_them(policy, expected, source, mount):
    m = mount(source, "-o", f"handler_lost={policy}")
    dead = Process(m, "hang", source)
    reader = Reader(m / "f", 0, 10)
    assert dead.line() == "event"
    dead.kill()
    assert reader.wait() == expected
    assert Reader(m / "g", 0, 10).wait() == expected
    if policy == "deny":
        back = Handler(m)
        assert back.hello["inherited"] is True
        serving = Serving(back, bring)
        assert pread(m / "g", 0, 10) == OTHER[:10]
        serving.stop()


@pytest.mark.parametrize("mode", ["holes", "every"])
def test_a_handler_that_takes_too_long_is_given_up(mode, source, mount):
    m = mount(source, "-o", "handler_timeout=300ms,handler_lost=deny")
    hung = Process(m, "hang", source, mode=mode)
    began = time.monotonic()
    assert Reader(m / "f", 0, 10).wait() == errno.EIO
    assert 0.25 < time.monotonic() - began < 5
    lost(m)
    hung.kill()
    assert "has not answered" in m.log()


def test_waiting_has_no_other_end(source, mount):
    """No deadline of a reader's counts while somebody is asked; a fatal signal does."""
    m = mount(source, "-o", "wait_timeout=200ms")
    dead = Process(m, "hang", source)
    reader = Reader(m / "f", 0, 10)
    assert dead.line() == "event"
    dead.kill()
    child = subprocess.Popen(["head", "-c", "10", m / "g"], stdout=subprocess.DEVNULL)
    time.sleep(1)
    assert reader.is_alive() and child.poll() is None
    child.terminate()
    assert child.wait(5) == -signal.SIGTERM
    back = Serving(Handler(m), bring)
    assert reader.wait() == OTHER[:10]
    back.stop()


def test_an_interrupted_caller_of_mode_every(source, mount):
    """A caught signal waits for the handler's answer, and for the next handler once it is lost."""
    m = mount(source)
    handler = Handler(m, mode="every")
    handler.mark(MOUNT)
    code = ("import os,signal,sys; signal.signal(signal.SIGUSR1, lambda *_: None);"
            "signal.siginterrupt(signal.SIGUSR1, True)\n"
            "import ctypes; c=ctypes.CDLL(None,use_errno=True); f=os.open(sys.argv[1],0)\n"
            "print('go',flush=True); n=c.pread(f,ctypes.create_string_buffer(9),9,0)\n"
            "print(n,ctypes.get_errno())")
    child = subprocess.Popen([sys.executable, "-c", code, m / "f"], stdout=subprocess.PIPE,
                             text=True)
    assert child.stdout.readline() == "go\n"
    handler.next()
    child.send_signal(signal.SIGUSR1)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    handler.close()
    child.send_signal(signal.SIGUSR1)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    back = Serving(Handler(m, mode="every"), bring)
    assert child.stdout.readline() == "9 0\n"
    assert child.wait(10) == 0
    back.stop()
    child.stdout.close()
    m.status()


@pytest.mark.parametrize("flags", ["O_RDONLY", "O_RDONLY | os.O_DIRECT"])
def test_kill_ends_the_wait_for_a_lost_handler(source, mount, flags):
    m = mount(source)
    dead = Process(m, "hang", source)
    code = (f"import mmap, os, sys; f = os.open(sys.argv[1], os.{flags})\n"
            "os.write(1, b'!'); os.readv(f, [mmap.mmap(-1, 4096)])")
    with processes.Child([sys.executable, "-c", code, m / "f"], stdout=subprocess.PIPE) as child:
        assert child.stdout.read(1) == b"!" and dead.line() == "event"
        dead.kill()
        time.sleep(0.3)
        before = time.monotonic()
        child.kill()
        assert child.wait(60) == -signal.SIGKILL and time.monotonic() - before < 5


@pytest.mark.sanitize
def test_a_handler_is_dismissed(source, mount, lacunafs):
    """One that died, for whom readers wait; then one that is attached."""
    m = mount(source)
    Process(m, "hang", source).kill()
    readers = [Reader(m / name, 0, 10) for name in ("f", "g")]
    assert processes.wait_until(lambda: [h["waiting"] for h in m.status()["handlers"]] == [2])
    name = m.status()["handlers"][0]["name"]
    shown = lacunafs.run("handlers", m.path).stdout
    assert name in shown and "lost" in shown and "2 waiting" in shown
    done = lacunafs.run("handlers", "--dismiss", "nobody", m.path)
    assert done.returncode == 1 and "nobody" in done.stderr
    assert lacunafs.run("handlers", "--dismiss", name, m.path).returncode == 0
    for reader in readers:
        assert reader.wait() == DATA[:10]
    assert m.status()["handlers"] == []
    attached = Handler(m, name="second")
    attached.mark(MOUNT)
    reader = Reader(m / "other", 0, 10)
    attached.next()
    assert lacunafs.run("handlers", "--dismiss", "second", m.path).returncode == 0
    reader.wait()
    assert processes.wait_until(lambda: m.status()["handlers"] == [])
    attached.close()


def sockets(pid):
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
    return found


def test_no_scratch_file_can_be_made(source, mount):
    """The daemon has no descriptor left: an error, in a while; then it goes on."""
    m = mount(source)
    serving = Serving(Handler(m, name="h"), bring)
    connected = sockets(m.worker())
    serving.handler.send(MARK, 1, struct.pack("=IIQ", MOUNT, 1, 0))
    assert processes.wait_until(lambda: m.status()["handlers"][0]["marks"] == 1)
    fd = os.open(m / "f", os.O_RDONLY)
    # those of `status` are closed a little later, and would be free then
    assert processes.wait_until(lambda: sockets(m.worker()) <= connected)
    used = {int(n) for n in os.listdir(f"/proc/{m.worker()}/fd")}
    before = resource.prlimit(m.worker(), resource.RLIMIT_NOFILE)
    try:
        free = min(set(range(len(used) + 1)) - used)
        resource.prlimit(m.worker(), resource.RLIMIT_NOFILE, (free, before[1]))
        assert error_of(os.pread, fd, 10, 0) == errno.EIO
    finally:
        resource.prlimit(m.worker(), resource.RLIMIT_NOFILE, before)
    assert "no scratch file" in m.log()
    assert os.pread(fd, 10, CHUNK) == OTHER[CHUNK:][:10]
    os.close(fd)
    serving.stop()


def test_unmounting_ends_the_wait(source, mount):
    m = mount(source)
    dead = Process(m, "hang", source, mode="every")
    reader = Reader(m / "f", 0, 10)
    dead.line()
    dead.kill()
    m.kill()
    assert reader.wait() in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)


def test_a_handler_that_waits_for_itself(source, mount):
    m = mount(source)
    alone = Process(m, "self", source)
    assert pread(m / "f", 0, 10) == OTHER[:10]
    assert alone.line() in ("EDEADLK", "EDEADLOCK")
    assert pread(m / "g", 0, 10) == OTHER[:10]
    alone.kill()


class Mortal:
    """A handler that is killed at a random step of each event, and followed by the next."""

    STEPS = ("received", "half-brought", "brought", "half-answered", "answered")

    def __init__(self, mount, rng):
        self.mount, self.rng = mount, rng

    def life(self):
        """One, in a child process: its events, by a pipe."""
        out, into = os.pipe()
        seed = self.rng.getrandbits(32)
        child = os.fork()
        if child == 0:
            os.close(out)
            try:
                self.live(random.Random(seed), into)
            finally:
                os._exit(1)
        os.close(into)
        with os.fdopen(out) as lines:
            told = [line.split() for line in lines]
        os.waitpid(child, 0)
        return told

    def live(self, rng, into):
        handler = Handler(self.mount, name="mortal")
        assert handler.hello["inherited"]
        while True:
            event = handler.next(1)  # the last has nothing to wait for
            step = rng.choice(self.STEPS)
            os.write(into, f"{event.id} {event.flags} {step}\n".encode())
            if step == "received":
                os.kill(os.getpid(), signal.SIGKILL)
            if step == "half-brought":
                os.pwrite(event.fd, b"\0" * 5000, event.offset)
                os.kill(os.getpid(), signal.SIGKILL)
            event.bring(OTHER)
            if step == "brought":
                os.kill(os.getpid(), signal.SIGKILL)
            message = HEADER.pack(24, ANSWER, event.id) + struct.pack("=II", ALLOW, 0)
            if step == "half-answered":
                handler.socket.sendall(message[:20])
                os.kill(os.getpid(), signal.SIGKILL)
            handler.socket.sendall(message)
            if rng.random() < 0.3:
                os.kill(os.getpid(), signal.SIGKILL)
            event.close()


@pytest.mark.patience(600)
def test_killing_the_handler_at_every_step(mount, scratch):
    """No zeros, nobody hangs, no event is lost, none is given again that had its answer."""
    events = int(os.environ.get("LACUNAFS_EVENTS", "100"))
    source = scratch / "src"
    names = [f"f{n}" for n in range(events // 20 + 1)]
    for name in names:
        trees.put(source / name, DATA)
    m = mount(source)
    rng = random.Random(5)
    mortal, wrong = Mortal(m, rng), []
    ranges = [(name, n) for name in names for n in range(0, 20)]
    rng.shuffle(ranges)

    def read():
        while True:
            try:
                name, n = ranges.pop()
            except IndexError:
                return
            fd = os.open(m / name, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            got = os.pread(fd, 4096, n * CHUNK + 4096)
            os.close(fd)
            if got != OTHER[n * CHUNK + 4096:][:4096]:
                wrong.append((name, n))
    first = Handler(m, name="mortal")
    assert first.mark(MOUNT) == 0
    first.close()
    lost(m)
    readers = [threading.Thread(target=read, daemon=True) for _ in range(8)]
    for r in readers:
        r.start()
    seen, finished = {}, set()
    while any(r.is_alive() for r in readers):
        for number, flags, step in mortal.life():
            again = int(flags) & AGAIN
            assert number not in finished, f"event {number} was answered, and given again"
            assert again or number not in seen, f"event {number} came twice as new"
            seen[number] = step
            if step == "answered":
                finished.add(number)
    for r in readers:
        r.join(20)
        assert not r.is_alive(), "a reader hangs"
    assert not wrong, wrong[:5]
    assert set(seen) == finished and len(seen) >= events
