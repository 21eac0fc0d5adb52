# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Clients that are killed, interrupted, stopped and traced, at each state of a request (waiting.py):
who dies ends at once, the others go on and are right, and nothing is left of the request."""
import contextlib
import fcntl
import os
import shutil
import threading
import time

import pytest

import faults
import handlers
import processes
import trees
import waiting
from test_stop import hold, threads

OPTIONS = "rw,retries=0,wait_timeout=30s,stall_timeout=30s,readahead=0,threads=2"
HOWS = [*waiting.GOES_ON, *waiting.ENDS]
# The kernel ends these waits by SIGKILL, or a signal that is as good; one that dumps core is not,
# and no INTERRUPT tells of it: as on a local disk, it waits for the data
WITHOUT_QUIT = [how for how in HOWS if how != "quit"]
SECONDS = 5  # from a fatal signal to the end; it takes 0.1


class State:
    """Each client has a directory and a file of its own in it: no request waits for another's."""

    def __init__(self, m, server, what):
        self.m, self.server, self.what, self.clients, self.hows = m, server, what, [], HOWS

    def path(self, n):
        return self.m / f"c{n}" / "x"

    def start(self):
        for n, how in enumerate(self.hows):
            self.clients.append(waiting.Client(self.what, how, self.path(n)))
        for c in self.clients:
            assert c.stdout.read(1) == b"!"
        for c in self.clients:
            assert processes.wait_until(c.waits, 20), f"{self.what}, {c.how}: {c.poll()}"

    def signal(self):
        """→ seconds that the slowest of those that die took."""
        for c in self.clients:
            c.begin()
        took = {c.how: c.end() for c in self.clients if c.how in waiting.ENDS}
        for c in self.clients:
            assert c.how in waiting.ENDS or c.poll() is None, f"{c.how}: ended with {c.returncode}"
        assert max(took.values()) < SECONDS, took
        return took

    def finish(self, right):
        for c in self.clients:
            if c.how in waiting.ENDS:
                continue
            c.go_on()
            assert c.wait(60) == right, f"{self.what}, {c.how}: {c.returncode}"

    def close(self):
        for c in self.clients:
            c.kill()
            with contextlib.suppress(ChildProcessError):
                c.wait()


@pytest.fixture
def cold(scratch):
    for n in range(len(HOWS)):
        trees.put(scratch / "cold" / f"c{n}" / "x", waiting.CONTENT)
    return scratch / "cold"


@pytest.fixture
def state(mount, serve, cold):
    """state(what) → a State of a mount whose server answers."""
    made = []

    def make(what, env=None):
        if what == "exec":
            for n in range(len(HOWS)):
                shutil.copy("/bin/true", cold / f"c{n}" / "x")
        server = serve(cold)
        made.append(State(mount(server.url, "-o", OPTIONS, env=env), server, what))
        return made[-1]

    yield make
    for s in made:
        s.close()


def rests(m):
    """Nothing is on its way, nobody waits, no event is open."""
    now = m.status()
    return not (now["transfers"] or now["waiting_for_listings"] or now["chunks"]["waiters"]
                or any(h["waiting"] for h in now["handlers"]))


