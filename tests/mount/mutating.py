# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A server whose answers are changed at random: status, headers, lengths, framing, cuts,
redirects, versions.

Every file has two versions of one size: A as it is, B with every byte twisted and validators of
its own. No change makes a wrong answer that is right in all that HTTP lets one check.

    server = MutatingServer(root, choose, index="html")
    server.wild = 0.3      # of all answers; 0: an honest server
"""
import os
import random
import threading

import lying
from origin import Origin

TWIST = bytes(b ^ 0x5a for b in range(256))
STATUSES = [100, 200, 201, 204, 206, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 403, 404,
            405, 408, 410, 412, 416, 418, 421, 425, 429, 451, 500, 501, 502, 503, 504, 599, 999]
GARBAGE = ["", "-1", "0", "1", "x", "9" * 25, "bytes", "bytes 0-0/1", "bytes */*", "W/", '"', ",",
           "text/html", "gzip", "identity, gzip", "\x7f", "é", "a" * 9000]
NAMES = ["Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified",
         "Accept-Ranges", "Content-Encoding", "Location", "Retry-After", "Connection", "Date"]


def twisted(data):
    return data.translate(TWIST)


def other_version(request, answer):
    """B."""
    if answer.file:
        answer.twist = twisted
        answer.headers["ETag"] = '"B"'
        answer.headers["Last-Modified"] = "Sun, 06 Nov 1994 08:49:37 GMT"


def chunked(with_length):
    def change(request, answer):
        if request.method == "GET" and answer.status in (200, 206):
            answer.chunked = True
            answer.headers["Transfer-Encoding"] = "chunked"
            if not with_length:
                answer.headers.pop("Content-Length", None)
    return change


def until_closed(request, answer):
    """A body without a length, which ends with the connection."""
    if request.method == "GET":
        answer.headers.pop("Content-Length", None)
        answer.headers["Connection"] = "close"
        answer.cut = answer.length


class Mutator:
    """Every method makes one change; all are drawn from the same seed."""

    def __init__(self, choose):
        self.choose = choose
        self.asks_size = False  # the request is one that nothing else tells the answer of

    def status(self):
        code = self.choose.choice(STATUSES)
        headers = {}
        if self.choose.random() < 0.5:
            headers["Retry_After"] = self.choose.choice(["0", "1", "x", "Fri, 31 Dec"])
        if self.choose.random() < 0.5:
            headers["Location"] = self.choose.choice(["", "/", "?x", "//", "http://", "ftp://h/",
                                                      "file:///etc/passwd", "x" * 9000])
        if self.choose.random() < 0.5:
            if self.asks_size and code in (200, 206):
                code = 599
            return lying.status(code, **headers)

        def change(request, answer):  # the body stays
            # which then would be taken for the file's, as it says it is
            answer.status = code if code not in (200, 206) else 599
        return change

    def header(self):
        name = self.choose.choice(NAMES)
        value = self.choose.choice([None, None, *GARBAGE])
        if name == "Content-Length" and value in ("1",):
            value = "0"  # what HEAD alone says cannot be told from the truth
        return lying.header(name, value.replace("{", "") if value else value)

    def redirect(self):
        return lying.redirect(self.choose.choice(
            ["{path}", "{path}/", "{path}?again", "{path}#x", "/nowhere", "http://127.0.0.1:1/",
             "https://127.0.0.1:1{path}", "gopher://h/", "//", "http://[::1"]),
            self.choose.choice([301, 302, 303, 307, 308]))

    def range(self):
        lie = self.choose.choice([lying.ignore_range, lying.too_much, lying.too_much_unsaid,
                                  lying.short_honest, lying.wrong_range, lying.no_content_range,
                                  lying.gzipped, lying.page])
        return lying.drop if self.asks_size and lie is lying.page else lie

    def framing(self):
        return self.choose.choice([chunked(False), chunked(True), until_closed])

    def end(self):
        count = self.choose.choice([0, 1, 100, 5000, 70000])
        return self.choose.choice([lying.truncate(count), lying.truncate(count),
                                   lying.stall(count), lying.drop, lying.slow(20_000),
                                   lying.delay(self.choose.choice([0.1, 0.7]))])

    def version(self):
        return self.choose.choice([
            other_version, other_version, lying.header("ETag", None), lying.header("ETag", "W/x"),
            lying.header("ETag", '"new"'), lying.header("Last-Modified", None)])

    def head(self):
        """The bytes of the head."""
        at, salt = self.choose.random(), self.choose.randrange(1 << 30)
        kind = self.choose.choice(["fold", "fold first", "cut", "nul", "twice", "long", "many",
                                   "no colon", "lf", "informational", "blank", "status", "drip"])

        def edit(head):
            lines = head.split(b"\r\n")
            where = 1 + int(at * (len(lines) - 2))
            # not the empty one: the body would begin early, by an answer that is right in all
            twice = lines[1 + int(at * (len(lines) - 3))]
            inserted = {"fold": b"\tfolded", "fold first": b" X: y", "nul": b"X: a\0b",
                        "long": b"X: " + b"y" * 120_000, "no colon": b"nonsense",
                        "twice": twice}
            if kind == "cut":
                return head[:int(at * (len(head) - 4))]
            if kind == "fold first":
                where = 1
            if kind in inserted:
                return b"\r\n".join([*lines[:where], inserted[kind], *lines[where:]])
            if kind == "many":
                return b"\r\n".join([lines[0], *[b"X-%d: y" % i for i in range(3000)], *lines[1:]])
            if kind == "lf":
                return head.replace(b"\r\n", b"\n")
            if kind == "informational":
                return b"HTTP/1.1 103 Early\r\nETag: \"x\"\r\nContent-Length: 3\r\n\r\n" + head
            if kind == "blank":
                return b"\r\n" + head
            if kind == "status":
                first = random.Random(salt).choice(
                    [b"HTTP/1.1 2OO", b"HTTP/9.9 200 OK", b"HTTP/1.1", b"ICY 200 OK",
                     b"HTTP/1.1 20000 OK", b"http/1.1 200 ok", b"\0\0\0\0"])
                return b"\r\n".join([first, *lines[1:]])
            return head

        def change(request, answer):
            answer.edit_head = edit
            answer.end_in_head = kind in ("cut", "blank", "status")
        return change

    def any(self):
        kinds = [self.status, self.header, self.header, self.redirect, self.range, self.framing,
                 self.end, self.version, self.head, self.head]
        return self.choose.choice(kinds)()


class MutatingServer(Origin):
    def __init__(self, root, choose, **options):
        self.wild, self.mutator, self.lock = 0.0, Mutator(choose), threading.Lock()
        super().__init__(root, **options)

    def change(self, request, answer):
        if request.path.endswith("/") and not os.path.isdir(self.root + request.path):
            lying.status(404)(request, answer)  # nothing is below a file
        with self.lock:
            choose = self.mutator.choose
            if choose.random() >= self.wild:
                return
            self.mutator.asks_size = request.method == "HEAD" or request.end == 0
            changes = [self.mutator.any() for _ in range(choose.choice([1, 1, 1, 2, 3]))]
        for change in changes:
            change(request, answer)
