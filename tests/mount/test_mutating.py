# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""No changes of mutating.py make a wrong answer that is right in all that HTTP lets one check: all
pairs of them, and all threes in which one changes the bytes, tried on a small file."""
import io
import itertools
import random
import re
import types

import pytest

import lying
import mutating
import origin

CHUNK = 4096  # published before the end of its answer, whatever that shows
SIZE = 3 * CHUNK + 100
REQUESTS = [("GET", None, None), ("GET", 0, SIZE - 1), ("GET", CHUNK, 3 * CHUNK - 1),
            ("GET", 0, 0), ("HEAD", None, None)]


@pytest.fixture
def truth(scratch):
    path = scratch / "truth" / "f"
    path.parent.mkdir()
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


class Sender(origin.Handler):
    """Sends into memory."""

    def __init__(self, method, path):
        self.command, self.requestline, self.request_version = method, f"{method} {path}", "HTTP/1.1"
        self.wfile, self.close_connection = io.BytesIO(), False
        stopping = types.SimpleNamespace(wait=lambda timeout=None: False)
        self.server = types.SimpleNamespace(origin=types.SimpleNamespace(stopping=stopping, tls=True))

    def date_time_string(self, timestamp=None):
        return "Sat, 28 Nov 2026 07:00:00 GMT"


def sent(truth, method, first, last, changes):
    """The bytes of the answer, and whether the connection goes on after them."""
    request = origin.Request(method, "/f", first, last, {}, "", 0.0)
    answer = origin.Answer()
    world = types.SimpleNamespace(root=str(truth.parent))
    origin.Origin.answer_file(world, request, answer, str(truth))
    sender = Sender(method, "/f")
    try:
        for change in changes:
            change(request, answer)
        answer.delay = answer.rate = 0
        sender.send(request, answer)
    except (ValueError, LookupError):  # the server's own fault closes the connection
        sender.close_connection = True
    return sender.wfile.getvalue(), not sender.close_connection


class Versions:
    """By what the answers of both versions can be told apart: by all of it, or (-o etag=no) by
    their time if they have one."""

    def __init__(self):
        self.seen = {"A": set(), "B": set()}

    def are_told_apart(self):
        assert self.seen["A"] and self.seen["B"]
        assert not self.seen["A"] & self.seen["B"]


class Bad(Exception):
    """The answer shows that it is wrong."""


def number(text):
    return int(text) if text is not None and re.fullmatch(r"\d{1,18}", text) else None


def split(raw):
    """status, headers, the rest."""
    while True:
        end = re.search(rb"\r?\n\r?\n", raw)
        if not end:
            raise Bad("no end of the head")
        lines, raw = raw[:end.start()].split(b"\n"), raw[end.end():]
        match = re.match(rb"HTTP/1\.[01] (\d{3})\b", lines[0])
        if not match:
            raise Bad("no status")
        headers, last = {}, None
        for line in lines[1:]:
            line = line.rstrip(b"\r").decode("latin-1")
            if line[:1] in (" ", "\t"):
                if last:
                    headers[last] += " " + line.strip()
                continue
            name, colon, value = line.partition(":")
            if "\0" in line or not colon:
                raise Bad("no header")
            last = name.lower()
            headers[last] = value.strip()
        if match[1][:1] != b"1":
            return int(match[1]), headers, raw


def body_of(headers, rest, open_still):
    """What came of the body, and whether it ended well."""
    if headers.get("transfer-encoding", "").startswith("chunked"):
        body = b""
        while match := re.match(rb"([0-9a-f]+)\r\n", rest):
            n = int(match[1], 16)
            if n == 0:
                return body, rest[match.end():] == b"\r\n"
            body += rest[match.end():match.end() + n]
            rest = rest[match.end() + n + 2:]
        return body, False
    length = number(headers.get("content-length"))
    if length is None:
        return rest, not open_still
    return rest[:length], len(rest) == length


def promised(status, headers, first, last):
    """Where the file's bytes begin and end, by an answer to a read."""
    length, whole = number(headers.get("content-length")), SIZE
    coded = headers.get("content-encoding", "") not in ("", "identity")
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("content-range", ""))
        if not match or int(match[3]) != SIZE:
            raise Bad("no range of this file")
        if int(match[1]) != first or not first <= int(match[2]) <= last:
            raise Bad("another range")
        whole = int(match[2]) + 1 - first
    elif status != 200:
        raise Bad("no data")
    if length not in (None, whole) or (coded and length is None):
        raise Bad("another length, or a coding")
    return (first if status == 206 else 0), whole


