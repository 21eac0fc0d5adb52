# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What is measured: one tree on the local disk, and in memory behind a web server.

DATA/PART   made by `prepare`; the native file system and the source of what copies
            tree, big: only read. project, kernel: sources that are built, in copies
ROOT/PART   the same in memory; nginx serves ROOT on an ephemeral port of loopback
ROOT/many   empty files in great number, only there while they are measured
"""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

CONFIGURATION = """
{user} worker_processes auto; daemon off; pid {scratch}/pid; error_log {scratch}/error.log;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi; uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  log_format one '$request_method $status $body_bytes_sent $request_uri';
  access_log {scratch}/access.log one;
  default_type application/octet-stream; sendfile on; tcp_nopush on;
  server {{
    listen 127.0.0.1:{port};
    root {root};
    index .no-such-index;
    autoindex on; autoindex_format html; autoindex_exact_size on;
  }}
}}
"""


class Origin:
    def __init__(self, data, scratch, memory="/dev/shm"):
        self.data, self.scratch = pathlib.Path(data), scratch
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-bench.", dir=memory))
        self.root.chmod(0o755)
        self.child = None

    def start(self, parts):
        for part in parts:
            subprocess.run(["cp", "-a", self.data / part, self.root / part], check=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        home = self.scratch.new("nginx")
        self.log = home / "access.log"
        user = "user root;" if os.geteuid() == 0 else ""
        (home / "conf").write_text(CONFIGURATION.format(
            scratch=home, port=self.port, root=self.root, user=user))
        self.child = self.scratch.spawn(
            ["nginx", "-c", home / "conf", "-p", home, "-e", home / "error.log"], home / "output",
            env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
        for _ in range(200):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(self.url(""), timeout=5).close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"nginx does not answer: {(home / 'output').read_text()}")

    def url(self, part):
        return f"http://127.0.0.1:{self.port}/{part}" + ("/" if part else "")

    def stop(self):
        if self.child:
            self.child.terminate()
            self.scratch.end(self.child)
        shutil.rmtree(self.root)

    def asked(self):
        """A mark in the log, for since()."""
        time.sleep(0.05)  # a request is logged when its answer has been sent
        return self.log.stat().st_size if self.log.exists() else 0

    def since(self, mark):
        """{requests, listings, bytes} since then; bytes: of files, without listings."""
        time.sleep(0.05)
        found = {"requests": 0, "listings": 0, "bytes": 0}
        with open(self.log, encoding="utf-8", errors="surrogateescape") as f:
            f.seek(mark)
            for line in f:
                method, status, sent, path = line.split(" ", 3)
                found["requests"] += 1
                if path.rstrip("\n").endswith("/"):
                    found["listings"] += method == "GET"
                elif method == "GET" and status in ("200", "206"):
                    found["bytes"] += int(sent)
        return found

    @contextlib.contextmanager
    def many(self, directories=100, files=1000):
        """ROOT/many; the files are holes, so they cost no memory but their inodes'."""
        top = self.root / "many"
        try:
            for d in range(directories):
                (top / f"directory-{d:03}").mkdir(parents=True)
                for f in range(files):
                    path = top / f"directory-{d:03}" / f"some-file-{d:03}-{f:04}.c"
                    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
                    os.ftruncate(fd, 1000 + f)
                    os.close(fd)
            yield self.url("many")
        finally:
            shutil.rmtree(top)
