# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Names from an index: what a file system cannot hold is left out, nothing escapes."""
import json
import os
import time

import pytest

MTIME = "Sat, 01 Jan 2022 00:00:00 GMT"
GOOD = [b"plain", "uml\u00e4ut".encode(), b"x" * 255, b"bad\xff\xfeutf8", b"with space", b"...", b"-rf"]
BAD = [b"", b".", b"..", b"a/b", b"../escape", b"/etc/passwd", b"nul\0name", b"new\nline", b"esc\x1b[31m",
       b"x" * 256, b"..\0", b"%2e%2e/x"]


def page_json(names):
    """As nginx would write them; bytes that are no UTF-8 as they are."""
    rows = [b'{ "name":' + json.dumps(n.decode("latin-1"), ensure_ascii=False).encode("latin-1") +
            f', "type":"file", "mtime":"{MTIME}", "size":5 }}'.encode() for n in names]
    return "application/json", b"[\n" + b",\n".join(rows) + b"\n]\n"


def page_html(names):
    def quoted(name):
        return "".join(chr(c) if c < 128 and chr(c).isalnum() or chr(c) in "-._~/" else f"%{c:02X}" for c in name)
    rows = [f'<a href="{quoted(n)}">name</a>    01-Jan-2022 00:00      5\r\n' for n in names]
    return "text/html", ("<html><head><title>Index of /</title></head><body><h1>Index of /</h1><hr>"
                         '<pre><a href="../">../</a>\r\n' + "".join(rows) +
                         "</pre><hr></body></html>").encode()


def listed(path):
    return sorted(os.listdir(os.fsencode(path)))


@pytest.mark.sanitize
@pytest.mark.parametrize("page", [page_json, page_html])
def test_names(mount, serve, tree, page, scratch):
    server = serve(tree)
    good = GOOD if page is page_html else [n for n in GOOD if b"\xff" not in n]
    bad = BAD if page is page_json else [n for n in BAD if n]
    names = [n for pair in zip(good + good, bad) for n in pair] + good
    server.pages["/"] = page(names)
    m = mount(server.url)
    got = listed(m.path)
    assert [n for n in got if n not in good] == []
    assert sorted(good) == got
    inside = {p.relative_to(scratch).parts[0] for p in scratch.rglob("*")}
    assert "escape" not in inside and "etc" not in inside


def test_bad_utf8_in_json(mount, serve, tree):
    """JSON that is no JSON: an error or what could be read, never a crash or a made-up name."""
    server = serve(tree)
    server.pages["/"] = page_json([b"plain", b"bad\xff\xfe"])
    m = mount(server.url, "-o", "retries=0")
    try:
        assert set(listed(m.path)) <= {b"plain", b"bad\xff\xfe"}
    except OSError:
        pass


def test_links_off_the_host(mount, serve, tree):
    server = serve(tree)
    other = serve(tree)
    server.pages["/"] = ("text/html", f"""<html><head><title>Index of /</title></head><body>
<h1>Index of /</h1><hr><pre><a href="../">../</a>
<a href="{other.url}big">big</a>   01-Jan-2022 00:00     5
<a href="//{other.host}:{other.port}/many/">many/</a>   01-Jan-2022 00:00     -
<a href="http://mirror.invalid/x">x</a>   01-Jan-2022 00:00     5
<a href="javascript:alert(1)">js</a>   01-Jan-2022 00:00     5
<a href="file:///etc/passwd">passwd</a>   01-Jan-2022 00:00     5
<a href="?C=N;O=D">Name</a>
<a href="#top">top</a>
<a href="plain">plain</a>   01-Jan-2022 00:00     5
</pre></body></html>""".encode())
    m = mount(server.url)
    assert listed(m.path) == [b"plain"]
    assert other.asked() == []


def test_duplicates(mount, serve, tree):
    server = serve(tree)
    server.pages["/"] = ("application/json", json.dumps(
        [{"name": "x", "type": "file", "mtime": MTIME, "size": 1},
         {"name": "x", "type": "directory", "mtime": MTIME},
         {"name": "x", "type": "file", "mtime": MTIME, "size": 2}]).encode())
    m = mount(server.url)
    assert listed(m.path) == [b"x"]
    assert os.stat(m / "x").st_size == 1


@pytest.mark.parametrize("size", ["-1", "99999999999999999999", "1e400", '"5"', "null", "1.5", "{}"])
def test_sizes(mount, serve, tree, size):
    """A size that is none: the entry may go, or be asked for one by one; no crash."""
    server = serve(tree)
    server.pages["/"] = ("application/json", (
        '[{ "name":"big", "type":"file", "mtime":"%s", "size":%s },'
        ' { "name":"many", "type":"directory", "mtime":"%s" }]' % (MTIME, size, MTIME)).encode())
    m = mount(server.url, "-o", "retries=0")
    try:
        names = listed(m.path)
    except OSError:
        return
    assert set(names) <= {b"big", b"many"}
    if b"big" in names and size != '"5"':
        try:
            assert os.stat(m / "big").st_size in (1, (tree / "big").stat().st_size)
        except OSError:
            pass


BROKEN = {"nothing": b"", "open": b"[", "empty": b"[]", "object": b"{}", "null": b"null",
          "number": b'[{"name":5}]', "nameless": b"[{}]", "html": b"<html>", "zeros": b"\0" * 1000,
          "deep": b"[" * 100_000, "deep html": b"<pre>" * 100_000, "text": b"hello\n"}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_broken_pages(mount, serve, tree, broken, kind):
    server = serve(tree)
    server.pages["/many/"] = (kind, BROKEN[broken])
    m = mount(server.url, "-o", "retries=0")
    try:
        assert os.listdir(m / "many") == []
    except OSError:
        pass
    assert len(os.listdir(m / "names")) > 10


@pytest.mark.patience(300)
def test_a_million_entries(mount, serve, tree):
    server = serve(tree)
    body = b"[\n" + b",\n".join(
        b'{ "name":"file-%07d", "type":"file", "mtime":"%s", "size":%d }' % (i, MTIME.encode(), i)
        for i in range(1_000_000)) + b"\n]\n"
    server.pages["/"] = ("application/json", body)
    m = mount(server.url, "-o", "wait_timeout=120s")
    before = time.monotonic()
    assert sum(1 for _ in os.scandir(m.path)) == 1_000_000
    assert os.stat(m / "file-0999999").st_size == 999_999
    print(f"listed in {time.monotonic() - before:.1f} s")
    m.umount()
    server.stop()
    m = m.again()
    assert os.stat(m / "file-0500000").st_size == 500_000
