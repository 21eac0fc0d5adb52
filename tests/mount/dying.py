# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Deaths of a mount's worker, and calls that wait meanwhile."""
import os
import signal
import threading

import processes

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
