# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Small file systems for a store: one that is full, over its quota, or turns read-only."""
import os
import subprocess


class Volume:
    """A loop file system, mounted; `close` leaves nothing behind."""

    def __init__(self, scratch, kind, megabytes):
        self.image, self.path = scratch / "image", scratch / "disk"
        self.path.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        make = {"ext4": ["mkfs.ext4", "-q", "-m", "0"], "btrfs": ["mkfs.btrfs", "-q", "--mixed"]}
        self.run(*make[kind], self.image)
        how = {"ext4": "loop,errors=remount-ro", "btrfs": "loop"}[kind]
        self.run("mount", "-o", how, self.image, self.path)

    def run(self, *argv):
        env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        subprocess.run(argv, check=True, env=env, stdout=subprocess.DEVNULL)

    def limit(self, size):
        """btrfs: no more than that, whoever writes."""
        if size is not None:
            self.run("btrfs", "quota", "enable", self.path)
        self.run("btrfs", "qgroup", "limit", str(size) if size else "none", self.path)
        self.run("btrfs", "filesystem", "sync", self.path)

    def fill(self):
        """To the last block; `drain` gives it back."""
        with open(self.path / "ballast", "wb", buffering=0) as f:
            for piece in (1 << 20, 4096, 512):
                try:
                    while f.write(bytes(piece)) == piece:
                        pass
                except OSError:
                    pass
            os.fsync(f.fileno())

    def drain(self):
        os.unlink(self.path / "ballast")
        self.run("sync", "-f", self.path)

    def fail(self):
        """ext4: as after an error that it found in itself: read-only from now on."""
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            device = next(line.split(" - ")[1].split()[1] for line in f
                          if line.split()[4] == str(self.path))
        with open(f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error", "w",
                  encoding="ascii") as f:
            f.write("1")

    def repair(self):
        self.run("umount", self.path)
        subprocess.run(["/usr/sbin/e2fsck", "-fy", self.image], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        self.run("mount", "-o", "loop", self.image, self.path)

    def close(self):
        if os.path.ismount(self.path):
            self.run("umount", self.path)

    def freeze(self):
        """Whoever writes waits for `thaw`, in the kernel; what is cached can be read."""
        self.run("fsfreeze", "--freeze", self.path)

    def thaw(self):
        self.run("fsfreeze", "--unfreeze", self.path)
