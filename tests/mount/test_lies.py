# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A server that lies is noticed; nothing wrong is ever given out or kept."""
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


# What must be survived: the answer is right all the same.
HARMLESS = {
    "Range is ignored": lying.ignore_range,
    "no Content-Type": lying.header("Content-Type", None),
    "no Accept-Ranges": lying.header("Accept-Ranges", None),
    "no validators": lying.together(lying.header("ETag", None), lying.header("Last-Modified", None)),
    "a weak ETag": lying.header("ETag", 'W/"{path}"'),
    "less than was asked for": lying.short_honest,
}

# What HEAD may say of a file whose size nobody else tells: the first byte is asked for.
HEADS = {
    "0 bytes": lying.header("Content-Length", "0"),
    "no length": lying.header("Content-Length", None),
    "coded": lying.header("Content-Encoding", "gzip"),
    "400": lying.status(400),
    "403": lying.status(403),
    "404": lying.status(404),
    "405": lying.status(405),
    "500": lying.status(500),
}

# What cannot be believed: an error.
HARMFUL = {
    "another range": lying.wrong_range,
    "another range, unsaid size": lying.together(lying.wrong_range,
                                                 lying.header("Content-Length", "{path}")),
    "206 without Content-Range": lying.no_content_range,
    "another size": lying.wrong_total,
    "a page in place of a file": lying.page,
    "gzip": lying.gzipped,
    "cut short": lying.truncate(100),
    "cut at once": lying.truncate(0),
    "401": lying.status(401),
    "403": lying.status(403),
    "404": lying.status(404),
    "410": lying.status(410),
    "500": lying.status(500),
    "204": lying.status(204),
    "304": lying.status(304),
    "416": lying.status(416),
    "closed": lying.drop,
    "redirect to itself": lying.redirect("{path}"),
    "redirect to nothing": lying.status(302),
    "redirect to a file on this machine": lying.redirect("file:///etc/passwd"),
    "redirect to another protocol": lying.redirect("gopher://127.0.0.1/"),
    "garbage in Content-Range": lying.header("Content-Range", "bytes many"),
    "huge Content-Range": lying.header("Content-Range", "bytes 0-99999999999999999999/1"),
}


@pytest.mark.sanitize
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(mount, serve, tree, name):
    server = serve(tree)
    server.lie("/big", HARMLESS[name])
    server.lie("/sizes/f*", HARMLESS[name])
    m = mount(server.url, *QUICK)
    for file in ["big", *(f"sizes/{n}" for n in os.listdir(tree / "sizes"))]:
        assert (m / file).read_bytes() == (tree / file).read_bytes(), file
    server.stop()
    store_is_true(m, tree)


@pytest.mark.parametrize("name", HEADS)
def test_head_is_not_the_only_witness(mount, serve, tree, name):
    server = serve(tree, index="python")
    server.lie("/sizes/f*", HEADS[name], methods=("HEAD",))
    m = mount(server.url, *QUICK)
    for file in [f"sizes/{n}" for n in os.listdir(tree / "sizes")]:
        assert os.stat(m / file).st_size == (tree / file).stat().st_size, file
        assert (m / file).read_bytes() == (tree / file).read_bytes(), file


def test_head_without_witnesses(mount, serve, tree):
    """HEAD says 0 bytes, and GET fails: an error, not an empty file; and right afterwards."""
    server = serve(tree, index="python")
    server.lie("/big", HEADS["0 bytes"], methods=("HEAD",))
    server.lie("/big", lying.status(403), methods=("GET",))
    m = mount(server.url, *QUICK)
    with pytest.raises(OSError) as e:
        os.stat(m / "big")
    assert e.value.errno == errno.EACCES
    server.honest()
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


@pytest.mark.sanitize
@pytest.mark.parametrize("name", HARMFUL)
def test_harmful(mount, serve, tree, name):
    server = serve(tree)
    server.lie("/big", HARMFUL[name])
    m = mount(server.url, *QUICK)
    got = read_all(m / "big")
    assert got in (errno.EIO, errno.EACCES), got if isinstance(got, int) else "bytes"
    server.stop()
    store_is_true(m, tree)
    # nothing is latched
    server.honest()
    server.start()
    m = mount(server.url, point=m.path, store=m.store)
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


@pytest.mark.parametrize("lie", [lying.page, lying.status(401), lying.status(403), lying.status(404),
                                 lying.status(410), lying.status(204), lying.status(304),
                                 lying.status(500), lying.drop, lying.truncate(20), lying.gzipped,
                                 lying.redirect("{path}")])
def test_listing(mount, serve, tree, lie):
    """What is no index is an error, never an empty directory: not ENOENT either, which readdir(3)
    takes for the end of the directory."""
    server = serve(tree)
    server.lie("/many/", lie)
    m = mount(server.url, *QUICK)
    with pytest.raises(OSError) as e:
        os.listdir(m / "many")
    assert e.value.errno in (errno.EIO, errno.EACCES)
    server.honest()
    m.umount()
    again = m.again("-o", "listing_ttl=0")
    assert len(os.listdir(again / "many")) == 200


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
