# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A small web server with ranges that remembers what it was asked.

Shape:   a request makes an Answer; `change` may edit it (lying.py); then it is sent
Units:   bytes; seconds
By hand: origin.py DIRECTORY [--index STYLE] [--daemon PIDFILE] prints its URL
"""
import argparse
import dataclasses
import email.utils
import hashlib
import http.server
import os
import random
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse

from indexes import STYLES, index_html, index_json, index_python


@dataclasses.dataclass
class Request:
    method: str
    path: str  # decoded, surrogateescape
    start: int | None  # of Range; None: the whole file
    end: int | None  # inclusive
    headers: dict  # lower-case names
    peer: str
    at: float
    query: str = ""
    sent: int = 0  # bytes of body
    status: int = 0


@dataclasses.dataclass
class Answer:
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    file: str | None = None  # instead of body: this range of it
    offset: int = 0
    length: int = 0
    delay: float = 0  # before the first byte
    rate: float = 0  # bytes a second; 0 = as fast as it goes
    cut: int | None = None  # close after so many bytes of body
    stall: int | None = None  # stop sending after so many bytes, keep the connection
    drop: bool = False  # close without any answer
    edit_head: object = None  # bytes of the whole head → bytes to send in its place
    end_in_head: bool = False  # close after these
    drip_head: bool = False  # instead of its end, more headers for ever
    chunked: bool = False  # the body goes in chunks; its length header is the caller's
    twist: object = None  # bytes of body → as many bytes to send in their place
    coded: bool = False  # the body is the file's, compressed

    def set_body(self, body, kind="text/html"):
        self.body, self.file, self.length, self.coded = body, None, len(body), False
        self.headers["Content-Type"] = kind
        self.headers["Content-Length"] = str(len(body))


def free_port(host="127.0.0.1"):
    """Below the ports that connections get for themselves: a client that tries again while its
    server is away can then neither take its port nor connect to itself."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind((host, port))
            except OSError:
                continue
            return port


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "origin"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        origin = self.server.origin
        # A whole URL: we are somebody's proxy, and answer for every host
        path = re.sub(r"^http://[^/]*", "", self.path.split("?")[0]) or "/"
        path = urllib.parse.unquote(path, errors="surrogateescape")
        start, end = self.wanted()
        request = Request(self.command, path, start, end,
                          {k.lower(): v for k, v in self.headers.items()},
                          self.client_address[0], time.monotonic(),
                          self.path.partition("?")[2])
        origin.requests.append(request)
        try:
            answer = origin.answer(request)
            origin.change(request, answer)
            request.status = answer.status
            self.send(request, answer)
        except OSError:
            self.close_connection = True

    do_HEAD = do_GET

    def wanted(self):
        value = self.headers.get("Range", "")
        if not value.startswith("bytes=") or "," in value:
            return None, None
        first, _, last = value[6:].partition("-")
        return (int(first) if first else None), (int(last) if last else None)

    def send(self, request, answer):
        if answer.delay:
            self.server.origin.stopping.wait(answer.delay)
        if answer.drop:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.drip_head:
            self.flush_headers()
            while not self.server.origin.stopping.wait(0.1):
                self.wfile.write(b"X-More: " + b"y" * 100 + b"\r\n")
        if answer.edit_head:
            self._headers_buffer = [answer.edit_head(b"".join(self._headers_buffer) + b"\r\n")]
            self.flush_headers()
        else:
            self.end_headers()
        if answer.end_in_head:
            self.close_connection = True
            return
        if self.command == "HEAD":
            return
        limit = min((n for n in (answer.length, answer.cut, answer.stall) if n is not None))
        plain = not (answer.rate or answer.chunked or answer.twist or self.server.origin.tls)
        if answer.file is not None and plain:
            self.send_file(request, answer, limit)
        else:
            self.send_pieces(request, answer, limit)
        if answer.stall is not None:
            self.server.origin.stopping.wait()
        if answer.stall is not None or answer.cut is not None:
            self.close_connection = True

    def send_file(self, request, answer, limit):
        with open(answer.file, "rb") as f:
            while request.sent < limit:
                n = os.sendfile(self.connection.fileno(), f.fileno(),
                                answer.offset + request.sent, min(limit - request.sent, 1 << 20))
                if n == 0:
                    self.close_connection = True
                    return
                request.sent += n

    def send_pieces(self, request, answer, limit):
        step = 65536 if not answer.rate else max(1, int(answer.rate / 20))
        while request.sent < limit:
            n = min(step, limit - request.sent)
            if answer.file is None:
                piece = answer.body[request.sent:request.sent + n]
            else:
                with open(answer.file, "rb") as f:
                    piece = os.pread(f.fileno(), n, answer.offset + request.sent)
            if not piece:
                self.close_connection = True
                return
            piece = answer.twist(piece) if answer.twist else piece
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.chunked else piece)
            request.sent += len(piece)
            if answer.rate and self.server.origin.stopping.wait(n / answer.rate):
                return
        if answer.chunked and answer.cut is None:
            self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True

    def handle_error(self, *_):
        pass


