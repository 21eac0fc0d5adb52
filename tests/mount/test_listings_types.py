# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Index pages that show directories as files: known by the first look or read."""
import errno
import os
import time

import pytest

import lying
from index_pages import QUICK, many, page_without_slashes, refused

__all__ = ["many"]  # a fixture


@pytest.mark.parametrize("size", ["-", "4096"])
def test_directories_without_a_slash(mount, serve, many, size):
    """A link that the server redirects to the same with a slash is a directory: known by the first
    look at it, or where the index tells a size for it, by the first read."""
    server = serve(many)
    server.pages["/"] = page_without_slashes([("d", size), ("e", size)])
    (many / "e").mkdir()
    m = mount(server.url, "-o", QUICK + ",dirmode=750")
    if size != "-":
        for name in ("d", "e"):
            assert refused(lambda: (m / name).read_bytes()) in (errno.EIO, errno.EISDIR)
        for _ in range(200):  # the kernel is told by a thread of its own
            if os.path.isdir(m / "d") and os.path.isdir(m / "e"):
                break
            time.sleep(0.05)
    assert os.path.isdir(m / "d") and os.path.isdir(m / "e")
    assert os.stat(m / "d").st_mode == os.stat(m / "e").st_mode == 0o40750
    assert {e.name: e.is_dir() for e in os.scandir(m.path)} == {"d": True, "e": True}
    assert len(os.listdir(m / "d")) == 300 and os.listdir(m / "e") == []
    assert (m / "d" / "file007").read_bytes() == b"12345"
    (m / "d" / "new").write_bytes(b"new")
    m.umount()
    server.stop()
    m = m.again()
    assert len(os.listdir(m / "d")) == 301 and (m / "d" / "new").read_bytes() == b"new"
    os.rmdir(m / "e")
    assert os.listdir(m.path) == ["d"]


def test_directory_without_a_slash_is_listed_anew(lacunafs, mount, serve, many):
    """What was found out stays as long as the index says the same of it."""
    server = serve(many)
    server.pages["/"] = page_without_slashes([("d", "-")])
    m = mount(server.url, "-o", QUICK)
    assert os.path.isdir(m / "d")
    server.pages["/"] = page_without_slashes([("d", "-"), ("other", "5")])
    server.forget()
    assert lacunafs.run("refresh", m.path).returncode == 0
    assert sorted(os.listdir(m.path)) == ["d", "other"]
    assert os.path.isdir(m / "d") and len(os.listdir(m / "d")) == 300
    assert not server.asked("/d")


def eventually(call, seconds=10):
    """What `call` is true of: the kernel is told by a thread of its own."""
    until = time.monotonic() + seconds
    while not (found := call()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("later", ["404", "no index"])
def test_directory_for_a_moment(mount, serve, scratch, later):
    """The name was a directory when it was read, and is a file again, as the listing says that was
    fetched in between: what cannot be listed is asked for once more."""
    (scratch / "few").mkdir()
    (scratch / "few" / "f").write_bytes(b"12345")
    server = serve(scratch / "few")
    server.pages["/"] = page_without_slashes([("f", "5")])
    server.pages["/f/"] = page_without_slashes([])
    m = mount(server.url, "-o", QUICK)
    server.lie("/f", lying.redirect("{path}/", 301))
    assert refused(lambda: (m / "f").read_bytes()) in (errno.EIO, errno.EISDIR)
    assert eventually(lambda: os.path.isdir(m / "f"))
    server.honest()
    server.pages["/f/"] = ("text/html", b"12345")
    if later == "404":
        server.lie("/f/", lying.status(404))
    assert refused(lambda: os.listdir(m / "f")) == errno.EIO
    assert eventually(lambda: os.path.isfile(m / "f"))
    assert (m / "f").read_bytes() == b"12345"
    assert {e.name: e.is_file() for e in os.scandir(m.path)} == {"f": True}
    m.umount()
    assert (m.again() / "f").read_bytes() == b"12345"
