# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Daemons as children: this process adopts what its children leave behind, so that the exit
status of a daemon can be seen and nothing is left running."""
import ctypes
import os
import pathlib
import pickle
import select
import signal
import subprocess
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36

# A vfork would hold the interpreter's lock until the program is loaded, which may need an
# answer of a server in this very process.
subprocess._USE_VFORK = subprocess._USE_POSIX_SPAWN = False


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


def child_named(parent, comm):
    """The pid of the one child of `parent` that has this name."""
    [found] = [int(pid) for task in pathlib.Path(f"/proc/{parent}/task").iterdir()
               for pid in (task / "children").read_text().split()
               if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == comm]
    return found


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


class Child(subprocess.Popen):
    """Is killed where the block that it is for fails, and waited for, as every Popen is."""

    def __exit__(self, kind, *rest):
        if kind is not None:
            self.kill()
        return super().__exit__(kind, *rest)


def wait(child, seconds):
    """The exit code of a Popen. Its own wait with a timeout polls, up to 50 ms late."""
    fd = os.pidfd_open(child.pid)
    try:
        if not select.select([fd], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired(child.args, seconds)
    finally:
        os.close(fd)
    return child.wait()


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


def apart(call):
    """call() in a child: a fault that fails is SIGBUS there, and one that waits does not hold
    up this process's servers (it would keep the interpreter's lock). Returns what it did."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as f:
                pickle.dump(call(), f)
            status = 0
        except BaseException:  # the child ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as f:
        answer = f.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status}"
    return pickle.loads(answer)
