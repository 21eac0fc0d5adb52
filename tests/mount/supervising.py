# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A mount below a service manager with a store of descriptors: the part of systemd's protocol that
a mount uses (sd_notify(3), sd_listen_fds(3), FileDescriptorStoreMax=)."""
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading

import mounting
import processes

# Waits for what it is to become; then gives the descriptors their numbers, and itself its pid.
LAUNCH = """
import json, os, socket, sys
data, fds, _, _ = socket.recv_fds(socket.socket(fileno=int(sys.argv[1])), 1 << 20, 64)
words = json.loads(data)
high = [os.dup2(fd, 200 + n) for n, fd in enumerate(fds)]
os.closerange(3, 200)
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n, inheritable=True)
os.closerange(200, 300)
if fds:
    words["env"]["LISTEN_PID"] = str(os.getpid())
os.execve(words["argv"][0], words["argv"], words["env"])
"""


class Child:
    """A process that is there before it has anything to run: a fork while nobody serves the mount
    would wait, since it closes what this process has open there."""

    def __init__(self, stderr):
        self.socket, other = socket.socketpair()
        with other:
            self.process = subprocess.Popen([sys.executable, "-c", LAUNCH, str(other.fileno())],
                                            pass_fds=[other.fileno()], stdin=subprocess.DEVNULL,
                                            stdout=stderr, stderr=stderr, cwd="/")

    def become(self, argv, env, fds):
        with self.socket:
            socket.send_fds(self.socket, [json.dumps({"argv": argv, "env": env}).encode()], fds)
        return self.process

    def end(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()


class Manager:
    """Receives what a service says: `kept` is (name, descriptor) in order, `said` the other lines."""

    def __init__(self, scratch, room):
        self.room = room  # for descriptors; 0: no store
        self.path = str(scratch / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.kept, self.said, self.lock = [], [], threading.Lock()
        threading.Thread(target=self.receive, daemon=True).start()

    def receive(self):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            except OSError:
                return
            with self.lock:
                self.take(dict(line.split("=", 1) for line in data.decode().splitlines()), fds)

    def take(self, words, fds):
        if words.get("FDSTOREREMOVE") == "1":
            for kept in [k for k in self.kept if k[0] == words["FDNAME"]]:
                self.kept.remove(kept)
                os.close(kept[1])
        elif words.get("FDSTORE") == "1":
            self.kept += [(words["FDNAME"], fd) for fd in fds]
        else:
            self.said += [f"{name}={value}" for name, value in words.items()]

    def names(self):
        with self.lock:
            return sorted(name for name, _ in self.kept)

    def start(self, child, argv, env):
        with self.lock:
            poll = select.poll()
            for _, fd in self.kept:  # systemd drops those whose other end has gone
                poll.register(fd, 0)
            gone = {fd for fd, what in poll.poll(0)}
            kept = [k for k in self.kept if k[1] not in gone]
            for _, fd in self.kept:
                if fd in gone:
                    os.close(fd)
            self.kept = kept
            fds = [fd for _, fd in kept]
            env = {**env, "NOTIFY_SOCKET": self.path}
            if self.room:
                env["FDSTORE"] = str(self.room)
            if fds:
                env |= {"LISTEN_FDS": str(len(fds)),
                        "LISTEN_FDNAMES": ":".join(name for name, _ in kept)}
            return child.become(argv, env, fds)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            for _, fd in self.kept:
                os.close(fd)
            self.kept = []


class Supervised(mounting.Mount):
    """In the foreground, below a manager."""

    def __init__(self, program, source, *args, room=40, **options):
        self.manager = Manager(program.scratch, room)
        self.program, self.child = program, None
        self.prepare()
        super().__init__(program, source, args, None, None, **options)
        program.mounts.append(self)

    def start(self):
        self.kept = True
        argv = self.program.argv("mount", "-f", self.source, self.path, "--store", self.store,
                                 *self.args, user=self.user)
        if "/" not in argv[0]:
            argv = ["/usr/bin/env", *argv]
        ready = self.manager.said.count("READY=1")
        self.child = self.manager.start(self.next, [str(a) for a in argv], self.program.env)
        self.next = None
        self.pid = self.child.pid
        assert processes.wait_until(lambda: self.manager.said.count("READY=1") > ready
                                    or self.child.poll() is not None, 60)
        assert self.child.poll() is None, self.told()
        self.prepare()

    def prepare(self):
        with open(self.program.scratch / "stderr", "ab") as stderr:
            self.next = Child(stderr)

    def told(self):
        return (self.program.scratch / "stderr").read_text()

    def restart(self):
        """The keeper is killed, the manager starts the next one."""
        os.kill(self.pid, signal.SIGKILL)
        self.child.wait(30)
        self.start()

    def umount(self, seconds=30):
        done = self.program.run("umount", self.path, user=self.user)
        assert done.returncode == 0, done.stderr
        assert self.child.wait(seconds) == 0, self.told()
        self.pid = None

    def close(self):
        self.abandon()
        self.manager.close()
        if self.next:
            self.next.end()
