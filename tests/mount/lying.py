# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A server that lies: an Origin with rules, each a function that edits an Answer.

    server.lie("/f", truncate(100), times=1)
"""
import fnmatch
import gzip
import os
import threading

from origin import Origin


class LyingServer(Origin):
    def __init__(self, root, **options):
        self.rules, self.lock = [], threading.Lock()
        super().__init__(root, **options)

    def lie(self, pattern, lie, times=None, methods=("GET", "HEAD"), ranges=None):
        """`pattern` is a glob of paths; `times`: so often, then honest again; `ranges`:
        only requests with (True) or without (False) a Range."""
        with self.lock:
            self.rules.append([pattern, lie, times, methods, ranges])

    def honest(self):
        with self.lock:
            self.rules.clear()

    def change(self, request, answer):
        with self.lock:
            todo = []
            for rule in self.rules:
                pattern, lie, times, methods, ranges = rule
                if request.method not in methods or not fnmatch.fnmatchcase(request.path, pattern):
                    continue
                if ranges not in (None, request.start is not None) or times == 0:
                    continue
                if times is not None:
                    rule[2] -= 1
                todo.append(lie)
        for lie in todo:
            lie(request, answer)


def size_of(answer):
    """The file's size, which the answer need not tell."""
    if answer.file:
        return os.path.getsize(answer.file)
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total or answer.headers.get("Content-Length", 0))


def status(code, **headers):
    def lie(request, answer):
        answer.status = code
        answer.headers = {k.replace("_", "-"): v for k, v in headers.items()}
        answer.set_body(b"<html><body>%d</body></html>" % code)
    return lie


def redirect(url, code=302):
    """`url` may hold {path}."""
    def lie(request, answer):
        status(code)(request, answer)
        answer.headers["Location"] = url.format(path=request.path)
    return lie


def ignore_range(request, answer):
    if answer.status == 206 and answer.file:
        answer.status, answer.offset, answer.length = 200, 0, size_of(answer)
        answer.headers.pop("Content-Range", None)
        answer.headers["Content-Length"] = str(answer.length)


def truncate(count):
    """The connection ends after `count` bytes of the promised body."""
    def lie(request, answer):
        answer.cut = count
    return lie


def stall(count=0):
    def lie(request, answer):
        answer.stall = count
    return lie


def slow(rate):
    def lie(request, answer):
        answer.rate = rate
    return lie


def delay(seconds):
    def lie(request, answer):
        answer.delay = seconds
    return lie


def drop(request, answer):
    answer.drop = True


def too_much(request, answer):
    """206 with more bytes than were asked for, and headers that say so."""
    if answer.status == 206 and answer.file:
        size = size_of(answer)
        answer.length = min(answer.length + 70000, size - answer.offset)
        answer.headers["Content-Length"] = str(answer.length)
        answer.headers["Content-Range"] = \
            f"bytes {answer.offset}-{answer.offset + answer.length - 1}/{size}"


def shifted(request, answer):
    """The body begins with an empty line, which its length does not count: what is right in all
    else ends two bytes early."""
    if answer.file:
        answer.edit_head = lambda head: head + b"\r\n"


def too_much_unsaid(request, answer):
    """206 whose Content-Range is right and whose body is longer."""
    if answer.status == 206 and answer.file:
        answer.length = min(answer.length + 70000, size_of(answer) - answer.offset)
        answer.headers["Content-Length"] = str(answer.length)


def short_honest(request, answer):
    """206 with half of the range, consistently labelled."""
    if answer.status == 206 and answer.file and answer.length > 1:
        answer.length //= 2
        answer.headers["Content-Length"] = str(answer.length)
        answer.headers["Content-Range"] = \
            f"bytes {answer.offset}-{answer.offset + answer.length - 1}/{size_of(answer)}"


def wrong_range(request, answer):
    """206 with another range than was asked for, and headers that say so."""
    if answer.status == 206 and answer.file:
        size, shift = size_of(answer), 4096
        answer.offset = max(0, answer.offset - shift if answer.offset else shift)
        answer.length = min(answer.length, size - answer.offset)
        answer.headers["Content-Length"] = str(answer.length)
        answer.headers["Content-Range"] = \
            f"bytes {answer.offset}-{answer.offset + answer.length - 1}/{size}"


def no_content_range(request, answer):
    """206 that does not say which range it is."""
    answer.headers.pop("Content-Range", None)


def wrong_total(request, answer):
    """Says that the file is one byte longer than the index does."""
    if answer.status == 206:
        head, _, total = answer.headers["Content-Range"].rpartition("/")
        answer.headers["Content-Range"] = f"{head}/{int(total) + 1}"
    elif answer.file:
        answer.headers["Content-Length"] = str(answer.length + 1)
        answer.cut = answer.length


def page(request, answer):
    """A captive portal: 200 and HTML in place of whatever was asked for."""
    answer.status = 200
    answer.headers = {}
    answer.set_body(b"<html><body><h1>Please log in</h1></body></html>")


def gzipped(request, answer):
    """Compresses although nobody said it may."""
    if answer.file:
        with open(answer.file, "rb") as f:
            f.seek(answer.offset)
            body = gzip.compress(f.read(answer.length))
        kind = answer.headers["Content-Type"]
        answer.set_body(body, kind)
    else:
        answer.set_body(gzip.compress(answer.body), answer.headers["Content-Type"])
    answer.headers["Content-Encoding"] = "gzip"
    answer.coded = True


def header(name, value):
    """`value` None takes the header out; it may hold {path}."""
    def lie(request, answer):
        if value is None:
            answer.headers.pop(name, None)
        else:
            answer.headers[name] = value.format(path=request.path)
    return lie


def together(*lies):
    def lie(request, answer):
        for one in lies:
            one(request, answer)
    return lie
