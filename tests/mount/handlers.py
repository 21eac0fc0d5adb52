# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A handler of pre-content events, as lacuna/precontent.h has it, for tests.

Handler(mount, **attach): the connection, in the hands of one thread
Serving(handler, answer): a thread that answers what comes, and keeps a log
`python3 handlers.py MOUNT KIND` is one as a process of its own
"""
import errno
import json
import os
import pathlib
import select
import socket
import struct
import sys
import threading

EVENT, ANSWER, MARK, RESULT, DETACH = 1, 2, 3, 4, 5
ALLOW, FETCH, DENY = 1, 2, 3
READ, WRITE, TRUNCATE, EXEC, FAULT, FILL, ALLOCATE = 1, 2, 3, 4, 5, 6, 7
MOUNT, CHILDREN, FILE = 1, 2, 3
ADD, REMOVE, IGNORE, FLUSH = 1, 2, 4, 8
AGAIN = 1
HEADER, BODY = struct.Struct("=IIQ"), struct.Struct("=QQQQIIIIII")


class Event:
    def __init__(self, number, body, fd):
        (self.offset, self.length, self.size, self.ino, self.operation, self.flags, self.pid,
         self.tid, self.uid, length) = BODY.unpack_from(body)
        self.id, self.fd = number, fd
        self.path = body[BODY.size:BODY.size + length].decode()
        assert len(body) == BODY.size + length

    @property
    def end(self):
        return min(self.offset + self.length, self.size)

    def bring(self, data, offset=None):
        """`data`: of the whole file."""
        at = self.offset
        while at < self.end:
            at += os.pwrite(self.fd, data[at:self.end], at)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class Handler:
    def __init__(self, mount, env=None, **attach):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(address(mount, env or {})))
        self.socket.sendall(json.dumps({"verb": "attach", **attach}).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            byte = self.socket.recv(1)
            if not byte:
                break
            line += byte
        self.hello = json.loads(line)
        self.buffer, self.fds, self.events, self.results, self.marked = b"", [], [], [], 0

    def send(self, kind, number=0, body=b""):
        self.socket.sendall(HEADER.pack(HEADER.size + len(body), kind, number) + body)

    def receive(self):
        data, fds, flags, _ = socket.recv_fds(self.socket, 65536, 64)
        assert not flags & socket.MSG_CTRUNC
        self.fds += fds
        if not data:
            raise EOFError
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            length, kind, number = HEADER.unpack_from(self.buffer)
            if len(self.buffer) < length:
                break
            body, self.buffer = self.buffer[HEADER.size:length], self.buffer[length:]
            if kind == EVENT:
                self.events.append(Event(number, body, self.fds.pop(0)))
            else:
                assert kind == RESULT
                self.results.append((number, struct.unpack("=II", body)[0]))

    def result(self):
        while not self.results:
            self.receive()
        return self.results.pop(0)

    def mark(self, scope, path=None, flags=ADD):
        self.marked += 1
        ino = 0 if path is None else os.stat(path).st_ino
        self.send(MARK, self.marked, struct.pack("=IIQ", scope, flags, ino))
        number, error = self.result()
        assert number == self.marked
        return error

    def next(self, seconds=20):
        while not self.events:
            if not select.select([self.socket], [], [], seconds)[0]:
                raise TimeoutError
            self.receive()
        return self.events.pop(0)

    def idle(self, seconds=0.2):
        """Nothing comes."""
        try:
            event = self.next(seconds)
        except TimeoutError:
            return True
        raise AssertionError(f"an event: {vars(event)}")

    def answer(self, event, verdict, error=0):
        event.close()
        self.send(ANSWER, event.id, struct.pack("=II", verdict, error))

    def detach(self):
        self.send(DETACH)
        while True:
            try:
                self.receive()
            except (EOFError, ConnectionError):
                break
        self.close()

    def close(self):
        self.socket.close()
        for event in self.events:
            event.close()


def address(mount, env):
    """The control socket of the mount at `mount` (a path, or a Mount of these tests)."""
    if not isinstance(mount, (str, os.PathLike)):
        mount, env = mount.path, {**mount.program.env, **(mount.env or {}), **env}
    status = os.stat(mount)
    name = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    run, uid = env.get("XDG_RUNTIME_DIR", ""), status.st_uid
    for place in ("/run/lacunafs", f"{run}/lacunafs", f"/run/user/{uid}/lacunafs",
                  f"/tmp/lacunafs-{uid}", "/tmp/lacunafs-65534"):
        if (path := pathlib.Path(place) / name).is_socket():
            return path
    raise FileNotFoundError(name)


class Serving(threading.Thread):
    """Answers what comes with answer(event) → (verdict, errno); `log`: of (path, operation,
    offset, length)."""

    def __init__(self, handler, answer):
        super().__init__(daemon=True)
        self.handler, self.reply, self.log, self.wrong = handler, answer, [], None
        self.start()

    def run(self):
        try:
            while True:
                event = self.handler.next(3600)
                self.log.append((event.path, event.operation, event.offset, event.length))
                self.handler.answer(event, *self.reply(event))
        except (EOFError, OSError, ValueError):
            pass
        except Exception as e:  # pylint: disable=broad-except
            self.wrong = e

    def take(self):
        log, self.log = self.log, []
        return log

    def stop(self):
        self.handler.socket.shutdown(socket.SHUT_RDWR)
        self.join(20)
        assert not self.wrong, self.wrong
        self.handler.close()


def inverted(data):
    return bytes(data).translate(bytes(255 - n for n in range(256)))


def process(mount, kind, *rest):
    """One that brings the bytes of `rest[0]`, a directory, inverted; or hangs, or denies."""
    options = json.loads(rest[1]) if len(rest) > 1 else {}
    handler = Handler(mount, dict(os.environ), **options)
    assert handler.mark(MOUNT) == 0
    print("ready", handler.hello["inherited"], flush=True)
    while True:
        event = handler.next(3600)
        if kind == "hang":
            print("event", flush=True)
            continue
        if kind == "deny":
            handler.answer(event, DENY, errno.EBUSY)
            continue
        if kind == "self":  # single-threaded, and reads from the mount while it is asked
            try:
                (pathlib.Path(mount) / "other").read_bytes()
                print("read", flush=True)
            except OSError as e:
                print(errno.errorcode[e.errno], flush=True)
        event.bring(inverted((pathlib.Path(rest[0]) / event.path).read_bytes()))
        handler.answer(event, ALLOW)


if __name__ == "__main__":
    process(*sys.argv[1:])
