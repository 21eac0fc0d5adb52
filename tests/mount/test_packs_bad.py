# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Packs that are wrong, each in its own way: an error of the files that are in them, which names the
object, and nothing of it is stored."""
import errno
import os

import pytest

import lying
import published
import trees
import zstd
from test_packs import make_small, small, usable, wrong  # pylint: disable=unused-import

FRAME = 262144


@pytest.mark.parametrize("lie", [lying.status(404), lying.status(500), lying.truncate(50_000),
                                 lying.page, lying.ignore_range])
def test_servers(lacunafs, mount, small, serve, lie):
    """An error in time, and nothing wrong; a server that ignores ranges is none."""
    published.publish(lacunafs, small, packs=True)
    server = serve(small)
    server.lie("/.lacuna/objects/*", lie)
    m = mount(server.url, "-o", "retries=0")
    failed = wrong(small, m)
    assert bool(failed) == (lie is not lying.ignore_range) and set(failed.values()) <= {errno.EIO}
    assert os.path.exists(m / "d00" / "f000")
    server.honest()
    assert not wrong(small, m)


# ---- indexes that are wrong, and sealed as by a publisher who means it ----

def bomb(index, data, frames):
    return zstd.compress(b"\0" * (1 << 30))[:len(data)]


def longer_content(index, data, frames):
    return zstd.compress(b"x" * (frames[0][2] + 1))


def shorter_content(index, data, frames):
    return zstd.compress(b"x" * (frames[0][2] - 1))


def two_frames(index, data, frames):
    half = frames[0][2] // 2
    return zstd.compress(b"x" * half) + zstd.compress(b"x" * (frames[0][2] - half))


def cut_frame(index, data, frames):
    return zstd.compress(trees.noise(5, frames[0][2] // 2) + b"x" * (frames[0][2] // 2))[:-9]


def trailing(index, data, frames):
    return zstd.compress(b"x" * frames[0][2]) + b"more"


def garbage(index, data, frames):
    return trees.noise(9, 1000)


@pytest.mark.parametrize("make", [bomb, longer_content, shorter_content, two_frames,
                                  cut_frame, trailing, garbage])
def test_frames_that_are_wrong(lacunafs, mount, scratch, make):
    """Their digests are right: the object is what the publisher wrote."""
    tree = make_small(scratch / "tree", 20)
    index = published.publish(lacunafs, tree, packs=True)
    (name, *_), = index.objects()
    frame = make(index, (index.folder / "objects" / name).read_bytes(), index.frames())
    index.put_object(0, frame)
    index.put_frame(0, stored=len(frame))
    index.write()
    m = mount(tree, "-o", "retries=0")
    failed = wrong(tree, m)
    assert len(failed) == 20 and set(failed.values()) == {errno.EIO}
    cause = m.status("d00/f000")["last_error"]["cause"]
    assert "objects/" in cause and "frame 0: " in cause and "\n" not in cause


@pytest.mark.parametrize("change, word", [
    ({"codec": 7}, "unknown codec"), ({"codec": 0}, "another size"), ({"offset": 1 << 40}, "not the object's"),
    ({"stored": 0}, "not the object's"), ({"size": FRAME + 1}, "not the object's"),
    ({"object": 1}, "not in the index"), ({"size": 100, "stored": 90}, "")])
def test_rows_that_are_wrong(lacunafs, mount, scratch, change, word):
    tree = make_small(scratch / "tree", 20)
    index = published.publish(lacunafs, tree, packs=True)
    index.put_frame(0, **change)
    index.write()
    m = mount(tree, "-o", "retries=0")
    failed = wrong(tree, m)
    assert len(failed) >= 19 and set(failed.values()) == {errno.EIO}
    assert word in m.log()
