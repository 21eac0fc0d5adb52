# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A server whose answers are changed at random: status, headers, lengths, framing, cuts,
redirects, versions.

Every file has two versions of one size: A as it is, B with every byte twisted and validators of
its own. No changes make a wrong answer that is right in all that HTTP lets one check
(test_mutating.py tries them in pairs and threes); what only the end of an answer shows counts as
right for the chunks before.

    server = MutatingServer(root, choose, index="html")
    server.wild = 0.3      # of all answers; 0: an honest server
    server.told("d1/f1")   # the changes of its answers, for who failed there
"""
import os
import random
import threading
import time

import lying
from origin import Origin

TWIST = bytes(b ^ 0x5a for b in range(256))
STATUSES = [100, 200, 201, 204, 206, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 403, 404,
            405, 408, 410, 412, 416, 418, 421, 425, 429, 451, 500, 501, 502, 503, 504, 599, 999]
RETRIES = ["0", "1", "x", "Fri, 31 Dec"]
LOCATIONS = ["", "/", "?x", "//", "http://", "ftp://h/", "file:///etc/passwd", "x" * 9000]
GARBAGE = ["", "-1", "0", "1", "x", "9" * 25, "bytes", "bytes 0-0/1", "bytes */*", "W/", '"', ",",
           "text/html", "gzip", "identity, gzip", "\x7f", "é", "a" * 9000]
NAMES = ["Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified",
         "Accept-Ranges", "Content-Encoding", "Location", "Retry-After", "Connection", "Date"]
VALIDATORS = ["ETag", "Last-Modified"]
URLS = ["{path}", "{path}/", "{path}?again", "{path}#x", "/nowhere", "http://127.0.0.1:1/",
        "https://127.0.0.1:1{path}", "gopher://h/", "//", "http://[::1"]
RANGES = [lying.ignore_range, lying.too_much, lying.too_much_unsaid, lying.short_honest,
          lying.wrong_range, lying.no_content_range, lying.gzipped, lying.page]
COUNTS = [0, 1, 100, 5000, 70000]
HEADS = ["fold", "fold first", "cut", "nul", "twice", "long", "many", "no colon", "lf",
         "informational", "blank", "status", "drip"]
FIRST_LINES = [b"HTTP/1.1 2OO", b"HTTP/9.9 200 OK", b"HTTP/1.1", b"ICY 200 OK",
               b"HTTP/1.1 20000 OK", b"http/1.1 200 ok", b"\0\0\0\0"]


def twisted(data):
    return data.translate(TWIST)


def named(text, change):
    """The same change with a name to tell it by."""
    def renamed(request, answer):
        change(request, answer)
    renamed.__name__ = text
    return renamed


def asks_size(request):
    """Nothing else tells what is right here."""
    return request.method == "HEAD" or request.end == 0


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
    return named(f"chunked, {'with' if with_length else 'without'} a length", change)


def until_closed(request, answer):
    """A body without a length, which ends with the connection."""
    if request.method == "GET":
        answer.headers.pop("Content-Length", None)
        answer.headers["Connection"] = "close"
        answer.cut = answer.length


def status(code, headers, body_stays):
    """A body that stays would be taken for the file's with 200 or 206: it would say that it is."""
    def change(request, answer):
        hidden = code in (200, 206) and (body_stays or asks_size(request))
        if body_stays:
            answer.status = 599 if hidden else code
        else:
            lying.status(599 if hidden else code, **headers)(request, answer)
    return named(f"status {code}, {'its body' if body_stays else 'a page'}", change)


def header(name, value):
    """`value` None takes the header out."""
    value = value.replace("{", "") if value else value

    def change(request, answer):
        said = value
        if answer.coded and name == "Content-Encoding":
            return  # it alone may show that the bytes are not the file's
        if asks_size(request) and (name, value) in (("Content-Length", "1"),
                                                    ("Content-Range", "bytes 0-0/1")):
            said = "0" if request.method == "HEAD" else "x"
        if asks_size(request) and (request.method, name, value) == ("GET", "Content-Length", "0"):
            said = "x"
        if answer.twist and name in VALIDATORS:
            if value is not None:
                said = value + "B"  # A may be said to have this one
            elif len([v for v in VALIDATORS if v in answer.headers]) == 1:
                return  # A may have none
        lying.header(name, said)(request, answer)
    return named(f"{name}: {value if value is None else value[:30]!r}", change)


