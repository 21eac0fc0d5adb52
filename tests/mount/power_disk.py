# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A file system on a loop device that can lose its power: cut() drops what it has not written, its
log, too. Needs root."""
import fcntl
import os
import struct
import subprocess

import processes

SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
# Blocks of a page: with the 1 KiB that small disks get, ext4 keeps less than a page of what was
# not synced, and zeros after it where a file that had grown is cut
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "has_journal"],
        "xfs": ["mkfs.xfs", "-q", "-f"]}


class Disk:
    def __init__(self, kind, scratch):
        self.image, self.path = scratch / f"{kind}.image", scratch / kind
        with open(self.image, "wb") as f:
            f.truncate(320 << 20)  # the least that xfs takes
        subprocess.run([*MAKE[kind], self.image], check=True, capture_output=True)
        self.path.mkdir()
        self.mounted = False
        self.mount()

    def mount(self):
        # As often as a test wants it, not every five seconds
        options = "loop,commit=1000" if self.image.name.startswith("ext4") else "loop"
        subprocess.run(["mount", "-o", options, self.image, self.path], check=True)
        self.mounted = True

    def cut(self):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def umount(self):
        if not self.mounted:
            return
        # the kernel lets go of a killed daemon's files in its own time
        assert processes.wait_until(lambda: not subprocess.run(["umount", self.path]).returncode)
        self.mounted = False
        # Held by a copy of our mounts in another namespace, it would come back shut down as it is
        assert processes.wait_until(self.is_free), f"somebody holds {self.image}"

    def is_free(self):
        return not subprocess.run(["losetup", "-j", self.image], check=True,
                                  capture_output=True).stdout
