# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Daemons as children: this process adopts what its children leave behind, so that the exit
status of a daemon can be seen and nothing is left running."""
import ctypes
import os
import pathlib
import select
import signal
import time

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36


def adopt():
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def children():
    """Pids of our children that live, adopted ones among them."""
    found = set()
    for task in pathlib.Path("/proc/self/task").iterdir():
        try:
            for pid in (task / "children").read_text().split():
                if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][1] != "Z":
                    found.add(int(pid))
        except OSError:
            pass
    return found


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


def wait_until(condition, seconds=10.0):
    """For what has no event to wait for. Returns the last value."""
    until = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < until:
        time.sleep(0.01)
    return value


def reap(pid, seconds):
    """The exit code of our child (-signal), None if it still runs after `seconds`."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        import select
        if not select.select([fd], [], [], seconds)[0]:
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(fd)


def end(pid, seconds=10):
    """SIGTERM, then SIGKILL, for a child of ours."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None
        try:
            status = reap(pid, seconds)
        except ChildProcessError:
            return None
        if status is not None:
            return status
    return None
