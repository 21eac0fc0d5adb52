# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A server that lies is noticed; nothing wrong is ever given out or kept. (The list of ways:
misbehaviours.py.)"""
import errno
import os

import pytest

import lying
import trees

QUICK = ("-o", "retries=1,connect_timeout=1s,stall_timeout=1s,wait_timeout=5s")
CHUNK = trees.CHUNK


def read_all(path):
    """The bytes, or the errno."""
    try:
        return path.read_bytes()
    except OSError as e:
        return e.errno


def store_is_true(m, tree):
    """After the mount is gone: what the store gives out without the network is the truth."""
    m.umount()
    again = m.again("-o", "retries=0,connect_timeout=200ms,wait_timeout=1s")
    wrong = []
    for path in sorted((m.store / "tree").rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(m.store / "tree")
        truth = (tree / name).read_bytes()
        with open(again / name, "rb", buffering=0) as f:
            for offset in range(0, len(truth), CHUNK):
                try:
                    piece = os.pread(f.fileno(), CHUNK, offset)
                except OSError as e:
                    assert e.errno == errno.EIO
                    continue
                if piece != truth[offset:offset + CHUNK]:
                    wrong.append((str(name), offset))
    again.umount()
    assert wrong == []


def test_head_without_witnesses(mount, serve, tree):
    """HEAD says 0 bytes, and GET fails: an error, not an empty file; and right afterwards."""
    server = serve(tree, index="python")
    server.lie("/big", lying.header("Content-Length", "0"), methods=("HEAD",))
    server.lie("/big", lying.status(403), methods=("GET",))
    m = mount(server.url, *QUICK)
    with pytest.raises(OSError) as e:
        os.stat(m / "big")
    assert e.value.errno == errno.EACCES
    server.honest()
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


@pytest.mark.parametrize("lie", [lying.too_much, lying.too_much_unsaid, lying.short_honest])
def test_more_or_less_than_asked(mount, serve, tree, lie):
    """Right bytes in the wrong amount: used or refused, never misplaced."""
    server = serve(tree)
    server.lie("/big", lie)
    m = mount(server.url, *QUICK)
    truth = (tree / "big").read_bytes()
    with open(m / "big", "rb", buffering=0) as f:
        for offset in (0, 10 * CHUNK, 40 * CHUNK, 3 * CHUNK):
            try:
                got = os.pread(f.fileno(), 1000, offset)
            except OSError as e:
                assert e.errno == errno.EIO
                continue
            assert got == truth[offset:offset + 1000]
    server.stop()
    store_is_true(m, tree)


def test_a_body_that_begins_early(mount, serve, tree):
    """The end of the file comes behind the end of the answer. (What of a long one was given out by
    then was.)"""
    server = serve(tree)
    server.lie("/sizes/f*", lying.shifted, methods=("GET",))
    m = mount(server.url, "-o", "retries=0,wait_timeout=5s")
    small = [p.name for p in (tree / "sizes").iterdir() if 2 < p.stat().st_size <= CHUNK]
    assert len(small) > 3
    for name in small:
        assert read_all(m / "sizes" / name) == errno.EIO, name
    server.honest()
    for name in small:
        assert (m / "sizes" / name).read_bytes() == (tree / "sizes" / name).read_bytes()


def test_lies_now_and_then(mount, serve, tree):
    """Each kind for one request in turn; retries make up for all of them."""
    server = serve(tree)
    for lie in (lying.truncate(5000), lying.drop, lying.status(500), lying.stall(70000)):
        server.lie("/big", lie, times=1)
    m = mount(server.url, "-o", "retries=5,stall_timeout=500ms,wait_timeout=25s")
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


def test_nothing_is_asked_compressed(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    (m / "big").read_bytes()
    for r in server.asked("/big", "GET"):
        assert r.headers.get("accept-encoding", "identity") in ("identity", "")


def test_ignored_range_is_not_thrown_away(mount, serve, tree):
    """A server without ranges is read once."""
    server = serve(tree)
    server.lie("/big", lying.ignore_range)
    m = mount(server.url)
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    assert server.bytes_sent("/big") <= 2 * (tree / "big").stat().st_size


@pytest.mark.parametrize("index", ["json", "html", "python"])
def test_empty_once(mount, lacunafs, serve, scratch, index):
    """That a directory is empty is believed when it is told twice, whether it was known or not."""
    trees.put(scratch / "truth" / "d" / "f", b"x")
    (scratch / "truth" / "empty").mkdir()
    server = serve(scratch / "truth", index=index)
    kind, body = server.index([])

    def emptied(request, answer):
        answer.status = 200
        answer.set_body(body, kind)

    m = mount(server.url, *QUICK)
    server.lie("/d/", emptied, times=1)
    assert os.listdir(m / "d") == ["f"]
    server.lie("/d/", emptied, times=1)
    assert lacunafs.run("refresh", m.path).returncode == 0
    assert os.listdir(m / "d") == ["f"]
    assert len(server.asked("/d/")) == 4
    m.umount()
    m = m.again()
    assert os.listdir(m / "empty") == os.listdir(m / "empty") == []
    assert len(server.asked("/empty/")) == 2


@pytest.mark.parametrize("lie", [lying.status(403), lying.status(404), lying.page])
def test_refused_once(mount, serve, scratch, lie):
    """That a directory is not to be had, by which rmdir(2) takes it for empty, is believed when it
    is told twice."""
    trees.put(scratch / "truth" / "d" / "f", b"x")
    server = serve(scratch / "truth")
    m = mount(server.url, *QUICK)
    server.lie("/d/", lie, times=1)
    with pytest.raises(OSError) as e:
        os.rmdir(m / "d")
    assert e.value.errno == errno.ENOTEMPTY
    assert len(server.asked("/d/")) == 2
    assert (m / "d" / "f").read_bytes() == b"x"


def test_error_of_the_root(lacunafs, serve, tree, scratch):
    """A root that is refused: mounting may succeed, since the store may hold all; looking fails."""
    server = serve(tree)
    server.lie("/", lying.status(403))
    (scratch / "m").mkdir()
    done = lacunafs.run("mount", server.url, scratch / "m", "--store", scratch / "s", *QUICK)
    if done.returncode == 0:
        with pytest.raises(OSError) as e:
            os.listdir(scratch / "m")
        assert e.value.errno in (errno.EACCES, errno.EIO)
        assert lacunafs.run("umount", scratch / "m").returncode == 0
    else:
        assert len(done.stderr.splitlines()) == 1 and "403" in done.stderr
        assert done.stderr.count(server.url) == 1


def test_root_is_a_file(lacunafs, serve, tree, scratch):
    server = serve(tree)
    (scratch / "m").mkdir()
    done = lacunafs.run("mount", server.url + "big", scratch / "m", "--store", scratch / "s", *QUICK)
    assert done.returncode == 1 and "a file; a source must be a directory" in done.stderr
    assert done.stderr.count(server.url) == 1
