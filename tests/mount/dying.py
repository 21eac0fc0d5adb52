# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Deaths of a mount's worker, and calls that wait meanwhile."""
import os
import random
import signal
import threading
import time

import handlers
import processes
import upgrading

PATIENT = "wait_timeout=60000ms"


def die(m, number=signal.SIGKILL):
    """Kills the worker; returns once the next one serves."""
    before = m.kill_worker(number)
    assert before is not None
    def serves():
        if m.worker() in (None, before):
            return False
        os.statvfs(m.path)
        return True
    assert processes.wait_until(serves)


def die_at_once(m):
    """The same; others may wait for the directory that statvfs(2) needs."""
    before = m.kill_worker()
    assert processes.wait_until(lambda: m.worker() not in (None, before))


class Reader(threading.Thread):
    """Calls `ask` once, and keeps what it returned or raised."""

    def __init__(self, ask):
        super().__init__(daemon=True)
        self.ask, self.got, self.error = ask, None, None
        self.start()

    def run(self):
        try:
            self.got = self.ask()
        except OSError as e:
            self.error = e

    def answer(self, seconds=30):
        self.join(seconds)
        assert not self.is_alive(), "still waits"
        if self.error:
            raise self.error
        return self.got


def is_brought(path, handler):
    """The handler, still attached, is asked for the file and brings it; then it goes."""
    reader = Reader(path.read_bytes)
    event = handler.next()
    event.bring(b"W" * 9000)
    handler.answer(event, handlers.ALLOW)
    assert reader.answer() == b"W" * 9000
    handler.detach()


class Deaths(threading.Thread):
    """Kills the daemon's worker now and then, every `pause` seconds on average, until stopped. Also
    one that has not taken over yet, but not so many of them that the keeper would give up."""

    UNSERVED = 3  # in a row

    def __init__(self, m, seed, pause):
        super().__init__(daemon=True)
        self.m, self.choose, self.pause, self.count = m, random.Random(seed), pause, 0
        # a sanitizer reports the others
        self.numbers = [9, 9, 6, 11] if m.program.variant == "plain" else [9]
        self.stopped = threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(self.choose.uniform(0, 2 * self.pause)):
            try:
                if self.count % self.UNSERVED == 0:
                    began = time.monotonic()
                    os.statvfs(self.m.path)  # waits for a worker, which then works as long
                    self.stopped.wait(time.monotonic() - began)
                self.count += self.m.kill_worker(self.choose.choice(self.numbers)) is not None
            except OSError:
                pass  # it was dead, or the mount ended

    def stop(self):
        self.stopped.set()
        self.join()
        return self.count


class Upgrades(Deaths):
    """Upgrades the daemon in place of killing its worker: to another program, and back."""

    def run(self):
        programs = [upgrading.newer(self.m.program, self.m.program.scratch), self.m.program.path]
        while not self.stopped.wait(self.choose.uniform(0, 2 * self.pause)):
            done = upgrading.upgrade(self.m, programs[self.count % 2], self.m.user)
            if done.returncode:
                self.wrong = done.stderr
                return
            self.count += 1

    wrong = None

    def stop(self):
        count = super().stop()
        if self.wrong:
            raise AssertionError(f"upgrade: {self.wrong}")
        return count