def check_read(raw, open_still, first, last, data, versions):
    """Raises AssertionError if the answer deceives."""
    status, headers, rest = split(raw)
    start, length = promised(status, headers, first, last)
    body, well = body_of(headers, rest, open_still)
    if not well or len(body) != length:  # its end shows it, too late for all but the last chunk
        body = body[:length - 1] if len(body) >= length else body
        body = body[:len(body) // CHUNK * CHUNK]
    if not body:
        return
    right = [v for v, bytes_of in (("A", bytes), ("B", mutating.twisted))
             if body == bytes_of(data[start:start + len(body)])]
    assert right, f"wrong bytes by HTTP {status} {headers}"
    etag, modified = headers.get("etag", "").removeprefix("W/"), headers.get("last-modified")
    versions.seen[right[0]].update([("all", etag, modified), ("time", modified or etag)])


def check_size(raw, method):
    """The same, of a request whose only answer is the size. HEAD's 0 is not believed."""
    status, headers, _ = split(raw)
    length = number(headers.get("content-length"))
    found = re.fullmatch(r"bytes (?:0-\d+|\*)/(\d+)", headers.get("content-range", ""))
    coded = headers.get("content-encoding", "") not in ("", "identity")
    if status in (206, 416) and found:
        assert int(found[1]) == SIZE, headers
    elif status == 200 and length is not None and not coded:
        believed = length or method == "GET"
        page = headers.get("content-type") == "text/html"
        assert length == SIZE or page or not believed, headers


def check(truth, data, changes, versions, requests):
    for method, first, last in requests:
        raw, open_still = sent(truth, method, first, last, changes)
        try:
            if method == "HEAD" or last == 0:
                check_size(raw, method)
            else:
                check_read(raw, open_still, first or 0, SIZE - 1 if last is None else last, data,
                           versions)
        except Bad:
            pass
        except AssertionError as e:
            names = "; ".join(c.__name__ for c in changes)
            raise AssertionError(f"{method} {first}-{last}: {names}: {e}") from None


def all_changes():
    """Every kind of change; where many differ in nothing that matters here, some."""
    for code in (200, 206, 304, 404, 416):
        yield mutating.status(code, {}, True)
        yield mutating.status(code, {}, False)
    for name in ("Content-Length", "Content-Range", "Content-Encoding"):
        for value in (None, *mutating.GARBAGE[:9], "identity, gzip"):
            yield mutating.header(name, value)
    for name in ("Content-Type", *mutating.VALIDATORS):
        for value in (None, "", "x", "W/"):
            yield mutating.header(name, value)
    yield from (mutating.ranged(lie) for lie in mutating.RANGES)
    yield from (mutating.other_version, lying.redirect("/", 302))
    yield from (mutating.chunked(False), mutating.chunked(True), mutating.until_closed)
    for count in (100, 5000):
        yield from mutating.ends(count, 0)[:3]
    for kind in mutating.HEADS:
        for at in (0.3, 0.5, 0.7, 0.99) if kind in ("fold", "twice") else (0.5,):
            yield mutating.edited(kind, at, mutating.FIRST_LINES[-2])


def deciding_changes():
    """Those that can hide what another one did to the bytes."""
    for name in ("Content-Length", "Content-Range", "Content-Encoding", *mutating.VALIDATORS):
        yield mutating.header(name, None)
        yield mutating.header(name, "x")
    yield from (mutating.header("Content-Encoding", ""), mutating.header("Content-Type", None))
    yield mutating.header("Content-Range", "bytes 0-0/1")
    yield mutating.status(206, {}, False)
    yield from (mutating.ranged(lie) for lie in mutating.RANGES)
    yield from (mutating.chunked(False), mutating.until_closed, *mutating.ends(5000, 0)[:1])
    yield from (mutating.edited("fold", at, b"") for at in (0.7, 0.99))


def byte_changes():
    yield from (mutating.ranged(lie) for lie in (
        lying.ignore_range, lying.wrong_range, lying.gzipped, lying.page))
    yield mutating.other_version


def test_what_is_checked(truth):
    """The test sees what it is there for."""
    data, hide = truth.read_bytes(), lying.header("Content-Encoding", None)
    for seen in ([lying.gzipped, hide, lying.header("Content-Length", None)],
                 [lying.gzipped, lying.header("Content-Length", str(SIZE)), lying.truncate(SIZE)],
                 [lying.shifted], [lying.wrong_total]):
        with pytest.raises(AssertionError):
            check(truth, data, seen, Versions(), REQUESTS)


def test_pairs(truth):
    data, versions = truth.read_bytes(), Versions()
    for changes in itertools.product(list(all_changes()), repeat=2):
        check(truth, data, changes, versions, REQUESTS)
    versions.are_told_apart()


def test_threes(truth):
    data, versions = truth.read_bytes(), Versions()
    for at in range(3):
        pools = [list(byte_changes() if n == at else deciding_changes()) for n in range(3)]
        for changes in itertools.product(*pools):
            check(truth, data, changes, versions, REQUESTS[1:3])
    versions.are_told_apart()
