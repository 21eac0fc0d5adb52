# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The named ways in which a server may misbehave: what it does, what a user must see, how soon.

Shape:   groups of Ways; each Way of a group has a file (or directory) of its own in one mount.
         What it says of itself is its name
Sees:    RIGHT: all of the file, or every name. An errno, or several: this error. EITHER: RIGHT or
         EIO, since HTTP permits both readings
Within:  AT_ONCE: as soon as it is told. STALL, WAIT: after -o stall_timeout, wait_timeout. Seconds
         of an idle machine, for each system call of the user
Always:  no other byte, size or name is shown; nothing of the kind gets into the store; the next
         access after the server is honest again is right (`refresh`: after lacunafs refresh)
"""
import dataclasses
import errno
import json

import lying

STALL_S, WAIT_S = 1, 3
OPTIONS = ("-o", f"retries=1,connect_timeout=1s,stall_timeout={STALL_S}s,wait_timeout={WAIT_S}s")

RIGHT = (0,)
EIO = (errno.EIO,)
EITHER = (0, errno.EIO)
DENIED = (errno.EACCES,)
AT_ONCE, STALL, WAIT = 1, 2 * STALL_S + 1, WAIT_S + 1  # STALL: and one retry


@dataclasses.dataclass(frozen=True)
class Way:
    name: str
    lie: object
    sees: tuple
    within: float = AT_ONCE
    times: int | None = None  # so often, then honest
    methods: tuple = ("GET", "HEAD")
    refresh: bool = False  # what is cached of another version stays until `lacunafs refresh`


# ---- more lies ----

def head(edit, end=False):
    """`edit`: bytes of the whole head → bytes sent in its place; `end`: and nothing more."""
    def lie(request, answer):
        answer.edit_head, answer.end_in_head = edit, end
    return lie


def says(raw):
    """These bytes in place of an answer."""
    return head(lambda _: raw, end=True)


def line(text):
    """One more line of head, behind the first."""
    def edit(bytes_):
        first, _, rest = bytes_.partition(b"\r\n")
        return b"\r\n".join([first, text, rest])
    return head(edit)


def first_line(text):
    return head(lambda b: text + b[b.index(b"\r\n"):])


def chunked(request, answer):
    if request.method == "GET" and answer.status in (200, 206):
        answer.chunked = True
        answer.headers["Transfer-Encoding"] = "chunked"
        answer.headers.pop("Content-Length", None)


def until_closed(request, answer):
    if request.method == "GET":
        answer.headers.pop("Content-Length", None)
        answer.headers["Connection"] = "close"
        answer.cut = answer.length


def closes_unsaid(request, answer):
    answer.cut = answer.length


def tiny_parts(request, answer):
    """206 with one byte, labelled so."""
    if answer.status == 206:
        answer.length = 1
        answer.headers["Content-Length"] = "1"
        answer.headers["Content-Range"] = \
            f"bytes {answer.offset}-{answer.offset}/{lying.size_of(answer)}"


def resized(change):
    """Another size than listed, consistently: 200 and the whole file."""
    def lie(request, answer):
        if answer.file and request.method == "GET":
            lying.ignore_range(request, answer)
            with open(answer.file, "rb") as f:
                body = f.read()
            answer.set_body((body * 2)[:len(body) + change], "application/octet-stream")
    return lie


def multipart(request, answer):
    if answer.status == 206:
        kind, bounds = "multipart/byteranges; boundary=x", answer.headers.pop("Content-Range")
        with open(answer.file, "rb") as f:
            f.seek(answer.offset)
            body = f.read(answer.length)
        answer.set_body(b"--x\r\nContent-Range: %s\r\n\r\n%s\r\n--x--\r\n"
                        % (bounds.encode(), body), kind)


class Changing:
    """Another ETag in each answer."""

    def __init__(self):
        self.count = 0

    def __call__(self, request, answer):
        self.count += 1
        answer.headers["ETag"] = f'"{self.count}"'
        lying.short_honest(request, answer)  # more than one request for a file


def hops(count):
    """Redirects from query to query, `count` times; then the file."""
    def lie(request, answer):
        at = int(request.query or 0)
        if at < count:
            lying.redirect(f"{request.path}?{at + 1}")(request, answer)
    return lie


def ping_pong(request, answer):
    lying.redirect(f"{request.path}?{'b' if request.query == 'a' else 'a'}")(request, answer)


def body(data, kind="application/json"):
    def lie(request, answer):
        answer.status = 200
        answer.set_body(data, kind)
    return lie


def cut_by_close(request, answer):
    """As HTTP/1.0: the body ends with the connection, in its middle."""
    until_closed(request, answer)
    answer.cut = answer.length // 2


def row(name, **more):
    return {"name": name, "type": "file", "mtime": "Sun, 06 Nov 1994 08:49:37 GMT", "size": 1,
            **more}


def rows_more(*more):
    """The honest listing, and rows that nothing is to come of."""
    def lie(request, answer):
        if answer.status == 200:
            answer.set_body(json.dumps(json.loads(answer.body) + list(more)).encode(),
                            "application/json")
    return lie


# ---- a file, which the listing tells exactly ----

HARMLESS = [
    Way("ignores Range and sends the whole file", lying.ignore_range, RIGHT),
    Way("sends no Content-Type", lying.header("Content-Type", None), RIGHT),
    Way("sends no Accept-Ranges", lying.header("Accept-Ranges", None), RIGHT),
    Way("sends no validators", lying.together(lying.header("ETag", None),
                                              lying.header("Last-Modified", None)), RIGHT),
    Way("sends a weak ETag", lying.header("ETag", 'W/"{path}"'), RIGHT),
    Way("sends an unusable Last-Modified", lying.header("Last-Modified", "yesterday"), RIGHT),
    Way("calls every file text/html", lying.header("Content-Type", "text/html"), RIGHT),
    Way("names the coding identity", lying.header("Content-Encoding", "identity"), RIGHT),
    Way("sends half of the range, and says so", lying.short_honest, RIGHT),
    Way("sends more than the range, and says so", lying.too_much, EITHER),
    Way("sends more than the range, unsaid", lying.too_much_unsaid, EITHER),
    Way("sends chunks without a length", chunked, RIGHT),
    Way("ends the body with the connection", until_closed, RIGHT),
    Way("closes each connection unsaid", closes_unsaid, RIGHT),
    Way("sends 103 Early Hints first",
        head(lambda b: b"HTTP/1.1 103 Early Hints\r\nETag: \"x\"\r\nLink: </x>\r\n\r\n" + b), RIGHT),
    Way("ends lines of the head with LF", head(lambda b: b.replace(b"\r\n", b"\n")), RIGHT),
    Way("folds a line of the head", line(b"X-Long: a\r\n b"), EITHER),
    Way("sends 3,000 lines of head",
        head(lambda b: b.replace(b"\r\n", b"\r\n" + b"X-A: b\r\n" * 3000, 1)), EITHER),
    Way("repeats a header", line(b"ETag: \"other\""), EITHER),
    Way("speaks HTTP/1.0", first_line(b"HTTP/1.0 206 Partial Content"), RIGHT),
    Way("sends a name that libraries reserve", line(b"Set-Cookie: ;;=;;"), RIGHT),
    Way("redirects five times", hops(5), RIGHT),
    Way("answers after 0.3 s", lying.delay(0.3), RIGHT, STALL),
    Way("sends 300 kB/s", lying.slow(300_000), RIGHT, WAIT),
    Way("drops the first connection", lying.drop, RIGHT, STALL, times=1),
    Way("cuts the first answer", lying.truncate(70_000), RIGHT, STALL, times=1),
    Way("answers 500 once", lying.status(500), RIGHT, STALL, times=1),
    Way("answers 502 once", lying.status(502), RIGHT, STALL, times=1),
    Way("answers 408 once", lying.status(408), RIGHT, STALL, times=1),
    Way("stalls once within the body", lying.stall(70_000), RIGHT, STALL, times=1),
]

HARMFUL = [
    Way("sends another range, and says so", lying.wrong_range, EIO),
    Way("sends another range and no usable length",
        lying.together(lying.wrong_range, lying.header("Content-Length", "{path}")), EIO),
    Way("sends 206 without Content-Range", lying.no_content_range, EIO),
    Way("sends a Content-Range of garbage", lying.header("Content-Range", "bytes many"), EIO),
    Way("sends a Content-Range beyond 64 bits",
        lying.header("Content-Range", "bytes 0-99999999999999999999/1"), EIO),
    Way("sends a Content-Range without a total", lying.header("Content-Range", "bytes 0-4095/*"), EIO),
    Way("sends several ranges for one", multipart, EIO),
    Way("tells another size", lying.wrong_total, EIO),
    Way("has a file that is shorter than listed", resized(-1000), EIO),
    Way("has a file that is longer than listed", resized(1000), EIO),
    Way("sends two lengths that differ", line(b"Content-Length: 7"), EITHER),
    Way("sends a negative length", lying.header("Content-Length", "-1"), EIO),
    Way("changes its ETag with each answer", Changing(), EIO, refresh=True),
    Way("sends one byte at a time, and says so", tiny_parts, EIO),
    Way("is a captive portal: 200 and a page", lying.page, EIO),
    Way("compresses, though nobody asked", lying.gzipped, EIO),
    Way("compresses, and does not say so",
        lying.together(lying.gzipped, lying.header("Content-Encoding", None)), EIO),
    Way("cuts each answer at 100 bytes", lying.truncate(100), EIO),
    Way("cuts each answer before its body", lying.truncate(0), EIO),
    Way("cuts the body where chunks go on", lying.together(chunked, lying.truncate(100)), EIO),
    Way("closes without an answer", lying.drop, EIO),
    Way("ends within the head", head(lambda b: b[:30], end=True), EIO),
    Way("is no web server", says(b"SSH-2.0-OpenSSH_9.2\r\n"), EIO),
    Way("sends a status that is no number", first_line(b"HTTP/1.1 2OO OK"), EIO),
    Way("sends a head of 120 kB in one line", line(b"X-Long: " + b"y" * 120_000), EIO),
    Way("switches protocols (101)", lying.status(101), EIO, STALL),
    Way("answers 204", lying.status(204), EIO),
    Way("answers 304, unasked", lying.status(304), EIO),
    Way("answers 401", lying.status(401), DENIED),
    Way("answers 403", lying.status(403), DENIED),
    Way("answers 404", lying.status(404), EIO),
    Way("answers 407", lying.status(407), DENIED),
    Way("answers 410", lying.status(410), EIO),
    Way("answers 416", lying.status(416), EIO),
    Way("answers 451", lying.status(451), EIO),
    Way("answers 500", lying.status(500), EIO),
    Way("answers 999", lying.status(999), EIO),
    Way("redirects to itself", lying.redirect("{path}"), EIO),
    Way("redirects to and fro", ping_pong, EIO),
    Way("redirects 30 times", hops(30), EIO),
    Way("redirects without a Location", lying.status(302), EIO),
    Way("redirects to a file of this machine", lying.redirect("file:///etc/passwd"), EIO),
    Way("redirects to another protocol", lying.redirect("gopher://127.0.0.1/"), EIO),
    Way("redirects to a port where nobody listens", lying.redirect("http://127.0.0.1:1/"), EIO),
]

# Each of these takes its time, or limits the whole server: a mount of its own for each group.
SLOW = [
    Way("never answers", lying.delay(3600), EIO, WAIT),
    Way("never ends its head", lambda request, answer: setattr(answer, "drip_head", True), EIO, WAIT),
    Way("stalls before the body", lying.stall(0), EIO, STALL),
    Way("stalls within each body", lying.stall(5000), EIO, STALL),
    Way("sends 2 kB/s", lying.slow(2000), EIO, WAIT),
]
LIMITED = [
    Way("answers 503 for an hour", lying.status(503, Retry_After="3600"), EIO),
    Way("answers 503 for a second", lying.status(503, Retry_After="1"), RIGHT, WAIT, times=1),
    Way("answers 503, when never said", lying.status(503, Retry_After="soon"), EIO),
]
BUSY = [Way("answers 429 for a second", lying.status(429, Retry_After="1"), RIGHT, WAIT, times=1)]

# ---- HEAD of a file whose size nobody else tells: the first byte is asked for ----

HEADS = [
    Way("HEAD says 0 bytes", lying.header("Content-Length", "0"), RIGHT),
    Way("HEAD has no length", lying.header("Content-Length", None), RIGHT),
    Way("HEAD is coded", lying.header("Content-Encoding", "gzip"), RIGHT),
    Way("HEAD is a page", lying.page, RIGHT),
    Way("HEAD is 400", lying.status(400), RIGHT),
    Way("HEAD is 403", lying.status(403), RIGHT),
    Way("HEAD is 404", lying.status(404), RIGHT),
    Way("HEAD is 405", lying.status(405), RIGHT),
    Way("HEAD is 500", lying.status(500), RIGHT),
    Way("HEAD is 501", lying.status(501), RIGHT),
]

# ---- the index of a directory ----

LISTINGS = [
    Way("index: a captive portal", lying.page, EIO),
    Way("index: 401", lying.status(401), DENIED),
    Way("index: 403", lying.status(403), DENIED),
    Way("index: 404", lying.status(404), EIO),
    Way("index: 410", lying.status(410), EIO),
    Way("index: 204", lying.status(204), EIO),
    Way("index: 304, unasked", lying.status(304), EIO),
    Way("index: 500", lying.status(500), EIO),
    Way("index: closed without an answer", lying.drop, EIO),
    Way("index: cut at 20 bytes", lying.truncate(20), EIO),
    Way("index: ends in its middle with the connection", cut_by_close, EIO),
    Way("index: compressed, though nobody asked", lying.gzipped, EIO),
    Way("index: redirects to itself", lying.redirect("{path}"), EIO),
    Way("index: redirects to the front page", lying.redirect("/"), EIO),
    Way("index: an object, not an array", body(b"{}"), EIO),
    Way("index: arrays without an end", body(b"[" * 100_000), EIO),
    Way("index: no bytes", body(b""), EIO),
    Way("index: a blank page", body(b"<html><body></body></html>", "text/html"), EIO),
    Way("index: stalls", lying.stall(10), EIO, STALL),
    Way("index: names of directories above", rows_more(row(".."), row("."), row("../x"), row("/etc")),
        RIGHT),
    Way("index: names with control characters", rows_more(row("a\nb"), row("\x1b[2J"), row("a\0b")),
        RIGHT),
    Way("index: a name of 300 bytes", rows_more(row("n" * 300)), RIGHT),
    Way("index: a name twice", rows_more(row("f0", size=7)), RIGHT),
    Way("index: a row without a name", rows_more({"type": "file", "size": 1}), EIO),
]

GROUPS = {"harmless": HARMLESS, "harmful": HARMFUL, "slow": SLOW, "limited": LIMITED, "busy": BUSY,
          "heads": HEADS, "listings": LISTINGS}
COUNT = sum(len(ways) for ways in GROUPS.values())
