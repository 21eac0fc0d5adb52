# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A case: a function that changes a directory and asserts what came of it.

Shape:   each runs in a process of its own, in a fresh directory as working directory that
         holds the objects it needs (kit.py), as root, as an ordinary user, or as both
Oracle:  its assertions; what it notes; and the tree it leaves. The last two are compared with
         those of the same case on a native directory
"""
import errno
import faulthandler
import os
import pickle
import signal
import stat
import sys
import time
import traceback
import typing

from calls import name_of

USER, OTHER, TEAM, STRANGE = 1000, 1001, 2000, 2001  # uids, and gids: USER is in TEAM
PRIVATE = "native born remote partly whole"


class Case(typing.NamedTuple):
    name: str
    run: typing.Callable
    needs: tuple  # names of the kit
    users: tuple  # of "root", "user"
    left: bool    # the tree that it leaves is compared


CASES = {}


def add(name, run, needs="", users="root user", left=True):
    assert name not in CASES, name
    CASES[name] = Case(name, run, tuple(needs.split()), tuple(users.split()), left)


def case(needs="", users="root user", left=True):
    """Registers a function as module.function; cases_data_map.py is of module data."""
    def register(function):
        module = function.__module__.removeprefix("cases_").partition("_")[0]
        add(f"{module}.{function.__name__}", function, needs, users, left)
        return function
    return register


class World:
    """What a case is given. `kind`: native, born, remote, partly or whole."""

    def __init__(self, kind, user, outside):
        self.kind, self.user, self.outside = kind, user, outside
        self.root = user == "root"
        self.notes = []

    def note(self, *values):
        """Must be the same on a native directory."""
        self.notes.append(values)


def fails(wanted, call, *args, **options):
    """call() must raise one of the errnos `wanted`, "EPERM|EACCES"; which one, by name."""
    shown = f"{getattr(call, '__name__', call)}{args!r:.200}"
    try:
        result = call(*args, **options)
    except OSError as e:
        got = name_of(e.errno)
        assert got in wanted.split("|"), f"{shown}: {got}, not {wanted}"
        return got
    raise AssertionError(f"{shown}: no error but {result!r:.100}, not {wanted}")


def outcome(call, *args, **options):
    """The name of its errno, or "ok"."""
    try:
        call(*args, **options)
    except OSError as e:
        return name_of(e.errno)
    return "ok"


def same(got, wanted, what=""):
    if got == wanted:
        return
    if isinstance(got, bytes) and isinstance(wanted, bytes) and max(len(got), len(wanted)) > 80:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b),
                  min(len(got), len(wanted)))
        raise AssertionError(f"{what} {len(got)} bytes, {len(wanted)} wanted; from {at} on "
                             f"{got[at:at + 24]!r}, not {wanted[at:at + 24]!r}")
    raise AssertionError(f"{what} {got!r:.300}, not {wanted!r:.300}")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, content=b"x"):
    with open(path, "wb") as f:
        f.write(content)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def opened(path, flags, mode=0o644):
    os.close(os.open(path, flags, mode))


def tick():
    """Until the clock of time stamps has moved on (4 ms with HZ=250, 10 with 100)."""
    time.sleep(0.012)


def apart(call, uid=None, gid=None, groups=(), kill=()):
    """call() in a child, as somebody else; what it returned, or raised. A child that a signal
    of `kill` ended gives its name."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            if kill:
                faulthandler.disable()  # the fault is meant
            if uid is not None:
                os.setgroups(list(groups))
                os.setresgid(*[gid if gid is not None else uid] * 3)
                os.setresuid(uid, uid, uid)
            try:
                answer = ("done", call())
            except OSError as e:
                answer = ("error", e.errno, str(e))
            except BaseException:  # the child ends here, whatever it was
                answer = ("wrong", traceback.format_exc())
            with os.fdopen(writer, "wb") as f:
                pickle.dump(answer, f)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as f:
        answer = f.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        name = signal.Signals(-status).name
        assert name in kill, f"the child was ended by {name}"
        return name
    assert status == 0, f"the child ended with {status}"
    answer = pickle.loads(answer)
    if answer[0] == "error":
        raise OSError(answer[1], answer[2])
    assert answer[0] == "done", answer[1]
    return answer[1]


def as_user(call, uid=USER, groups=(TEAM,)):
    """From a case of root."""
    return apart(call, uid, uid, groups)


class Hung(Exception):
    """A case that did not end; its process may still be there."""


def perform(chosen, directory, kind, user, outside, seconds=15):
    """Runs one case in a child: its notes. Raises AssertionError with what was wrong."""
    reader, writer = os.pipe()
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            os.setsid()
            os.umask(0o022)
            if user == "user":
                os.setgroups([TEAM])
                os.setresgid(USER, USER, USER)
                os.setresuid(USER, USER, USER)
            os.chdir(directory)  # a mount of the user's own is closed to root
            world = World(kind, user, outside)
            try:
                chosen.run(world)
                answer = ("done", world.notes)
            except BaseException as e:  # the child ends here, whatever it was
                last = traceback.extract_tb(e.__traceback__)
                where = next((f for f in reversed(last) if "cases_" in f.filename), last[-1])
                cause = str(e) if isinstance(e, AssertionError) and str(e) else repr(e)
                answer = ("wrong", f"{os.path.basename(where.filename)}:{where.lineno}: "
                                   f"{where.line}\n{cause}")
            with os.fdopen(writer, "wb") as f:
                pickle.dump(answer, f)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    answer = collect(pid, reader, seconds)
    assert answer is not None, "the case's process died"
    assert answer[0] == "done", answer[1]
    return answer[1]


def collect(pid, reader, seconds):
    """What the child sent; it is gone when this returns, or Hung is raised."""
    until, pieces = time.monotonic() + seconds, []
    os.set_blocking(reader, False)
    fd = os.pidfd_open(pid)
    try:
        import select
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([reader], [], [], left)[0]:
                os.kill(pid, signal.SIGKILL)
                if select.select([fd], [], [], 5)[0]:
                    os.waitpid(pid, 0)
                raise Hung(f"no end after {seconds} s")
            piece = os.read(reader, 1 << 20)
            if not piece:
                break
            pieces.append(piece)
        if not select.select([fd], [], [], 10)[0]:
            os.kill(pid, signal.SIGKILL)
            raise Hung("its process does not end")
        os.waitpid(pid, 0)
        return pickle.loads(b"".join(pieces)) if pieces else None
    finally:
        os.close(fd)
        os.close(reader)


__all__ = ["add", "case", "fails", "outcome", "same", "read", "write", "mode_of", "opened", "tick",
           "apart", "as_user", "USER", "OTHER", "TEAM", "STRANGE", "errno", "os", "stat"]
