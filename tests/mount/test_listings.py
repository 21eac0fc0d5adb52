# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What an index page says, and what it does not: no name vanishes, nothing is made up."""
import concurrent.futures
import errno
import os
import threading
import time

import pytest

import indexes
import lying
import servers
from index_pages import QUICK, many, page_of, refused, rows

__all__ = ["many"]  # a fixture


def close_delimited(cut):
    """As HTTP/1.0: the body ends with the connection, after `cut` bytes of it."""
    return lying.together(lying.header("Content-Length", None), lying.truncate(cut))


@pytest.mark.parametrize("index", ["html", "python", "json"])
def test_cut_listing(mount, serve, many, index):
    """A listing that was cut is an error; of one that was had before no name goes."""
    server = serve(many, index=index)
    page = len(server.index(server.entries(many / "d"))[1])
    m = mount(server.url, "-o", QUICK + ",listing_ttl=1ms")
    for cut in (page // 2, 150, page):
        server.honest()
        server.lie("/d/", close_delimited(cut))
        if cut < page:
            assert refused(lambda: os.listdir(m / "d")) == errno.EIO
    names = os.listdir(m / "d")
    assert len(names) == 300
    server.honest()
    server.lie("/d/", close_delimited(page // 2))
    assert sorted(os.listdir(m / "d")) == sorted(names)
    assert os.stat(m / "d" / "file299").st_size == 5
    assert "index page" in m.log() and "/d/" in m.log()


@pytest.mark.parametrize("href", ["/other/{name}", "https://127.0.0.1/{name}", "http://127.0.0.1:1/d/{name}"])
def test_links_elsewhere(mount, serve, many, href):
    """An index whose rows all lead elsewhere is an error that tells where to, no empty directory."""
    server = serve(many)
    rows = "".join(f'<a href="{href.format(name=n)}">{n}</a>  17-Nov-2025 12:34  5\n' for n in "abc")
    head = '<html><title>Index of /d/</title><h1>Index of /d/</h1><pre><a href="../">../</a>\n'
    server.pages["/d/"] = ("text/html", f"{head}{rows}</pre></html>".encode())
    m = mount(server.url, "-o", QUICK)
    assert refused(lambda: os.listdir(m / "d")) == errno.EIO
    assert refused(lambda: os.stat(m / "d" / "a")) == errno.EIO
    assert href.format(name="a") in m.log()
    server.pages["/d/"] = ("text/html", f"{head}</pre></html>".encode())
    m.umount()
    m = m.again()
    assert os.listdir(m / "d") == []


def test_left_out_is_told_once(mount, serve, many):
    """And again where it is something else, not each time a directory is listed anew."""
    server = serve(many)
    minute = iter(range(10, 60))

    def page(*away):
        rows = "".join(f'<a href="/other/{n}">{n}</a>  17-Nov-2025 12:34  5\n' for n in away)
        server.pages["/d/"] = ("text/html", (
            '<html><title>Index of /d/</title><h1>Index of /d/</h1><pre><a href="../">../</a>\n'
            f'{rows}<a href="file001">file001</a>  17-Nov-2025 12:{next(minute)}  5\n'
            '</pre></html>').encode())

    def told():
        time.sleep(0.01)
        assert os.listdir(m / "d") == ["file001"]
        return m.log().count("link outside of it and are skipped")

    m = mount(server.url, "-o", QUICK + ",listing_ttl=0")
    for count, away in enumerate(["a", "ab", "bcd"], 1):
        for _ in range(3):
            page(*away)
            assert told() == count
    page()
    assert told() == 3
    page("e")
    assert told() == 4
    m.umount()
    m = m.again()
    page("e")
    asked = len(server.asked("/d/"))
    assert told() == 4 and len(server.asked("/d/")) > asked


def test_base(mount, serve, many):
    """Relative links start where <base> says."""
    server = serve(many)
    server.pages["/d/"] = ("text/html", b'<html><head><base href="/"></head><title>Index of /d/</title><pre>'
                                        b'<a href="d/file001">x</a>  17-Nov-2025 12:34  5\n</pre></html>')
    m = mount(server.url, "-o", QUICK)
    assert os.listdir(m / "d") == ["file001"]
    assert (m / "d" / "file001").read_bytes() == b"12345"


@pytest.mark.parametrize("kind", ["Nginx", "Apache", "Lighttpd", "Caddy", "PythonHttp"])
def test_empty_directory(mount, web, scratch, kind):
    """What is empty is empty."""
    (scratch / "top" / "empty").mkdir(parents=True)
    (scratch / "top" / "file").write_bytes(b"x")
    m = mount(web(getattr(servers, kind), scratch / "top").url, "-o", QUICK)
    assert os.listdir(m / "empty") == []
    os.rmdir(m / "empty")


def test_not_modified_without_a_listing(mount, serve, many):
    """304 is an answer only to who has the listing."""
    server = serve(many)
    m = mount(server.url, "-o", QUICK)
    server.lie("/d/", lying.status(304))
    assert refused(lambda: os.listdir(m / "d")) == errno.EIO
    server.honest()
    assert len(os.listdir(m / "d")) == 300


def test_redirected_listing(mount, serve, many):
    """The links of a page are those of where it came from in the end."""
    server = serve(many, index="html")
    server.pages["/moved/"] = indexes.index_html([("file001", os.stat(many / "d" / "file001"))])
    body = server.pages["/moved/"][1].replace(b'"file001"', b'"/moved/file001"')
    server.pages["/moved/"] = ("text/html", body)
    server.lie("/d/", lying.redirect("/moved/"))
    m = mount(server.url, "-o", QUICK)
    assert os.listdir(m / "d") == ["file001"]
    assert (m / "d" / "file001").read_bytes() == b"12345"


@pytest.mark.parametrize("kind", ["Nginx", "PythonHttp"])
def test_link_cycles(mount, web, lacunafs, scratch, kind):
    """Links to directories above, which the server follows, make no tree without an end: they are an
    error that says so, and what is there once is fetched once."""
    top = scratch / "top"
    (top / "sub" / "deep").mkdir(parents=True)
    for n in range(5):
        (top / "sub" / f"f{n}").write_bytes(os.urandom(50000))
    (top / "f").write_bytes(os.urandom(50000))
    for name, target in {"self": ".", "again": ".", "sub/up": "..", "sub/deep/top": "../.."}.items():
        (top / name).symlink_to(target)
    m = mount(web(getattr(servers, kind), top).url, "-o", QUICK)
    if kind == "Nginx":
        assert os.path.isdir(m / "self") and refused(lambda: os.listdir(m / "self")) == errno.ELOOP
        assert refused(lambda: os.listdir(m / "sub" / "up")) == errno.ELOOP
        assert "/self: a directory above it is the same" in m.log() and "/sub/up:" in m.log()
    done = m.fill("")
    assert done.returncode == 1 and "Too many levels of symbolic links" in done.stderr
    assert (m / "sub" / "f3").read_bytes() == (top / "sub" / "f3").read_bytes()
    # names alone, as of Python's server, are believed once more than names with times
    network = m.status()["network"]
    assert network["bytes"] < (5 if kind == "Nginx" else 40) * 300000, network
    names = sum(len(dirs) + len(files) for _, dirs, files in os.walk(m.path))
    assert names < (20 if kind == "Nginx" else 200)
    if kind == "Nginx":
        for name in ("self", "again", "sub/up", "sub/deep/top"):
            os.rmdir(m / name)
        assert m.fill("").returncode == 0
        assert os.path.isdir(top / "self") and sorted(os.listdir(m.path)) == ["f", "sub"]


@pytest.mark.parametrize("index", ["html", "json", "python"])
def test_copies_in_themselves(mount, serve, scratch, index):
    """A tree that lies in itself, with equal names, sizes and times, is read to its end, also where
    the source is gone after a remount; one whose end cannot be looked for is none yet."""
    top = scratch / "top"
    here = top
    for _ in range(5):
        (here / "copy").mkdir(parents=True)
        (here / "f").write_bytes(b"x" * 10)
        (here / "g").write_bytes(b"y")
        here = here / "copy"
    (here / "end").write_bytes(b"z")
    for path in top.rglob("*"):
        os.utime(path, (1e9, 1e9))
    server = serve(top, index=index)
    m = mount(server.url, "-o", QUICK)
    if index != "python":
        server.lie("/" + "copy/" * 6, lying.status(503))
        assert refused(lambda: os.listdir(m / "copy")) == errno.EIO
        server.honest()
    for _ in range(2):
        found = {p.relative_to(m.path) for p in m.path.rglob("*")}
        assert found == {p.relative_to(top) for p in top.rglob("*")}
        assert (m / "copy" / "copy" / "copy" / "copy" / "copy" / "end").read_bytes() == b"z"
        m.umount()
        server.stop()
        m = m.again()


def test_nested_alike(mount, serve, scratch):
    """Directories that look alike and lie in each other are no cycle where anything tells them apart,
    and chains of directories none at all."""
    top = scratch / "top"
    chain = top / "d" / "d" / "d" / "d" / "d" / "d"
    chain.mkdir(parents=True)
    for n, path in enumerate((top / "d", top / "d" / "d")):
        (path / "f").write_bytes(b"x" * (n + 1))
    (chain / "last").write_bytes(b"x")
    for index in ("json", "html", "python"):
        m = mount(serve(top, index=index).url, "-o", QUICK)
        assert (m / chain.relative_to(top) / "last").read_bytes() == b"x"
        assert sorted(os.listdir(m / "d" / "d")) == ["d", "f"]
        m.umount()


def while_reading(m, names, call):
    """The longest read of a small file while `call` is under way, and what came of it."""
    result, longest = [], 0
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    for name in names:
        began = time.monotonic()
        assert (m / "d" / name).read_bytes() == b"12345"
        longest = max(longest, time.monotonic() - began)
        if not thread.is_alive():
            break
        time.sleep(0.02)
    thread.join()
    return longest, result[0]


@pytest.mark.sanitize
@pytest.mark.parametrize("page", ["many names", "end tags"])
def test_large_page_delays_nobody(mount, serve, many, page):
    """Reads go on while a page is parsed that takes long."""
    server = serve(many)
    body = rows(150000) if page == "many names" else rows(10) + "<b>" * 240 + "</i>" * 1200000
    server.pages["/large/"] = page_of(body)
    (many / "large").mkdir()
    m = mount(server.url, "-o", "retries=0,wait_timeout=100s")
    assert (m / "d" / "file000").read_bytes() == b"12345"
    began = time.monotonic()
    longest, names = while_reading(m, sorted(os.listdir(many / "d")), lambda: len(os.listdir(m / "large")))
    took = time.monotonic() - began
    assert names == (150000 if page == "many names" else 10)
    assert longest < max(took / 3, 0.5), (longest, took)


@pytest.mark.sanitize
def test_pages_share_memory(mount, serve, many):
    """Pages that are large together are listed one after the other, within -o index_memory."""
    server = serve(many)
    for n in range(6):
        (many / f"large{n}").mkdir()
        server.pages[f"/large{n}/"] = page_of(rows(40000 + n))
    m = mount(server.url, "-o", "retries=0,wait_timeout=100s,index_memory=30M")

    def count(n):
        try:
            return len(os.listdir(m / f"large{n}"))
        except OSError:
            raise AssertionError(m.log()) from None

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(count, range(6)))
    assert counts == [40000 + n for n in range(6)]


@pytest.mark.parametrize("option, says", [("index_names=1000", "index of more than 1000 names (-o index_names)"),
                                          ("index_bytes=64K", "index page of more than 64 KiB (-o index_bytes)"),
                                          ("index_memory=16M", "-o index_memory")])
def test_bounds_of_a_page(mount, serve, many, option, says):
    server = serve(many)
    server.pages["/d/"] = page_of(rows(100000))
    m = mount(server.url, "-o", QUICK + "," + option)
    assert refused(lambda: os.listdir(m / "d")) in (errno.EIO, errno.ENOMEM)
    assert says in m.log()
    server.pages["/d/"] = page_of(rows(1000))
    assert len(os.listdir(m / "d")) == 1000


def test_unmounted_while_a_page_is_parsed(mount, serve, many):
    """Nobody waits for the end of a page that nobody wants any more."""
    server = serve(many)
    server.pages["/large/"] = page_of("<b>" * 240 + "</i>" * 10000000)
    (many / "large").mkdir()
    m = mount(server.url, "-o", "retries=0,wait_timeout=1s")
    assert refused(lambda: os.listdir(m / "large")) == errno.EIO
    began = time.monotonic()
    m.umount()
    assert time.monotonic() - began < 5


def test_page_in_place_of_a_listing(mount, web, lacunafs, many):
    """A directory with an index.html, which nginx shows in place of the listing: an error that says
    what to set at the server, in the log and in status."""
    (many / "d" / "index.html").write_text("<html><head><title>Welcome</title></head><body>"
                                           '<a href="page.html">page</a></body></html>')
    server = web(servers.Nginx, many, extra="location /d/ { index index.html; }")
    m = mount(server.url, "-o", QUICK)
    assert refused(lambda: os.listdir(m / "d")) == errno.EIO
    assert "nginx: index none" in m.log()
    assert "nginx: index none" in m.status("d")["last_error"]["cause"]
    assert "nginx: index none" in lacunafs.run("status", m / "d").stdout
    server.stop()
    (many / "d" / "index.html").unlink()
    server.start()
    assert len(os.listdir(m / "d")) == 300 and m.status("d")["last_error"] is None


@pytest.mark.parametrize("name, listed", [("bad\\udcff", b"bad\xff"), ("half\\ud83d", None)])
def test_half_a_surrogate_pair(mount, serve, many, name, listed):
    """In JSON: a byte as Python writes it, or one name that is left out; the others stay."""
    server = serve(many)
    row = '{{"name":"{}","type":"file","size":5}}'
    server.pages["/d/"] = ("application/json", f'[{row.format(name)},{row.format("file001")}]'.encode())
    m = mount(server.url, "-o", QUICK)
    names = sorted(os.listdir(os.fsencode(m / "d")))
    assert names == sorted(filter(None, [listed, b"file001"]))
    assert ("are not entries" in m.log()) == (listed is None)


def test_index_in_local_time(mount, web, many, monkeypatch):
    """nginx with autoindex_localtime: -o index_timezone says of which zone the times are."""
    os.utime(many / "d" / "file001", (1763382840, 1763382840))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    server = web(servers.Nginx, many, extra="autoindex_localtime on;")
    for zone, off in (("Asia/Tokyo", 0), ("+09:00", 0), ("UTC", 9 * 3600)):
        m = mount(server.url, "-o", f"{QUICK},index_timezone={zone}")
        assert os.stat(m / "d" / "file001").st_mtime == 1763382840 + off
        (m / "d" / "file001").read_bytes()
        assert os.stat(m / "d" / "file001").st_mtime == 1763382840 + off
        m.umount()


def test_time_zone_that_is_none(lacunafs, many, scratch):
    done = lacunafs.run("mount", many, scratch / "many", "--store", scratch / "s", "-o", "index_timezone=Nowhere/Land")
    assert done.returncode == 2 and "a time zone" in done.stderr
