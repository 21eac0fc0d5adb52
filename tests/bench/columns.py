# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The file systems that are measured side by side.

start(part) mounts one part of the origin with nothing cached and sets `path`; stop() unmounts
and forgets what was cached. Both raise Failed. fetched(): bytes of files, as the column itself
counts them; None where the web server's log tells better.
"""
import json
import os
import re
import shutil
import signal
import subprocess

import machine


CHANGED = ("project", "kernel")


class Column:
    name = title = ""
    execute = ()  # put before the path of a program
    parts = ("big", "tree")  # where it takes part; the others are changed by their works

    def __init__(self, scratch, origin):
        self.scratch, self.origin = scratch, origin
        self.path = self.child = self.home = None

    def start(self, part):
        self.home = self.scratch.new(self.name)
        self.path = self.home / "mnt"
        self.path.mkdir()
        (self.home / "store").mkdir()
        try:
            self.mount(part)
        except (machine.Failed, OSError) as e:
            self.stop()
            raise machine.Failed(str(e)) from e

    def stop(self):
        if self.home is None:
            return
        self.unmount()
        shutil.rmtree(self.home)
        self.home = self.child = None

    def spawn(self, *argv, **options):
        environment = dict(os.environ, HOME=str(self.home), XDG_CONFIG_HOME=str(self.home),
                           XDG_CACHE_HOME=str(self.home))
        self.child = self.scratch.spawn(argv, self.home / "log", env=environment, **options)

    def unmount(self):
        machine.unmount(self.path)
        if self.child:
            self.scratch.end(self.child)

    def fetched(self):
        return None

    def kept(self):
        """The directory that holds what is kept of what was fetched or made."""
        return self.home / "store"


class Native(Column):
    """What works change is a copy, on the file system of the stores."""
    name, title = "native", "native (ext4)"
    parts = ("big", "tree", *CHANGED)

    def start(self, part):
        if part in CHANGED:
            super().start(part)
        else:
            self.path = self.origin.data / part

    def mount(self, part):
        done = subprocess.run(["cp", "-aT", self.origin.data / part, self.path],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise machine.Failed(done.stderr.strip().splitlines()[-1])

    def kept(self):
        return self.path


class SmallFolios(Column):
    """ext4 with a page cache of single pages, as FUSE's is in cached mode: data=journal."""
    name, title = "small-folios", "ext4, 4 KiB folios"
    parts = ("big",)

    def mount(self, part):
        image = self.home / "image"
        for argv in (("mkfs.ext4", "-q", "-O", "has_journal", "-d", self.origin.data / part, image,
                      "2G"),
                     ("mount", "-o", "loop,data=journal", image, self.path)):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise machine.Failed(f"{argv[0]}: {done.stderr.strip()}")


class Lacuna(Column):
    """`source`: http or dir."""
    parts = ("big", "tree", *CHANGED)

    def __init__(self, scratch, origin, binary, name, title, source="http", options=""):
        super().__init__(scratch, origin)
        self.binary, self.name, self.title = binary, name, title
        self.source, self.options = source, options

    def remote(self, part):
        return self.origin.url(part) if self.source == "http" else f"dir:{self.origin.data / part}"

    def mount(self, part):
        remote = self.remote(part)
        reader, writer = os.pipe()
        try:
            self.spawn(self.binary, "mount", remote, self.path, "--store", self.home / "store",
                       "--foreground", "--ready-fd", writer, "--log", self.home / "log",
                       *(["-o", self.options] if self.options else []), pass_fds=[writer])
            os.close(writer)
            writer = -1
            if not os.read(reader, 1):  # end of file: it is gone
                self.child.wait(10)
                raise machine.Failed(machine.complaint(self.child))
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)

    def status(self):
        done = subprocess.run([self.binary, "status", self.path, "--json"], capture_output=True,
                              check=False, timeout=30)
        try:
            return json.loads(done.stdout)
        except ValueError as e:
            raise machine.Failed(f"status --json: {e}") from None

    def fetched(self):
        return None if self.source == "http" else self.status()["network"]["bytes"]

    def unmount(self):
        if self.child and self.child.poll() is None:
            try:
                subprocess.run([self.binary, "umount", self.path], capture_output=True, check=False,
                               timeout=30)
            except subprocess.TimeoutExpired:
                pass
        super().unmount()


