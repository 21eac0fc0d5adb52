# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""flock, POSIX and OFD locks, between descriptors and between processes."""
import calls
import fcntl
import signal
import time

from calls import OFD_GETLK, OFD_SETLK, OFD_SETLKW, lock
from case import *
from fcntl import F_GETLK, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN

RDWR = os.O_RDWR


def whole(fd, how):
    fcntl.flock(fd, how | LOCK_NB)


@case("file dir")
def flock_between_descriptors(w):
    for name in ("file", "dir"):
        a, b, c = (os.open(name, os.O_RDONLY) for _ in range(3))
        whole(a, LOCK_SH), whole(b, LOCK_SH)
        fails("EAGAIN", whole, c, LOCK_EX)
        fails("EAGAIN", whole, a, LOCK_EX)
        whole(b, LOCK_UN)
        w.note(outcome(whole, a, LOCK_EX))
        whole(a, LOCK_EX)
        fails("EAGAIN", whole, b, LOCK_SH)
        same(apart(lambda: outcome(whole, os.open(name, os.O_RDONLY), LOCK_SH)), "EAGAIN")
        os.close(a)
        whole(b, LOCK_EX)
        os.close(b), whole(c, LOCK_EX)


@case("file")
def flock_is_shared_by_fork(w):
    a = os.open("file", RDWR)
    whole(a, LOCK_EX)
    same(apart(lambda: outcome(whole, a, LOCK_EX)), "ok")
    d = os.dup(a)
    os.close(a)
    b = os.open("file", RDWR)
    fails("EAGAIN", whole, b, LOCK_EX)
    os.close(d)
    whole(b, LOCK_EX)


