# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Indexes that are wrong, each in its own way: one clear line, and nothing of them is used.

An index with another root than its name is refused as a whole. All others here are sealed again
after the change, as by a publisher who means it: then the reader is all that there is."""
import struct

import pytest

import published as publishing
import trees

BLOCK = publishing.BLOCK


@pytest.fixture
def published(lacunafs, scratch):
    tree = scratch / "tree"
    trees.put(tree / "f", trees.noise(1, 2 * BLOCK + 100))
    trees.put(tree / "g", trees.noise(2, 10))
    trees.put(tree / "d" / "e" / "h", b"h\n")
    (tree / "s").symlink_to("f")
    return publishing.publish(lacunafs, tree)


def refused(lacunafs, index, scratch):
    """What `mount`, and then a walk and reads, say of it: the log."""
    tree, point, store = index.folder.parent, scratch / "point", scratch / "store"
    point.mkdir()
    done = lacunafs.run("mount", tree, point, "--store", store)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert not (store / "state").exists()
    return done.stderr


def failing(mount, index, *paths):
    """The mount works; the log of one whose `paths` do not."""
    m = mount(index.folder.parent, "-o", "retries=0")
    for path in paths:
        with pytest.raises(OSError):
            p = m / path
            list(p.iterdir()) if p.is_dir() else p.read_bytes()
    return m.log()


def cut(index):
    del index.data[-100:]


def longer(index):
    index.data += b"\0" * 4096


def flipped(index):
    index.data[5000] ^= 1


@pytest.mark.parametrize("spoil", [cut, longer, flipped])
def test_not_what_its_name_says(lacunafs, published, scratch, spoil):
    spoil(published)
    published.path.write_bytes(published.data)
    text = refused(lacunafs, published, scratch)
    assert "index-" in text and ("changed at the source" in text or "damaged from byte 0 on" in text)


@pytest.mark.parametrize("field, value, word", [
    ("magic", 1, "not an index"), ("version", 2, "another version of the format"),
    ("size", 1 << 40, "cut short"), ("image_size", 1 << 62, "do not fit"),
    ("extents", 0, "do not fit"), ("digests", 1 << 63, "do not fit"), ("leaves", 4096, "do not fit"),
    ("extent_count", 0xffffffff, "do not fit"), ("digest_count", 0xfffffff0, "do not fit"),
])
def test_wrong_tail(lacunafs, published, scratch, field, value, word):
    published.tail[field] = value
    published.data[-128:] = struct.pack(publishing.TAIL, *(published.tail[f] for f in publishing.FIELDS))
    published.write("0" * 64)  # refused before the root is looked at
    assert word in refused(lacunafs, published, scratch)


@pytest.mark.parametrize("text, word", [
    (b"lacuna 2\n" + b" " * 503, "another version"), (b"lacuna 1\nroot xyz\n\n" + b" " * 493, "second line"),
    (b"lacuna 1\nroot " + b"0" * 64 + b"\nsize 99999999999999999999\nserial 1\n\n" + b" " * 397, "third line"),
    (b"lacuna 1\nroot " + b"0" * 64 + b"\nsize 4096\nserial -1\n\n" + b" " * 412, "fourth line"),
    (b"lacuna 1\nroot " + b"0" * 64 + b"\nsize 4096\nserial 1\n\n" + b" " * 413, "index-0000"),
])
def test_wrong_head(lacunafs, published, scratch, text, word):
    (published.folder / "head").write_bytes(text.ljust(512)[:512])
    assert word in refused(lacunafs, published, scratch)


def entry(index, path):
    folder, _, name = path.rpartition("/")
    nid = index.nid(folder) if folder else index.root_nid()
    return index.names(nid)[name.encode()]


def rename(path, name):
    def spoil(index):
        at = entry(index, path)[3]
        index.data[at:at + len(name)] = name
    return spoil


def point_to(path, target, kind=None):
    def spoil(index):
        at = entry(index, path)[0]
        nid = target if isinstance(target, int) else index.nid(target) if target else index.root_nid()
        struct.pack_into("<Q", index.data, at, nid)
        if kind is not None:
            index.data[at + 10] = kind
    return spoil


def inode(path, **changes):
    def spoil(index):
        index.put_inode(index.nid(path) if path else index.root_nid(), **changes)
    return spoil


@pytest.mark.parametrize("spoil, word", [
    (rename("f", b"/"), "a name that no file can have"), (rename("f", b"\0"), "a name that no file can have"),
    (rename("g", b"a"), "names are not in order"), (rename("g", b"f"), "names are not in order"),
    (rename("..", b".x"), "without \"..\""), (rename("d", b"!"), "names are not in order"),
    (point_to("f", 1 << 40), "outside of the image"), (point_to("f", 0), "outside of the image"),
    (point_to("f", (1 << 31) - 1), "beyond the end of its image"),
    (point_to("f", "d", 2), "a directory with two names"),
    (point_to("g", "d"), "another type than its directory says"),
    (point_to(".", "d"), "belongs to another one"), (point_to("..", "d"), "belongs to another one"),
    (inode("f", size=1 << 63), "an impossible size"), (inode("f", nlink=0), "an impossible size"),
    (inode("f", nanoseconds=1_000_000_000), "an impossible size"),
    (inode("f", format=8), "an unknown format or type"), (inode("f", mode=0), "an unknown format or type"),
    (inode("s", size=5000), "impossible length"), (inode("", mode=0o100644), "unknown format"),
    (inode("", size=0), "a directory of no size"), (inode("", size=1 << 40), "beyond the end"),
    (inode("", size=14), "a directory block without entries"),
    (inode("f", xattrs=0xffff), "beyond the end of its image"),
])
def test_wrong_names_and_inodes(lacunafs, published, scratch, spoil, word):
    spoil(published)
    published.write()
    assert word in refused(lacunafs, published, scratch)


def test_circle(mount, published):
    """d/e is d again."""
    point_to("d/e", "d")(published)
    published.write()
    assert "belongs to another one" in failing(mount, published, "d/e")


def test_way_down_to_a_foreign_directory(mount, published):
    point_to("d/e", "")(published)
    published.write()
    assert "belongs to another one" in failing(mount, published, "d/e")


def extent(number, **changes):
    names = ("block", "digest", "length", "offset", "frame", "reserved")

    def spoil(index):
        at = index.tail["extents"] + 32 * number
        fields = dict(zip(names, struct.unpack_from("<IIQQII", index.data, at)))
        fields.update(changes)
        struct.pack_into("<IIQQII", index.data, at, *fields.values())
    return spoil


def chunk(path, **changes):
    def spoil(index):
        at = index.inode(index.nid(path))[0] + publishing.INODE_SIZE
        fields = dict(zip(("high", "device", "block"), struct.unpack_from("<HHI", index.data, at)))
        fields.update(changes)
        struct.pack_into("<HHI", index.data, at, *fields.values())
    return spoil


@pytest.mark.parametrize("spoil, word", [
    (extent(0, digest=0xfffffffe), "a digest that is not in the index"),
    (extent(0, length=1 << 62), "an extent that is not the file's"),
    (extent(0, length=BLOCK), "an extent that is not the file's"),
    (extent(0, offset=BLOCK), "another place of the file"), (extent(0, frame=0), "another place of the file"),
    (extent(0, block=0x1000), "an address without an extent"),
    (chunk("f", device=0), "not on device 1"), (chunk("f", block=0xfffffff0), "an extent that is not the file's"),
    (inode("f", data=0x20), "smaller than a digest's block"), (inode("f", data=0x60), "unknown format of its chunks"),
])
def test_wrong_places(mount, published, spoil, word):
    spoil(published)
    published.write()
    assert word in failing(mount, published, "f")


def test_another_files_data(mount, published):
    """The digests of another file: its bytes are refused."""
    chunk("f", block=struct.unpack_from("<I", published.data, published.tail["extents"] + 32)[0])(published)
    published.write()
    assert "not the file's" in failing(mount, published, "f")
