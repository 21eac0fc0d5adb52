# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Trees to serve, the same bytes on every run, and comparing two of them."""
import os
import pathlib
import random
import stat
import subprocess

CHUNK = 65536
NAMES = ["with space", "per%cent", "a&b", "hash#tag", "quest?ion", "semi;colon", "plus+", "quote'\"",
         "uml\u00e4ut \u2603", "-dash", "%41", "x" * 255, "a<b>c", "back\\slash", "co:lon", "~tilde",
         "equals=1", "[brackets]", "tail.", "\u00e9" * 127]


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def put(path, content, mtime=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if mtime is not None:
        os.utime(path, (mtime, mtime))


def make_plain(root):
    """Sizes around the chunk's and the page's, nested directories, difficult names."""
    root = pathlib.Path(root)
    for i, size in enumerate([0, 1, 4095, 4096, 4097, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]):
        put(root / "sizes" / f"f{size}", noise(i, size), 1_600_000_000 + i)
    put(root / "big", noise(100, (5 << 20) + 123), 1_500_000_000)
    for i in range(200):
        put(root / "many" / f"{i:03}.txt", f"file {i}\n".encode() * (i % 7 + 1))
    put(root / "a" / "b" / "c" / "d" / "deep", b"deep\n")
    (root / "empty").mkdir()
    for i, name in enumerate(NAMES):
        put(root / "names" / name, name.encode() + b"\n")
        (root / "dirs" / name).mkdir(parents=True)
        put(root / "dirs" / name / "inside", name.encode())
    return root


PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
extern const unsigned char blob[], blob_end[];
__asm__(".section .rodata\n.global blob, blob_end\n.balign 4096\nblob:\n.incbin \"%s\"\n"
        "blob_end: .byte 0\n.text\n");
int main(int argc, char **argv)
{
	printf("blob of %%zu bytes\n", (size_t)(blob_end - blob));
	for (int i = 1; i < argc; i++)
		printf("%%u\n", blob[strtoull(argv[i], NULL, 0)]);
	return 0;
}
"""


def make_program(directory, size):
    """A program of `size` bytes that touches what its arguments name: (path, blob's content
    as a function of the offset)."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    program, blob, source = (directory / n for n in ("program", "blob", "program.c"))
    block = noise(7, 1 << 20)
    with open(blob, "wb") as f:
        for i in range(size >> 20):
            f.write(i.to_bytes(8, "little"))
            f.write(block[8:])
    source.write_text(PROGRAM % blob)
    subprocess.run(["gcc", "-O1", "-o", program, source], check=True)
    blob.unlink()
    source.unlink()

    def byte(offset):
        i, rest = divmod(offset, 1 << 20)
        return i.to_bytes(8, "little")[rest] if rest < 8 else block[rest]
    return program, byte


def walk(root):
    """Relative paths (bytes) of everything below, in a fixed order; "" is the root."""
    root, found = os.fsencode(root), []

    def descend(relative):
        found.append(relative)
        with os.scandir(os.path.join(root, relative)) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                path = os.path.join(relative, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    descend(path)
                else:
                    found.append(path)
    descend(b"")
    return found


def content(path, piece=1 << 20):
    with open(path, "rb") as f:
        while block := f.read(piece):
            yield block


def same_content(a, b):
    with open(a, "rb") as x, open(b, "rb") as y:
        while True:
            p, q = x.read(1 << 20), y.read(1 << 20)
            if p != q:
                return False
            if not p:
                return True


def differences(truth, other, attributes=("type", "size", "content"), ignore=()):
    """What differs between two trees, as lines; nothing where they are the same.
    attributes: type size content mode owner mtime nlink links target rdev xattrs"""
    found = []
    truth, other = os.fsencode(truth), os.fsencode(other)
    here, there = (set(walk(p)) - set(ignore) for p in (truth, other))
    found += [f"only in the truth: {p!r}" for p in sorted(here - there)]
    found += [f"only in the other: {p!r}" for p in sorted(there - here)]
    links = {}, {}
    for path in sorted(here & there):
        a, b = os.path.join(truth, path), os.path.join(other, path)
        s, t = os.lstat(a), os.lstat(b)
        pairs = {"type": (stat.S_IFMT(s.st_mode), stat.S_IFMT(t.st_mode))}
        regular = stat.S_ISREG(s.st_mode) and stat.S_ISREG(t.st_mode)
        pairs["mode"] = s.st_mode, t.st_mode
        pairs["owner"] = (s.st_uid, s.st_gid), (t.st_uid, t.st_gid)
        pairs["mtime"] = s.st_mtime_ns, t.st_mtime_ns
        pairs["rdev"] = s.st_rdev, t.st_rdev
        if not stat.S_ISDIR(s.st_mode):
            pairs["nlink"] = s.st_nlink, t.st_nlink
            pairs["links"] = (links[0].setdefault(s.st_ino, path), links[1].setdefault(t.st_ino, path))
        if regular:
            pairs["size"] = s.st_size, t.st_size
        if stat.S_ISLNK(s.st_mode) and stat.S_ISLNK(t.st_mode):
            pairs["target"] = os.readlink(a), os.readlink(b)
        if "xattrs" in attributes:
            pairs["xattrs"] = tuple({n: os.getxattr(p, n, follow_symlinks=False)
                                     for n in os.listxattr(p, follow_symlinks=False)}
                                    for p in (a, b))
        for name, (x, y) in pairs.items():
            if name in attributes and x != y:
                found.append(f"{path!r}: {name} is {y!r}, not {x!r}")
        if regular and "content" in attributes and not same_content(a, b):
            found.append(f"{path!r}: content")
    return found
