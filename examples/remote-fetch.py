#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A handler that supplies the content of the files in MOUNT, a mount of populate's stubs, from the
directory SOURCE, range by range as processes read. With --whole it supplies a whole file at the
file's first event, which is then its last: in mode holes present data causes no events.

Usage: remote-fetch.py [--whole] MOUNT SOURCE
It speaks the protocol of lacuna-precontent(7) without a library.
"""
import errno
import glob
import json
import os
import signal
import socket
import struct
import sys

HEADER = struct.Struct("=IIQ")           # length, type, id
EVENT = struct.Struct("=IIQ4Q6I")        # …, offset, length, size, ino, operation … path length
ANSWER = struct.Struct("=IIQII")         # …, verdict, error
MARK = struct.Struct("=IIQIIQ")          # …, scope, flags, ino
RESULT = struct.Struct("=IIQII")         # …, error, reserved
T_EVENT, T_ANSWER, T_MARK, T_RESULT = 1, 2, 3, 4
ALLOW, DENY = 1, 3
MARK_MOUNT, MARK_ADD = 1, 1
MARK_ID = 1 << 63                        # events have ids below it


def directories(uid):
    """The possible directories of the control sockets of `uid`, in the order a mount tries them."""
    if uid == 0:
        yield "/run/lacunafs"
    if uid == os.getuid() and os.environ.get("XDG_RUNTIME_DIR"):
        yield os.path.join(os.environ["XDG_RUNTIME_DIR"], "lacunafs")
    yield f"/run/user/{uid}/lacunafs"
    yield f"/tmp/lacunafs-{uid}"
    yield from glob.glob(f"/tmp/lacunafs-{uid}.*")


def mine(directory):
    """Other users can create directories in /tmp."""
    try:
        st = os.lstat(directory)
    except OSError:
        return False
    return st.st_uid == os.getuid() and not st.st_mode & 0o022


class Handler:
    """One connection. Events are answered in the order in which they arrive."""

    def __init__(self, mount):
        device = os.stat(mount).st_dev
        name = f"{os.major(device)}:{os.minor(device)}"
        paths = [os.path.join(d, name) for d in directories(os.getuid()) if mine(d)]
        path = next((p for p in paths if os.path.exists(p)), None)
        if path is None:
            raise FileNotFoundError(f"{mount}: no control socket: is it a lacunafs mount of yours?")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        line = {"verb": "attach", "version": 1, "name": "remote-fetch"}
        self.socket.sendall(json.dumps(line).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):  # not a byte more: messages follow
            byte = self.socket.recv(1)
            if not byte:
                raise ConnectionError("the mount hung up")
            answer += byte
        if json.loads(answer).get("attached") != 1:
            raise ConnectionError(json.loads(answer).get("error"))

    def receive(self):
        """(type, id, bytes, fd or None); None: the mount ended."""
        # The descriptor arrives with the first byte of its message
        data, fds, _, _ = socket.recv_fds(self.socket, HEADER.size, 1)
        while data and len(data) < HEADER.size or \
                len(data) >= HEADER.size and len(data) < HEADER.unpack_from(data)[0]:
            want = HEADER.unpack_from(data)[0] if len(data) >= HEADER.size else HEADER.size
            more = self.socket.recv(want - len(data))
            if not more:
                return None
            data += more
        if not data:
            return None
        _, kind, number = HEADER.unpack_from(data)
        return kind, number, data, fds[0] if fds else None

    def answer(self, number, verdict, error=0):
        self.socket.sendall(ANSWER.pack(ANSWER.size, T_ANSWER, number, verdict, error))

    def mark(self, scope, flags, ino=0):
        self.socket.sendall(MARK.pack(MARK.size, T_MARK, MARK_ID, scope, flags, ino))


def bring(source, event, path, fd, whole):
    """OSError: the data is unavailable. A stub whose size differs from the file's is outdated."""
    offset, length, size = event[3:6]
    at, end = (0, size) if whole else (offset, min(offset + length, size))
    with open(os.path.join(source, path), "rb", buffering=0,
              opener=lambda p, flags: os.open(p, flags | os.O_NOFOLLOW)) as f:
        if os.fstat(f.fileno()).st_size != size:
            raise OSError(errno.EIO, "not of the stub's size")
        while at < end:
            piece = os.pread(f.fileno(), min(end - at, 1 << 18), at)
            if not piece:
                raise OSError(errno.EIO, "it has become shorter")
            at += os.pwrite(fd, piece, at)


def serve(handler, source, whole):
    while message := handler.receive():
        kind, number, data, fd = message
        if kind == T_RESULT:
            error = RESULT.unpack(data)[3]
            if error:
                print(f"remote-fetch.py: {number}: {os.strerror(error)}", file=sys.stderr)
            elif number == MARK_ID:
                print("ready", flush=True)
        if kind != T_EVENT:
            continue
        event = EVENT.unpack_from(data)
        path = data[EVENT.size:]
        try:
            bring(os.fsencode(source), event, path, fd, whole)
        except OSError as error:
            print(f"remote-fetch.py: {path!r}: {error}", file=sys.stderr)
            handler.answer(number, DENY, errno.EIO)
        else:
            handler.answer(number, ALLOW)
        finally:
            os.close(fd)


def main():
    whole = sys.argv[1:2] == ["--whole"]
    if len(sys.argv) != 3 + whole:
        sys.exit("usage: remote-fetch.py [--whole] MOUNT SOURCE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        handler = Handler(sys.argv[-2])
        handler.mark(MARK_MOUNT, MARK_ADD)
        serve(handler, sys.argv[-1], whole)
    except ConnectionResetError:
        pass  # the mount ended
    except (OSError, ValueError) as error:
        sys.exit(f"remote-fetch.py: {error}")


if __name__ == "__main__":
    main()
