# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Somebody who has taken over the daemon: intruder.c is preloaded into it."""
import errno
import mmap
import os
import pathlib
import signal
import struct
import subprocess

import processes

TRIES = ("read", "truncate", "create", "unlink", "rename", "store", "etc", "execute", "mount",
         "namespace", "trace", "signal", "handle", "bpf", "listen", "connect")
SHAPE = struct.Struct(f"=iiiI{len(TRIES)}i128s128s128s")
SOURCE = pathlib.Path(__file__).with_name("intruder.c")


class Intruder:
    def __init__(self, scratch):
        library, self.path = scratch / "intruder.so", scratch / "intrusion"
        subprocess.run(["gcc", "-O1", "-w", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"],
                       check=True)
        self.path.write_bytes(bytes(SHAPE.size))
        self.path.chmod(0o666)
        self.outside, self.scratch = scratch / "outside", scratch
        self.outside.write_text("a secret")
        self.outside.chmod(0o644)
        self.env = {"LD_PRELOAD": str(library), "INTRUDER": str(self.path)}

    def tries(self, m, port, gentle=False):
        """What was tried → the name of the errno, or None: it was possible."""
        with open(self.path, "r+b") as f, mmap.mmap(f.fileno(), SHAPE.size) as shared, \
                processes.Child(["sleep", "100"]) as victim:
            shared[:] = SHAPE.pack(0, victim.pid, gentle, port, *[-1] * len(TRIES),
                                   bytes(self.outside), bytes(self.scratch / "new"),
                                   bytes(m.store / "state" / "intruded"))
            os.kill(m.worker(), signal.SIGUSR2)
            assert processes.wait_until(lambda: shared[:4] != bytes(4))
            victim.kill()
            errors = SHAPE.unpack(shared[:])[4:4 + len(TRIES)]
        return {name: errno.errorcode[n] if n else None
                for name, n in zip(TRIES, errors) if n >= 0}
