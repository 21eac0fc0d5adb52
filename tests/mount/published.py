# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A published index, read and changed by the tables of fetch/index/format.h, as a program in
another language would; and a real tree to publish, with everything that a file can be.

Shape:   Index(tree) is the current one of a published tree; data is all of it, mutable
Errors:  assertions
"""
import ctypes
import hashlib
import os
import socket
import stat
import struct
import subprocess

import pytest

import trees

BLOCK = 65536
TAIL = "<QIIQQQQQIIQQQQII24x"
FIELDS = ("magic", "version", "reserved0", "image_size", "extents", "digests", "leaves", "size",
          "extent_count", "digest_count", "files", "bytes", "objects", "frames", "object_count",
          "frame_count")
SUPER, INODE_SIZE = 1024, 64


class Index:
    def __init__(self, tree):
        self.folder = tree / ".lacuna"
        self.read()

    def read(self):
        head = (self.folder / "head").read_bytes()
        assert len(head) == 512
        lines = head.decode().split("\n")
        assert lines[0] == "lacuna 1"
        self.root, self.size, self.serial = (line.split(" ")[1] for line in lines[1:4])
        self.path = self.folder / f"index-{self.root}"
        self.data = bytearray(self.path.read_bytes())
        assert len(self.data) == int(self.size)
        self.tail = dict(zip(FIELDS, struct.unpack(TAIL, self.data[-128:])))
        assert self.sealed() == self.root

    def sealed(self):
        """Leaves and tail made to fit the data; the root."""
        end = self.tail["leaves"]
        leaves = b"".join(hashlib.sha256(self.data[at:min(at + BLOCK, end)]).digest()
                          for at in range(0, end, BLOCK))
        tail = struct.pack(TAIL, *(self.tail[f] for f in FIELDS))
        self.data[end:] = leaves + tail
        return hashlib.sha256(leaves + tail).hexdigest()

    def write(self, root=None, serial=None):
        """As the next version; `root`: another name than its own."""
        self.root = root or self.sealed()
        self.path = self.folder / f"index-{self.root}"
        self.path.write_bytes(self.data)
        self.serial = str(serial or int(self.serial) + 1)
        text = f"lacuna 1\nroot {self.root}\nsize {len(self.data)}\nserial {self.serial}\n\n"
        (self.folder / "head").write_text(text.ljust(511) + "\n")

    # ---- packs ----
    def objects(self):
        """(id in hex, size, first frame, frames, first digest) of each"""
        rows = (struct.unpack_from(OBJECT, self.data, self.tail["objects"] + 64 * n)
                for n in range(self.tail["object_count"]))
        return [(r[0].hex(), *r[1:]) for r in rows]

    def frames(self):
        """[offset, stored, size, codec, object] of each"""
        return [list(struct.unpack_from(FRAME, self.data, self.tail["frames"] + 24 * n))
                for n in range(self.tail["frame_count"])]

    def put_frame(self, number, **changes):
        at = self.tail["frames"] + 24 * number
        fields = dict(zip(("offset", "stored", "size", "codec", "object"),
                          struct.unpack_from(FRAME, self.data, at)))
        fields.update(changes)
        struct.pack_into(FRAME, self.data, at, *fields.values())

    def put_object(self, number, data):
        """Another object for `number`, its digests, and its file."""
        place, name = self.tail["objects"] + 64 * number, hashlib.sha256(data).hexdigest()
        _, _, frame, frames, digest = struct.unpack_from(OBJECT, self.data, place)
        struct.pack_into(OBJECT, self.data, place, bytes.fromhex(name), len(data), frame, frames,
                         digest)
        for n in range(0, len(data), BLOCK):
            at = self.tail["digests"] + 32 * (digest + n // BLOCK)
            self.data[at:at + 32] = hashlib.sha256(data[n:n + BLOCK]).digest()
        (self.folder / "objects" / name).write_bytes(data)
        return name

    def objects_are_whole(self):
        for name, size, *_ in self.objects():
            data = (self.folder / "objects" / name).read_bytes()
            assert len(data) == size and hashlib.sha256(data).hexdigest() == name

    # ---- EROFS ----
    def root_nid(self):
        return struct.unpack_from("<H", self.data, SUPER + 14)[0]

    def inode(self, nid):
        """offset, and its fields"""
        at = nid * 32
        names = ("format", "xattrs", "mode", "_", "size", "data", "ino", "uid", "gid", "seconds",
                 "nanoseconds", "nlink")
        return at, dict(zip(names, struct.unpack_from("<HHHHQIIIIqII", self.data, at)))

    def put_inode(self, nid, **changes):
        at, fields = self.inode(nid)
        fields.update(changes)
        struct.pack_into("<HHHHQIIIIqII", self.data, at, *fields.values())

    def blocks(self, nid):
        """(offset, length) of the blocks of flat data"""
        at, i = self.inode(nid)
        last = (i["size"] - 1) // 4096
        for n in range(last + 1):
            length = 4096 if n < last else i["size"] - last * 4096
            place = (i["data"] + n) * 4096
            if i["format"] >> 1 == 2 and n == last:
                place = at + INODE_SIZE + (12 + 4 * (i["xattrs"] - 1) if i["xattrs"] else 0)
            yield place, length

    def names(self, nid):
        """name → (offset of its entry, nid, type, offset of the name)"""
        found = {}
        for place, length in self.blocks(nid):
            count = struct.unpack_from("<H", self.data, place + 8)[0] // 12
            for n in range(count):
                target, name, kind = struct.unpack_from("<QHB", self.data, place + 12 * n)
                end = struct.unpack_from("<H", self.data, place + 12 * n + 20)[0] \
                    if n + 1 < count else length
                text = bytes(self.data[place + name:place + end]).rstrip(b"\0")
                found[text] = place + 12 * n, target, kind, place + name
        return found

    def nid(self, path):
        at = self.root_nid()
        for name in path.encode().split(b"/"):
            at = self.names(at)[name][1]
        return at


OBJECT, FRAME = "<32sQIII12x", "<QIIII"


def need_packs(program):
    if "libzstd" in program.run("publish", "--pack", "/nowhere").stderr:
        pytest.skip("built without libzstd (package libzstd-dev)")


def publish(program, tree, *options, packs=False):
    """Its index; the files alone have their data, unless `packs`."""
    options += ("--pack",) if packs else ("--no-pack",)
    done = program.run("publish", *options, tree)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return Index(tree)


def checked(index, scratch):
    """fsck.erofs finds nothing (None: it is not installed)."""
    device = scratch / "device"
    if not device.exists():
        with open(device, "wb") as f:
            f.truncate(1 << 40)
    try:
        done = subprocess.run(["fsck.erofs", f"--device={device}", index.path], capture_output=True,
                              text=True)
    except FileNotFoundError:
        return None
    return done.returncode == 0 and "<E>" not in done.stdout + done.stderr, done.stdout + done.stderr


libc = ctypes.CDLL(None, use_errno=True)


def kernel_mount(index, scratch, point):
    """The kernel's own EROFS; on a device of no data. As root."""
    image = scratch / "image"
    image.write_bytes(index.data)
    device = scratch / "device"
    with open(device, "ab") as f:
        f.truncate(1 << 40)
    if libc.mount(os.fsencode(image), os.fsencode(point), b"erofs", 1, b"device=" + os.fsencode(device)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make_everything(root):
    """A tree of every type; what only root can make, as root."""
    root.mkdir()
    trees.put(root / "plain", b"hello\n", 1_500_000_000)
    trees.put(root / "big", trees.noise(1, 5 * BLOCK + 123))
    for size in (0, 1, 4095, 4096, 4097, BLOCK - 1, BLOCK, BLOCK + 1):
        trees.put(root / "sizes" / f"f{size}", trees.noise(size, size))
    for n in range(700):  # several blocks of names
        trees.put(root / "many" / f"name-{n:04}-{'x' * (n % 40)}", b"%d\n" % n)
    for name in ("!first", "-dash", "+plus", ".hidden", "..two", "\u00e9" * 127, "x" * 255, "a\nb"):
        trees.put(root / "odd" / name, name.encode())
    (root / "empty").mkdir(mode=0o700)
    deep = root.joinpath(*"abcdefgh")
    deep.mkdir(parents=True)
    trees.put(deep / "bottom", b"deep\n")
    with open(root / "sparse", "wb") as f:
        f.truncate(40 << 20)
        f.seek(10 << 20)
        f.write(trees.noise(2, 3 * BLOCK + 1))
        f.seek((30 << 20) + 777)
        f.write(b"end of data")
    with open(root / "hole", "wb") as f:
        f.truncate(20 << 20)
    os.symlink("plain", root / "link")
    os.symlink("t" * 4090, root / "long-link")
    os.link(root / "plain", root / "sizes" / "hard")
    os.link(root / "big", root / "empty" / "hard-big")
    os.link(root / "link", root / "hard-link", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(root)
        s.bind("socket")
        os.chdir(here)
    for name in ("plain", "big", "many/name-0003-xxx", "sizes/f1"):
        os.setxattr(root / name, "user.same", b"shared value")
    os.setxattr(root / "big", "user.large", b"q" * 3000)
    os.setxattr(root / "many", "user.directory", b"\0\1\2")
    os.utime(root / "sizes" / "f1", ns=(1, 123_456_789))
    os.utime(root / "sizes" / "f0", ns=(1, -5_000_000_000_000_000_001))
    subprocess.run(["setfacl", "-m", "u:1:rwx,g:2:r", root / "sizes" / "f4096"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:3:rx", root / "empty"], check=True)
    os.chmod(root / "sizes" / "f4097", 0o2755)
    if os.geteuid() == 0:
        os.chown(root / "sizes" / "f4095", 70000, 4_000_000_000)
        os.chmod(root / "plain", 0o4755)
        os.mknod(root / "block", stat.S_IFBLK | 0o660, os.makedev(8, 17))
        os.mknod(root / "char", stat.S_IFCHR | 0o600, os.makedev(300, 70000))
        os.setxattr(root / "many", "trusted.note", b"root's")
        subprocess.run(["setcap", "cap_net_raw+ep", root / "sizes" / f"f{BLOCK}"], check=True)
    return root


ALL = ("type", "size", "content", "mode", "owner", "mtime", "nlink", "links", "target", "rdev",
       "xattrs")
