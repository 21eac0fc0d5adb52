# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A store read by the tables of fetch/store/disk/format.h, as a reader in another language would:
what is there, byte for byte, and nothing else."""
import configparser
import ctypes
import os
import pathlib
import re
import struct
import subprocess

import trees

TOP = pathlib.Path(__file__).resolve().parents[2]
HEADER = (TOP / "fetch" / "store" / "disk" / "format.h").read_text(encoding="utf-8")
CHUNK = trees.CHUNK
REMOTE, LOCAL = 0, 0xffffffff
LIMIT, KEPT = 2, 16

xxhash = ctypes.CDLL("libxxhash.so.0")
xxhash.XXH3_64bits.restype = xxhash.XXH3_64bits_withSeed.restype = ctypes.c_uint64
xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
xxhash.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def digest(data):
    return xxhash.XXH3_64bits(data, len(data))


def tables():
    """struct → (size, [(offset, size, field)])"""
    found = {}
    for name, size, rows in re.findall(r"^ \* (\w+), (\d+) bytes.*?\n((?: \*.*\n)*?) \*\n", HEADER,
                                       re.M):
        fields = [(int(o), int(n), f) for o, n, f in
                  re.findall(r"^ \*   (\d+) +(\d) +(\w+)", rows, re.M)]
        found[name] = int(size), fields
    return found


TABLES = tables()


def read(name, data, signed=("mtime_ns", "checked_ns")):
    size, fields = TABLES[name]
    assert len(data) >= fields[-1][0], (name, len(data))
    codes = {1: "B", 2: "H", 4: "I", 8: "Q"}
    return {f: struct.unpack_from("<" + (codes[n].lower() if f in signed else codes[n]), data, o)[0]
            for o, n, f in fields if o + n <= len(data)}


def parts(name, data, at, count):
    size = TABLES[name][0]
    return [read(name, data[at + i * size:at + (i + 1) * size]) for i in range(count)]


def magic(text):
    return int.from_bytes(text.encode(), "little")


def shard(state, kind, number, suffix=""):
    return state / kind / f"{number & 0xff:02x}" / f"{number:016x}{suffix}"


def test_tables_are_the_structs(tmp_path):
    """Fields follow one another, and are where the compiler puts them."""
    assert len(TABLES) == 14
    source = ["#include <stddef.h>", '#include "fetch/store/disk/format.h"',
              '#include "fetch/store/disk/usage.h"', '#include "fetch/base/listing_private.h"']
    for name, (size, fields) in TABLES.items():
        assert [o for o, _, _ in fields] == [sum(n for _, n, _ in fields[:i])
                                             for i in range(len(fields))], name
        assert sum(n for _, n, _ in fields) == size, name
        for o, n, f in fields:
            source.append(f"_Static_assert(offsetof(struct {name}, {f}) == {o} && "
                          f"sizeof(((struct {name} *)0)->{f}) == {n}, \"{name}.{f}\");")
        source.append(f"_Static_assert(sizeof(struct {name}) == {size}, \"{name}\");")
    (tmp_path / "layout.c").write_text("\n".join(source) + "\n")
    flags = subprocess.run(["pkg-config", "--cflags", "glib-2.0"], capture_output=True, text=True,
                           check=True).stdout.split()
    done = subprocess.run(["gcc", "-D_GNU_SOURCE", "-fsyntax-only", f"-I{TOP}", *flags,
                           tmp_path / "layout.c"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_settings(state, url):
    assert (state / "settings").read_bytes() == (state / "settings.copy").read_bytes()
    file = configparser.ConfigParser()
    file.read(state / "settings")
    said = dict(file["store"])
    assert said["format"] == "1" and said["source"] == url and said["chunk_shift"] == "16"
    text = f"{said['format']}\n{said['source']}\n{said['chunk_shift']}\n"
    assert said["check"] == f"{digest(text.encode()):016x}"


def check_epoch(state):
    data = (state / "epoch").read_bytes()
    epoch = read("epoch_disk", data)
    assert len(data) == TABLES["epoch_disk"][0] and epoch["magic"] == magic("LACNEPH1")
    assert epoch["checksum"] == digest(data[:32])
    assert epoch["clean"] == 1 and epoch["failed"] == 0
    assert os.getxattr(state / "lock", "user.lacuna.epoch") == data
    return epoch["number"]


def check_place(store):
    place = read("place_disk", os.getxattr(store / "state" / "lock", "user.lacuna.place"))
    assert place["format"] == 1 and place["lock"] and place["tree"]
    assert re.fullmatch(rb"\d+ *[\n-]", (store / "state" / "lock").read_bytes())


def check_listing(path, ino):
    """The names in it."""
    data = path.read_bytes()
    trailer = read("directory_trailer", data[-16:])
    assert trailer["magic"] == magic("LACNDIR1")
    assert trailer["check"] == xxhash.XXH3_64bits_withSeed(data[:16], 16, ino)
    data = data[:-16]
    header = read("listing_header", data)
    assert header["magic"] == magic("LACNLST1") and header["length"] == len(data)
    assert header["checksum"] == digest(data[16:])
    entries = parts("listing_entry", data, 48, header["count"])
    names = [data[e["name_off"]:e["name_off"] + e["name_len"]].decode() for e in entries]
    at = 48 + 72 * len(entries)
    index = struct.unpack_from(f"<{len(entries)}I", data, at)
    assert [names[i] for i in index] == sorted(names, key=lambda n: (digest(n.encode()), n))
    assert data.endswith(b"\0") and header["validator_off"] < len(data)
    return dict(zip(names, entries))


def check_map(state, record, data):
    """chunk → slot; each present one has the hash of its bytes."""
    raw = shard(state, "maps", record["id"]).read_bytes()
    header = read("map_header", raw)
    assert header["magic"] == magic("LACNMAP1") and header["flags"] == 1
    assert header["checksum"] == digest(raw[:56])
    for field in ("format", "chunk_shift", "id", "ino", "size", "version"):
        assert header[field] == record[field], field
    chunks = -(-record["size"] // CHUNK)
    assert len(raw) == 64 + 16 * chunks
    slots = parts("map_slot", raw, 64, chunks)
    for k, slot in enumerate(slots):
        if slot["hash"] or slot["mark"]:
            what = struct.pack("<4Q", record["id"], k, slot["hash"], slot["mark"])
            assert slot["check"] == digest(what) & 0xffffffff
        else:
            assert slot["check"] == 0
        if slot["hash"] and slot["mark"] == REMOTE:
            assert slot["hash"] == digest(data[k * CHUNK:(k + 1) * CHUNK])
    return slots


def record_of(path):
    data = os.getxattr(path, "user.lacuna")
    record = read("record_disk", data)
    assert record["format"] == 1 and record["ino"] == os.stat(path).st_ino
    assert len(data) == (64 if record["flags"] & LIMIT else 56)
    return record


def check_origin(state, ident, remote):
    text = os.readlink(shard(state, "origins", ident))
    ino, check, path = re.fullmatch(r"([0-9a-f]{16})\.([0-9a-f]{8})/(.*)", text).groups()
    assert path == remote
    assert int(check, 16) == digest(f"{ident:016x}{ino}/{path}".encode()) & 0xffffffff


def test_store_is_read_by_the_tables(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0,inode32")
    truth = (tree / "big").read_bytes()
    big = m / "big"
    ino = os.stat(m.path).st_ino
    with open(big, "r+b", buffering=0) as f:
        for k in (0, 3, 7):
            assert os.pread(f.fileno(), CHUNK, k * CHUNK) == truth[k * CHUNK:(k + 1) * CHUNK]
        os.pwrite(f.fileno(), b"local" * 20000, 4 * CHUNK)
        os.fsync(f.fileno())
    assert (m / "sizes" / "f4097").read_bytes() == (tree / "sizes" / "f4097").read_bytes()
    os.rename(m / "sizes", m / "renamed")
    os.unlink(m / "renamed" / "f1")
    m.umount()

    state, local = m.store / "state", m.store / "tree"
    check_settings(state, server.url)
    epoch = check_epoch(state)
    check_place(m.store)
    record = record_of(local / "big")
    assert record["flags"] == LIMIT | KEPT and record["size"] == len(truth)
    assert record["epoch"] == epoch and record["remote_limit"] == len(truth)
    check_origin(state, record["id"], "big")
    slots = check_map(state, record, truth)
    assert [k for k, s in enumerate(slots) if s["mark"] == LOCAL] == [4, 5]
    fetched = {k for k, s in enumerate(slots) if s["mark"] == REMOTE and s["hash"]}
    assert {0, 3, 7} <= fetched and not fetched & {4, 5}
    single = record_of(local / "renamed" / "f4097")
    assert single["hash"] == digest((tree / "sizes" / "f4097").read_bytes())
    mark = read("mark_disk", os.getxattr(local / "renamed", "user.lacuna"))
    assert mark["format"] == 1 and mark["flags"] == 2
    check_origin(state, mark["id"], "sizes")

    numbers = (state / "inode32").read_bytes()
    shown = {}
    for n in parts("number_disk", numbers, 0, len(numbers) // 16):
        raw = struct.pack("<QI", n["ino"], n["shown"])
        assert n["check"] == digest(raw) & 0xffffffff
        shown[n["shown"]] = n["ino"]
    listings = {int(p.name, 16): check_listing(p, int(p.name, 16))
                for p in state.glob("dirs/??/*")}
    root = listings[shown.get(ino, ino)]
    assert set(root) == set(os.listdir(tree)) and root["big"]["size"] == len(truth)
    sizes = root["sizes"]["ino"]
    assert set(listings[sizes]) == set(os.listdir(tree / "sizes"))
    assert os.listdir(shard(state, "gone", sizes)) == ["f1"]
    gone = {p.name for p in state.glob("gone/??/*/*")}
    assert gone == {"f1", "sizes"}
