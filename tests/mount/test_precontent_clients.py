# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Clients of the control socket that send nonsense, attach wrongly, are too many, or come and go."""
import errno
import os
import random
import socket
import struct
import subprocess
import sys
import threading

import pytest

import handlers
import processes
from handlers import ANSWER, HEADER, MARK, MOUNT, RESULT, Handler, Serving
from precontent import OTHER, bring, pread, source

__all__ = ["source"]  # a fixture


def garbage(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 200))
    if kind == 1:
        return HEADER.pack(rng.choice([0, 15, 8193, 2**32 - 1]), ANSWER, 1)
    if kind == 2:
        return HEADER.pack(16 + 8, rng.choice([0, 1, RESULT, 99]), 1) + bytes(8)
    if kind == 3:
        return HEADER.pack(16 + 4, ANSWER, 1) + bytes(4)  # of another length
    if kind == 4:
        return HEADER.pack(16 + 8, ANSWER, 1)  # half of one
    return HEADER.pack(32, MARK, 1) + struct.pack("=IIQ", *(rng.getrandbits(32) for _ in "ab"), 7)


@pytest.mark.sanitize
def test_nonsense_ends_nobody_else(source, mount):
    m = mount(source)
    good = Serving(Handler(m, name="good"), bring)
    good.handler.send(MARK, 1, struct.pack("=IIQ", MOUNT, 1, 0))
    rng = random.Random(4)
    pread(m / "other", 0, 1)
    descriptors = len(os.listdir(f"/proc/{m.worker()}/fd"))
    for n in range(60):
        bad = Handler(m, name=f"bad{n}")
        bad.socket.sendall(garbage(rng))
        if n % 3 == 0:  # descriptors that nobody asked for
            with open("/dev/null", "rb") as f:
                try:
                    socket.send_fds(bad.socket, [b"x" * 16], [f.fileno()] * 8)
                except OSError:
                    pass
        if n % 2:
            bad.socket.shutdown(socket.SHUT_WR)
            try:
                while True:
                    bad.receive()
            except (EOFError, ConnectionError):
                pass
            assert all(e in (0, errno.EPROTO, errno.EINVAL, errno.ENOENT) for _, e in bad.results)
        bad.close()
    assert (m / "f").read_bytes() == OTHER
    lost_ones = [h["name"] for h in m.status()["handlers"] if h["state"] == "lost"]
    assert "good" not in lost_ones
    for name in lost_ones:
        Handler(m, name=name).detach()
    assert len(os.listdir(f"/proc/{m.worker()}/fd")) <= descriptors + 4
    good.stop()


@pytest.mark.parametrize("attach", [
    {"version": 2}, {"version": "1"}, {"mode": "some"}, {"class": 1}, {"name": "x" * 64},
    {"name": "a\"b"}, {"name": "\u00e9"}, {"name": 1}, {"backlog": 0}, {"backlog": 1 << 40}])
def test_attaching_wrongly(attach, source, mount):
    m = mount(source)
    assert list(Handler(m, **attach).hello) == ["error"]
    assert Handler(m).hello["attached"] == 1


def test_too_many_handlers_leave_connections_for_others(source, mount):
    m = mount(source)
    there = [Handler(m) for _ in range(30)]
    assert sum("attached" in h.hello for h in there) == 24
    assert m.status()["handlers"]
    for h in there:
        h.close()


def test_a_stranger_is_refused(source, mount, nobody):
    m = mount(source, "-o", "allow_other")
    socket_path = handlers.address(m, {})
    code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "s.sendall(b'{\"verb\": \"attach\"}\\n'); print(s.recv(200))")
    done = subprocess.run(["setpriv", f"--reuid={nobody}", "--clear-groups", sys.executable, "-c",
                           code, socket_path], capture_output=True, text=True, check=False)
    assert "attached" not in done.stdout


@pytest.mark.sanitize
def test_clients_come_and_go(source, mount):
    """The control socket's slots are given out again while others count them."""
    m = mount(source)

    def attach(k):
        for n in range(25):
            Handler(m, name=f"{k}-{n}").close()

    threads = [threading.Thread(target=attach, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert processes.wait_until(lambda: m.status()["handlers"] == [])
