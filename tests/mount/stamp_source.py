# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The source of the page-stamp campaign: a directory whose files get new versions and types, and
a web server of it that never mixes two of them in an answer.

A version is put in its place by a rename, whole, with a time of its own: a source that changes a
file in place has no versions, and nothing could be told of it.
"""
import email.utils
import os
import pathlib
import random
import shutil
import time

import lying
import stamps

FOLDERS = ("", "d", "d/e")
FILES = 24  # of the readers: 0 … FILES-1
WRITTEN = 6  # of each writer
BEGAN = 1_500_000_000


def place(f):
    """The path of a readers' file."""
    return os.path.join(FOLDERS[f % 3], f"f{f}")


def written(writer, n):
    return f"w{writer}/r{n}"


def written_identity(writer, n):
    return stamps.WRITERS + 1000 * writer + (stamps.HOLEY if n % 2 else 0) + n


class Server(lying.LyingServer):
    """One look at a file an answer: its tag, size, time and bytes are of one version."""

    def answer_file(self, request, answer, path):
        try:
            with open(path, "rb") as f:
                st = os.fstat(f.fileno())
                start, end, whole = 0, st.st_size - 1, request.start is None
                if not whole:
                    start = request.start
                    end = end if request.end is None else min(request.end, end)
                body = os.pread(f.fileno(), max(0, end + 1 - start), start) \
                    if request.method == "GET" else b""
        except OSError:  # it was there a moment ago
            answer.status = 404
            answer.set_body(b"")
            return
        if not whole and start > end:
            answer.status = 416
            answer.headers["Content-Range"] = f"bytes */{st.st_size}"
            answer.set_body(b"")
            return
        answer.set_body(body, "application/octet-stream")
        answer.headers.update({
            "Accept-Ranges": "bytes", "ETag": f'"{st.st_mtime_ns:x}-{st.st_size:x}"',
            "Content-Length": str(end + 1 - start),
            "Last-Modified": email.utils.formatdate(st.st_mtime, usegmt=True)})
        if not whole:
            answer.status = 206
            answer.headers["Content-Range"] = f"bytes {start}-{end}/{st.st_size}"

    def answer(self, request):
        try:
            return super().answer(request)
        except OSError:  # a directory that became a file meanwhile
            answer = lying.Origin.answer.__globals__["Answer"](status=404)
            answer.set_body(b"")
            return answer


class Source:
    """Changes what is at the source. In one process at a time."""

    def __init__(self, root, table, writers):
        self.root, self.table, self.writers = pathlib.Path(root), table, writers
        self.spare, self.only_readers = self.root.parent / "spare", False
        self.types = True
        self.root.mkdir(), self.spare.mkdir()
        for name in FOLDERS[1:] + tuple(f"w{n}" for n in range(writers)):
            (self.root / name).mkdir()
        for f in range(FILES):
            self.put_file(f, place(f))
        for w in range(writers):
            for n in range(WRITTEN):
                self.put_file(written_identity(w, n), written(w, n))

    def make(self, identity, path, version):
        path.write_bytes(stamps.content(identity, version))
        path.chmod(0o644)
        os.utime(path, (BEGAN + version, BEGAN + version))

    def announce(self, identity):
        """A version may be seen from here on."""
        self.table.published[identity] += 1
        return self.table.published[identity]

    def away(self, path):
        """Nothing may be by this name when another kind comes."""
        gone = self.spare / "gone"
        try:
            os.rename(path, gone)
        except OSError:
            return
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()

    def put_file(self, identity, name):
        path, version = self.root / name, self.announce(identity)
        new = self.spare / "new"
        self.make(identity, new, version)
        if path.is_dir():
            self.away(path)
        os.rename(new, path)
        self.table.settled[identity] = version

    def put_directory(self, f):
        inner, version = stamps.INNER + f, self.announce(stamps.INNER + f)
        new = self.spare / "newdir"
        new.mkdir()
        self.make(inner, new / "inner", version)
        self.away(self.root / place(f))
        os.rename(new, self.root / place(f))
        self.table.settled[inner] = version

    def change(self, choose):
        """One thing."""
        if choose.random() < 0.25 and not self.only_readers:
            w, n = choose.randrange(self.writers), choose.randrange(WRITTEN)
            return self.put_file(written_identity(w, n), written(w, n))
        f = choose.randrange(FILES)
        what = choose.random()
        if what < 0.8 or f % 4 or not self.types:
            self.put_file(f, place(f))
        elif what < 0.9:
            self.put_directory(f)
        else:
            self.away(self.root / place(f))

    def state(self, f):
        """("file" | "dir" | None, identity, version): what is there, when nobody changes it."""
        path = self.root / place(f)
        if path.is_dir():
            return "dir", stamps.INNER + f, self.table.settled[stamps.INNER + f]
        return ("file" if path.exists() else None), f, self.table.settled[f]


def work(worker, source, pace):
    """`pace`: seconds from one change to the next, about."""
    choose = random.Random(worker.seed)
    while not worker.over():
        source.change(choose)
        worker.count("versions")
        time.sleep(choose.expovariate(1 / pace))