def descriptors(m):
    """Connections are kept for a while."""
    found, worker = 0, m.worker()
    for fd in os.listdir(f"/proc/{worker}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += not os.readlink(f"/proc/{worker}/fd/{fd}").startswith("socket:")
    return found


def settles(m, before):
    """As it was before: of descriptors, but for those that are kept for the next request."""
    assert processes.wait_until(lambda: rests(m), 20), m.status()
    assert processes.wait_until(lambda: descriptors(m) <= before, 20), (descriptors(m), before)


def warmed(s):
    for n in range(len(HOWS)):
        os.stat(s.path(n))


@contextlib.contextmanager
def stalled(s, pattern):
    release = threading.Event()
    s.server.lie(pattern, lambda *_: release.wait(60))
    try:
        yield release.set
    finally:
        release.set()
        s.server.honest()


def through(s, release, right=waiting.OK):
    before = descriptors(s.m)
    s.start()
    s.signal()
    assert not rests(s.m)
    release()
    s.finish(right)
    settles(s.m, before + 4)


@pytest.mark.sanitize
@pytest.mark.parametrize("what", ["stat", "open", "rename", "list"])
def test_waiting_for_a_listing(state, what):
    s = state(what)
    os.listdir(s.m.path)
    if what == "list":  # a descriptor needs no listing
        for n in range(len(HOWS)):
            os.stat(s.m / f"c{n}")
    with stalled(s, "/c*/") as release:
        through(s, release)


@pytest.mark.sanitize
@pytest.mark.parametrize("what", ["read", "direct read", "page fault", "exec"])
def test_waiting_for_data(state, what):
    s = state(what)
    if what != "direct read":
        s.hows = WITHOUT_QUIT
    if what == "exec":  # a tracer waits for its end, after which no signal is caught
        s.hows = [how for how in s.hows if not how.startswith(("trace", "caught", "restart"))]
    warmed(s)
    with stalled(s, "/c*/x") as release:
        through(s, release, 0 if what == "exec" else waiting.OK)


@pytest.mark.parametrize("what", ["write", "direct write"])
def test_waiting_for_the_rest_of_a_chunk(state, what):
    s = state(what)
    warmed(s)
    with stalled(s, "/c*/x") as release:
        through(s, release)


@pytest.mark.parametrize("what", ["read", "page fault"])
def test_in_an_event(state, what):
    s = state(what)
    s.hows = WITHOUT_QUIT
    warmed(s)
    handler = handlers.Handler(s.m)
    assert handler.mark(handlers.MOUNT) == 0
    serving = []
    try:
        through(s, lambda: serving.append(handlers.Serving(
            handler, lambda event: (handlers.FETCH, 0))))
    finally:
        if serving:
            serving[0].stop()
        else:
            handler.close()


def test_in_the_queue(state):
    """No thread has read the request."""
    s = state("stat")
    warmed(s)
    os.listdir(s.m.path)
    before, held = descriptors(s.m), []
    s.path, s.hows = lambda n: s.m / f"c{n}" / "none", WITHOUT_QUIT
    try:
        # a thread that has just been started has its name a little later
        for _ in range(4):
            new = [t for t in threads(s.m.worker(), "fuse") if t not in held]
            hold(new)
            held += new
            time.sleep(0.05)
        s.start()
        s.signal()
    finally:
        for tid in held:
            os.waitpid(tid, 0x40000000)
            assert processes.libc.ptrace(waiting.DETACH, tid, None, None) == 0
    s.finish(waiting.WRONG)  # there is none
    settles(s.m, before + 4)


@pytest.mark.parametrize("what", ["flock", "lockf"])
def test_waiting_for_a_lock(state, what):
    """A signal that is caught ends it, as natively."""
    s = state(what)
    s.hows = [how for how in HOWS if not how.startswith(("caught", "trace"))]
    held = [os.open(s.path(n), os.O_RDWR) for n in range(len(HOWS))]
    before = descriptors(s.m)
    for fd in held:
        fcntl.flock(fd, fcntl.LOCK_EX) if what == "flock" else fcntl.lockf(fd, fcntl.LOCK_EX)
    try:
        s.start()
        s.signal()
    finally:
        for fd in held:
            os.close(fd)
    s.finish(waiting.OK)
    settles(s.m, before + 2)


def test_in_an_fsync(state, faulty):
    """As on a local file system, its caller waits for the disk; nothing else does."""
    s = state("fsync", faulty.env)
    for n in range(len(HOWS)):
        trees.put(s.m / "new" / f"{n}", b"x")
    s.path = lambda n: s.m / "new" / f"{n}"
    before = descriptors(s.m)
    faulty.set(faults.HOLD_SYNCS)
    try:
        s.start()
        for c in s.clients:
            c.begin()
        for c in s.clients:
            if c.how in waiting.ENDS:
                c.send_signal(waiting.ENDS[c.how])
        os.stat(s.m / "c0"), trees.put(s.m / "another", b"new")
    finally:
        faulty.clear()
    for c in s.clients:
        if c.how in waiting.ENDS:
            assert c.wait(20) == -waiting.ENDS[c.how]
    s.finish(waiting.OK)
    settles(s.m, before + 4 + len(HOWS))