@case("file")
def flock_goes_with_the_process(w):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        whole(os.open("file", RDWR), LOCK_EX)
        os.write(writer, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    fd = os.open("file", RDWR)
    fails("EAGAIN", whole, fd, LOCK_EX)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    fcntl.flock(fd, LOCK_EX)


@case("file")
def flock_waits(w):
    a = os.open("file", RDWR)
    whole(a, LOCK_EX)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(a)
        b = os.open("file", RDWR)
        os.write(writer, b"1")
        fcntl.flock(b, LOCK_EX)
        os.write(writer, b"2")
        os._exit(0)
    same(os.read(reader, 1), b"1")
    time.sleep(0.05)
    os.set_blocking(reader, False)
    fails("EAGAIN", os.read, reader, 1)
    whole(a, LOCK_UN)
    os.set_blocking(reader, True)
    same(os.read(reader, 1), b"2")
    same(os.waitpid(pid, 0)[1], 0)


# POSIX locks are between processes: what a child gets while we hold [100, +100)
TRIES = [(F_WRLCK, F_WRLCK, 100, 100, "EAGAIN"), (F_WRLCK, F_RDLCK, 150, 1, "EAGAIN"),
         (F_WRLCK, F_WRLCK, 0, 100, "ok"), (F_WRLCK, F_WRLCK, 200, 0, "ok"),
         (F_WRLCK, F_WRLCK, 199, 1, "EAGAIN"), (F_WRLCK, F_RDLCK, 0, 0, "EAGAIN"),
         (F_RDLCK, F_RDLCK, 0, 0, "ok"), (F_RDLCK, F_WRLCK, 100, 1, "EAGAIN"),
         (F_RDLCK, F_WRLCK, 300, 10, "ok"), (F_RDLCK, F_UNLCK, 0, 0, "ok")]


def try_one(ours, theirs, start, length, wanted, commands):
    def run(w):
        fd = os.open("file", RDWR)
        lock(fd, commands[0], ours, 100, 100)

        def child():
            other = os.open("file", RDWR)
            told = lock(other, commands[1], theirs, start, length) if theirs != F_UNLCK else None
            return outcome(lock, other, commands[0], theirs, start, length), told
        got, told = apart(child)
        assert got == wanted or (got, wanted) == ("EACCES", "EAGAIN"), got
        if told is not None:
            if wanted == "ok":
                same(told[0], F_UNLCK)
            else:
                owner = os.getpid() if commands[0] == F_SETLK else -1
                same(told, (ours, os.SEEK_SET, 100, 100, owner))
        lock(fd, commands[0], F_UNLCK)
        if theirs != F_UNLCK:
            same(apart(child)[0], "ok")
    return run


for _name, _commands in (("posix", (F_SETLK, F_GETLK)), ("ofd", (OFD_SETLK, OFD_GETLK))):
    for _row in TRIES:
        add(f"lock.{_name}-{_row[0]}{_row[1]}-{_row[2]}-{_row[3]}", try_one(*_row, _commands),
            "file")


@case("file")
def posix_locks_of_one_process(w):
    a, b = os.open("file", RDWR), os.open("file", RDWR)
    lock(a, F_SETLK, F_WRLCK)
    lock(b, F_SETLK, F_WRLCK)  # the same owner
    same(lock(b, F_GETLK, F_WRLCK)[0], F_UNLCK)

    def child():
        return lock(os.open("file", RDWR), F_GETLK, F_WRLCK)[0]
    same(apart(child), F_WRLCK)
    os.close(b)  # any close drops them all
    same(apart(child), F_UNLCK)
    lock(a, F_SETLK, F_WRLCK)
    same(apart(lambda: outcome(lock, a, F_SETLK, F_WRLCK)), "EAGAIN")  # not inherited


@case("file")
def posix_ranges_split_and_join(w):
    fd = os.open("file", RDWR)
    lock(fd, F_SETLK, F_WRLCK, 0, 100)
    lock(fd, F_SETLK, F_UNLCK, 40, 20)
    lock(fd, F_SETLK, F_RDLCK, 60, 10)

    def child():
        other = os.open("file", RDWR)
        return [lock(other, F_GETLK, F_WRLCK, at, 1)[:4] for at in (0, 45, 65, 80)]
    same(apart(child), [(F_WRLCK, 0, 0, 40), (F_UNLCK, 0, 45, 1), (F_RDLCK, 0, 60, 10),
                        (F_WRLCK, 0, 70, 30)])
    lock(fd, F_SETLK, F_WRLCK, -10, 10, os.SEEK_END)
    same(apart(lambda: lock(os.open("file", RDWR), F_GETLK, F_WRLCK, 149_995, 1)[:4]),
         (F_WRLCK, 0, 149_990, 10))


@case("file")
def lock_errors(w):
    readonly, writeonly = os.open("file", os.O_RDONLY), os.open("file", os.O_WRONLY)
    for command in (F_SETLK, OFD_SETLK):
        fails("EBADF", lock, readonly, command, F_WRLCK)
        fails("EBADF", lock, writeonly, command, F_RDLCK)
        fails("EINVAL", lock, readonly, command, 77)
        fails("EINVAL", lock, readonly, command, F_RDLCK, -5)


@case("file")
def ofd_locks_belong_to_the_descriptor(w):
    a, b = os.open("file", RDWR), os.open("file", RDWR)
    lock(a, OFD_SETLK, F_WRLCK, 0, 10)
    fails("EAGAIN", lock, b, OFD_SETLK, F_WRLCK, 5, 10)
    lock(b, OFD_SETLK, F_WRLCK, 10, 10)
    same(apart(lambda: outcome(lock, a, OFD_SETLK, F_WRLCK, 0, 10)), "ok")
    other = os.open("file", RDWR)
    os.close(other)  # harms nobody
    fails("EAGAIN", lock, b, OFD_SETLK, F_WRLCK, 5, 1)
    fails("EAGAIN", lock, b, F_SETLK, F_WRLCK, 5, 1)
    os.close(a)
    lock(b, OFD_SETLK, F_WRLCK, 0, 0)


@case("file")
def waiting_for_a_lock(w):
    for command, waits in ((F_SETLK, F_SETLKW), (OFD_SETLK, OFD_SETLKW)):
        fd = os.open("file", RDWR)
        lock(fd, command, F_WRLCK)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(fd)
            other = os.open("file", RDWR)
            os.write(writer, b"1")
            lock(other, waits, F_WRLCK)
            os.write(writer, b"2")
            os._exit(0)
        same(os.read(reader, 1), b"1")
        time.sleep(0.03)
        os.set_blocking(reader, False)
        fails("EAGAIN", os.read, reader, 1)
        lock(fd, command, F_UNLCK)
        os.set_blocking(reader, True)
        same(os.read(reader, 1), b"2")
        same(os.waitpid(pid, 0)[1], 0)
        os.close(fd)


@case("file")
def a_signal_ends_the_wait(w):
    fd = os.open("file", RDWR)
    lock(fd, F_SETLK, F_WRLCK)

    def child():
        def alarm(*_):
            raise InterruptedError(errno.EINTR, "alarm")
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return outcome(lock, os.open("file", RDWR), F_SETLKW, F_WRLCK)
    same(apart(child), "EINTR")


@case("file")
def a_deadlock_is_noticed(w):
    fd = os.open("file", RDWR)
    lock(fd, F_SETLK, F_WRLCK, 0, 10)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        other = os.open("file", RDWR)
        lock(other, F_SETLK, F_WRLCK, 10, 10)
        os.write(writer, b"1")
        lock(other, F_SETLKW, F_WRLCK, 0, 10)
        os._exit(0)
    os.read(reader, 1)
    time.sleep(0.05)
    fails("EDEADLK", lock, fd, F_SETLKW, F_WRLCK, 10, 10)
    lock(fd, F_SETLK, F_UNLCK)
    same(os.waitpid(pid, 0)[1], 0)


@case("file hard")
def locks_are_of_the_file_not_of_its_name(w):
    a = os.open("hard", RDWR)
    lock(a, F_SETLK, F_WRLCK)
    same(apart(lambda: outcome(lock, os.open("hard2", RDWR), F_SETLK, F_WRLCK)), "EAGAIN")
    whole(a, LOCK_EX)
    same(apart(lambda: outcome(whole, os.open("hard2", RDWR), LOCK_EX)), "EAGAIN")
    os.rename("file", "hard")
    same(apart(lambda: outcome(lock, os.open("hard", RDWR), F_SETLK, F_WRLCK)), "ok")
    os.unlink("hard2")
    lock(a, F_SETLK, F_UNLCK), lock(a, F_SETLK, F_WRLCK, 5, 5)


@case("file")
def leases_are_alike(w):
    fd = os.open("file", os.O_RDONLY)
    w.note(outcome(fcntl.fcntl, os.open("file", RDWR), 1024, F_RDLCK))
    os.close(fd)