def edited(kind, at, first_line):
    """`kind`: of HEADS; `at`: where, 0 to 1, in the bytes of the head."""
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
            return b"\r\n".join([first_line, *lines[1:]])
        return head

    def change(request, answer):
        answer.edit_head = edit
        answer.end_in_head = kind in ("cut", "blank", "status")
    return named(f"head: {kind} at {at:.2f}", change)


def ranged(lie):
    def change(request, answer):
        (lying.drop if asks_size(request) and lie is lying.page else lie)(request, answer)
    return named(lie.__name__, change)


def ends(count, late):
    """How a body ends after `count` bytes, or comes slowly, or `late` seconds late, or not."""
    return [named(f"truncated at {count}", lying.truncate(count)),
            named(f"stalls at {count}", lying.stall(count)), lying.drop,
            named("slow", lying.slow(20_000)), named(f"{late} s late", lying.delay(late))]


class Mutator:
    """Every method makes one change; all are drawn from the same seed."""

    def __init__(self, choose):
        self.choose = choose

    def status(self):
        headers = {}
        if self.choose.random() < 0.5:
            headers["Retry_After"] = self.choose.choice(RETRIES)
        if self.choose.random() < 0.5:
            headers["Location"] = self.choose.choice(LOCATIONS)
        return status(self.choose.choice(STATUSES), headers, self.choose.random() < 0.5)

    def header(self):
        return header(self.choose.choice(NAMES), self.choose.choice([None, None, *GARBAGE]))

    def redirect(self):
        code = self.choose.choice([301, 302, 303, 307, 308])
        url = self.choose.choice(URLS)
        return named(f"{code} to {url}", lying.redirect(url, code))

    def range(self):
        return ranged(self.choose.choice(RANGES))

    def framing(self):
        return self.choose.choice([chunked(False), chunked(True), until_closed])

    def end(self):
        truncated, *others = ends(self.choose.choice(COUNTS), self.choose.choice([0.1, 0.7]))
        return self.choose.choice([truncated, truncated, *others])

    def version(self):
        return self.choose.choice([
            other_version, other_version, header("ETag", None), header("ETag", "W/x"),
            header("ETag", '"new"'), header("Last-Modified", None)])

    def head(self):
        return edited(self.choose.choice(HEADS), self.choose.random(),
                      self.choose.choice(FIRST_LINES))

    def any(self):
        kinds = [self.status, self.header, self.header, self.redirect, self.range, self.framing,
                 self.end, self.version, self.head, self.head]
        return self.choose.choice(kinds)()


class MutatingServer(Origin):
    def __init__(self, root, choose, **options):
        self.wild, self.mutator, self.lock = 0.0, Mutator(choose), threading.Lock()
        self.changes, self.began = [], time.monotonic()
        super().__init__(root, **options)

    def change(self, request, answer):
        if request.path.endswith("/") and not os.path.isdir(self.root + request.path):
            lying.status(404)(request, answer)  # nothing is below a file
        with self.lock:
            choose = self.mutator.choose
            if choose.random() >= self.wild:
                return
            changes = [self.mutator.any() for _ in range(choose.choice([1, 1, 1, 2, 3]))]
            self.changes.append((request, [c.__name__ for c in changes]))
        for change in changes:
            change(request, answer)

    def told(self, name):
        """A line for each answer about the file that was changed."""
        with self.lock:
            return [f"{r.at - self.began:.3f} s: {r.method} /{name} {r.start}-{r.end}: HTTP "
                    f"{r.status}, {r.sent} bytes sent: {'; '.join(names)}"
                    for r, names in self.changes if r.path == f"/{name}"]