class Origin:
    """Serves `root`. `pages` holds whole answers made by hand: path → (type, bytes)."""

    def __init__(self, root, index="json", host="127.0.0.1", port=0, tls=None, client_ca=None):
        self.root, self.host, self.tls = os.fspath(root), host, tls
        self.client_ca = client_ca
        self.index = {"json": index_json, "html": index_html, "python": index_python}[index]
        self.requests, self.pages = [], {}
        self.port, self.server = port or free_port(host), None
        self.start()

    def start(self):
        self.stopping = threading.Event()
        self.server = Server((self.host, self.port), Handler)
        self.server.origin = self
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            if self.client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.client_ca)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.connections = []
        remember = self.server.get_request

        def get_request():
            connection = remember()
            self.connections.append(connection[0])
            return connection

        self.server.get_request = get_request
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Nobody answers at the port any more; what is under way is cut off."""
        if self.server is None:
            return
        self.stopping.set()
        self.server.shutdown()
        # a child forked meanwhile has the socket too: closing it here alone would leave it listening
        self.server.socket.shutdown(socket.SHUT_RDWR)
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server = None

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/"

    def change(self, request, answer):
        pass

    def entries(self, path):
        found = []
        for entry in os.scandir(path):
            try:
                found.append((entry.name, entry.stat()))
            except OSError:
                pass
        return sorted(found)

    def answer(self, request):
        answer = Answer()
        if request.path in self.pages:
            kind, body = self.pages[request.path]
            self.conditional(request, answer, body, kind)
            return answer
        path = os.path.normpath(self.root + "/" + request.path)
        if "\0" in path or not (path + "/").startswith(self.root.rstrip("/") + "/"):
            answer.status = 404
        elif os.path.isdir(path) and not request.path.endswith("/"):
            answer.status = 301
            answer.headers["Location"] = urllib.parse.quote(
                request.path.encode(errors="surrogateescape")) + "/"
        elif os.path.isdir(path):
            kind, body = self.index(self.entries(path))
            self.conditional(request, answer, body, kind)
            return answer
        elif os.path.isfile(path):
            self.answer_file(request, answer, path)
            return answer
        else:
            answer.status = 404
        answer.set_body(b"<html><body>%d</body></html>" % answer.status)
        return answer

    def conditional(self, request, answer, body, kind):
        answer.set_body(body, kind)
        answer.headers["ETag"] = '"%s"' % hashlib.md5(body).hexdigest()
        if request.headers.get("if-none-match") == answer.headers["ETag"]:
            answer.status = 304
            answer.set_body(b"")

    def answer_file(self, request, answer, path):
        st = os.stat(path)
        answer.file, answer.length = path, st.st_size
        answer.headers.update({
            "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes",
            "ETag": f'"{st.st_mtime_ns:x}-{st.st_size:x}"',
            "Last-Modified": email.utils.formatdate(st.st_mtime, usegmt=True)})
        if request.start is not None:
            end = st.st_size - 1 if request.end is None else min(request.end, st.st_size - 1)
            if request.start > end:
                answer.status = 416
                answer.headers["Content-Range"] = f"bytes */{st.st_size}"
                answer.set_body(b"")
                return
            answer.status = 206
            answer.offset, answer.length = request.start, end + 1 - request.start
            answer.headers["Content-Range"] = f"bytes {request.start}-{end}/{st.st_size}"
        answer.headers["Content-Length"] = str(answer.length)

    # What was asked
    def asked(self, path=None, method=None):
        """Requests of `path` (from the server's root, with a leading '/'); None: of all, but not the
        one that a mount makes to find an index."""
        return [r for r in list(self.requests)
                if (not r.path.endswith("/.lacuna/head") if path is None else path == r.path)
                and method in (None, r.method)]

    def bytes_sent(self, path=None):
        return sum(r.sent for r in self.asked(path, "GET"))

    def forget(self):
        self.requests.clear()


def main():
    parser = argparse.ArgumentParser(description="Serve DIRECTORY over HTTP with ranges.")
    parser.add_argument("directory")
    parser.add_argument("--index", choices=STYLES, default="json")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--daemon", metavar="PIDFILE", help="go to the background once it answers")
    args = parser.parse_args()
    root = os.path.abspath(args.directory)
    # The socket answers before the parent leaves; threads start only in the child.
    reader, writer = os.pipe()
    if args.daemon and os.fork():
        os.close(writer)
        url = os.read(reader, 200).decode()
        sys.exit(print(url) if url else 1)
    if args.daemon:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.chdir("/")
    origin = Origin(root, args.index, port=args.port)
    origin.requests = Nothing()
    if args.daemon:
        with open(args.daemon, "w", encoding="ascii") as f:
            f.write(f"{os.getpid()}\n")
        os.write(writer, origin.url.encode())
        os.close(writer)
    else:
        print(origin.url, flush=True)
    threading.Event().wait()


class Nothing(list):
    """A log that forgets: a server that runs for days."""

    def append(self, _):
        pass


if __name__ == "__main__":
    main()