class Published(Lacuna):
    """The same tree, published with packs; through a proxy that makes a round trip `delay_ms` longer."""
    parts = ("tree",)

    def __init__(self, scratch, origin, binary, name, title, delay_ms=0):
        super().__init__(scratch, origin, binary, name, title)
        self.delay_ms, self.proxy = delay_ms, None

    def mount(self, part):
        """The proxy runs until stop(); the publishing is not counted."""
        subprocess.run([self.binary, "publish", self.origin.root / part], capture_output=True, check=True)
        if not self.delay_ms:
            self.url = self.origin.url(part)
        else:
            self.proxy = subprocess.Popen([machine.HERE / "delay.py", str(self.origin.port),
                                           str(self.delay_ms)], stdout=subprocess.PIPE, text=True)
            self.url = f"http://127.0.0.1:{int(self.proxy.stdout.readline())}/{part}/"
        super().mount(part)

    def remote(self, part):
        return self.url

    def unmount(self):
        super().unmount()
        if self.proxy:
            self.proxy.terminate()
            self.proxy.wait()
            self.proxy.stdout.close()
            self.proxy = None


class Httpdirfs(Column):
    name = "httpdirfs"
    execute = ("/lib64/ld-linux-x86-64.so.2",)  # its files have no x bit

    def __init__(self, scratch, origin, binary):
        super().__init__(scratch, origin)
        self.binary = binary
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
        found = re.search(r"HTTPDirFS version (\S+)", said.stdout + said.stderr)
        self.title = "httpdirfs " + (found[1] if found else "")

    def mount(self, part):
        self.spawn(self.binary, "-f", "--cache", "--cache-location", self.home / "store",
                   self.origin.url(part), self.path)
        machine.wait_mounted(self.child, self.path)


class Rclone(Column):
    name = "rclone"

    def __init__(self, scratch, origin):
        super().__init__(scratch, origin)
        said = subprocess.run(["rclone", "version"], capture_output=True, text=True, check=False)
        self.title = said.stdout.split("\n")[0].replace(" v", " ").split("-")[0]

    def mount(self, part):
        self.spawn("rclone", "mount", ":http:", self.path, "--http-url", self.origin.url(part),
                   "--config", os.devnull, "--cache-dir", self.home / "store", "--vfs-cache-mode",
                   "full", "--file-perms", "0755", "--log-file", self.home / "log")
        machine.wait_mounted(self.child, self.path)


class Precontent(Column):
    """The kernel's own pre-content events, over ext4."""
    name, title = "precontent", "fanotify"
    parts = ("big", "tree", *CHANGED)

    def mount(self, part):
        self.spawn(self.scratch.path / "precontent", self.origin.data / part, self.path,
                   stdout=subprocess.PIPE)
        if self.child.stdout.readline() != b"ready\n":
            self.child.wait(10)
            raise machine.Failed(machine.complaint(self.child))

    def fetched(self):
        self.child.send_signal(signal.SIGUSR1)
        return int(self.child.stdout.readline().split()[0])

    def kept(self):
        return self.path

    def unmount(self):
        if self.child:
            self.child.terminate()
            self.child.stdout.close()
        super().unmount()


class Curl(Column):
    """No file system: the file, downloaded whole."""
    name, title = "curl", "curl -o"

    def mount(self, part):
        self.path = self.origin.url(part)

    def unmount(self):
        pass

    def get(self, name):
        done = subprocess.run(["curl", "-sS", "-o", self.home / name, "-w", "%{time_total}",
                               self.path + name], capture_output=True, text=True, check=False,
                              timeout=machine.PATIENCE)
        if done.returncode != 0:
            raise machine.Failed(done.stderr.strip())
        return float(done.stdout)
