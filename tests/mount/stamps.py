# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Pages that say what they are, and a table that all processes of a campaign share.

Shape:   a file is a row of pages of 4 KiB, a page 128 times the same cell of 32 bytes; a cell has
         the file's identity, the page's number, and the version at the source (SOURCE) or the
         serial of the write that made it (LOCAL), under a checksum. The last page may be short,
         by whole cells.
Sizes:   size_of(identity, version): whoever has a version can tell how long it is
Torn:    a page of several cells: no version of the source looks like that
"""
import mmap
import random
import struct
import zlib

PAGE, CELL = 4096, 32
HEAD = struct.Struct("<4sIIIQ")
SOURCE, LOCAL = 1, 2
ZERO = bytes(CELL)
LIMIT = 128 << 10  # up to here the product never hands a file to the kernel
INNER = 1000  # what a directory holds that was file f: identity INNER + f
WRITERS = 2000  # identities from here are a writer's; WRITERS + 1000 * writer + number
HOLEY = 500  # numbers from here on: a file that may have holes
BORN = 1 << 20  # identities from here on were never at the source: + writer << 16, serial << 1


class Wrong(Exception):
    """What may never be seen."""


def cell(kind, identity, page, value):
    head = HEAD.pack(b"Page", kind, identity, page, value)
    return head + struct.pack("<II", zlib.crc32(head), ~identity & 0xffffffff)


def page(kind, identity, number, value):
    return cell(kind, identity, number, value) * (PAGE // CELL)


def parse(piece):
    """(kind, identity, page, value), or None for zeros."""
    if piece == ZERO:
        return None
    magic, kind, identity, number, value = HEAD.unpack(piece[:HEAD.size])
    if magic != b"Page" or piece != cell(kind, identity, number, value):
        raise Wrong(f"no cell of any file: {piece!r}")
    return kind, identity, number, value


def cells(data):
    """What a page is made of: a list of different cells, most often one."""
    first = data[:CELL]
    if len(data) % CELL:
        raise Wrong(f"a page of {len(data)} bytes")
    if data == first * (len(data) // CELL):
        return [parse(first)]
    found = []
    for at in range(0, len(data), CELL):
        stamp = parse(data[at:at + CELL])
        if stamp not in found:
            found.append(stamp)
    return found


def size_of(identity, version):
    """In bytes, never 0. Half of the versions have the size of the one before them."""
    choose = random.Random(identity * 7919)
    pages = choose.choice([1, 3, 16, 31, 32, 33, 40, 64, 100, 150])
    other = random.Random(identity * 1_000_003 + version)
    if other.random() < 0.5:
        pages = max(1, pages + other.choice([-30, -7, -1, 1, 2, 9, 40]))
    if WRITERS <= identity < BORN:
        return pages * PAGE
    return pages * PAGE - CELL * (0 if choose.random() < 0.5 else choose.randrange(PAGE // CELL))


def content(identity, version):
    size = size_of(identity, version)
    return b"".join(page(SOURCE, identity, n, version)
                    for n in range(-(-size // PAGE)))[:size]


class Table:
    """Numbers that every process of the campaign sees; words are written whole.

    published[f]: the newest version that may be at the source; settled[f]: that is there
    floor[f]: no open that comes later may see an older one, since it was read;
    refreshed[f]: the same, since a refresh ended
    """
    ROWS = 4096
    COUNTS = ("opens", "pages", "versions", "errors", "verbs", "kills", "writes", "steps")

    def __init__(self):
        self.words = memoryview(mmap.mmap(-1, 4 * (5 * self.ROWS + 4096))).cast("I")
        self.published = self.words[:self.ROWS]
        self.settled = self.words[self.ROWS:2 * self.ROWS]
        self.floor = self.words[2 * self.ROWS:3 * self.ROWS]
        self.refreshed = self.words[3 * self.ROWS:4 * self.ROWS]
        self.control = self.words[4 * self.ROWS:]

    # odd: there is no mount just now
    generation = property(lambda self: self.control[0],
                          lambda self, value: self.control.__setitem__(0, value))
    stop = property(lambda self: self.control[1],
                    lambda self, value: self.control.__setitem__(1, value))

    # not 0: what is wrong is counted, and the rest goes on
    tally = property(lambda self: self.control[4],
                     lambda self, value: self.control.__setitem__(4, value))

    # daemons that were killed; ends of epochs among them
    losses = property(lambda self: (self.control[2], self.control[3]))

    def lose(self, epoch):
        self.control[2] += 1
        self.control[3] += epoch

    def slot(self, worker):
        """Counters of one process."""
        at = 16 + worker * len(self.COUNTS)
        return self.control[at:at + len(self.COUNTS)]

    def counts(self):
        rows = len(self.COUNTS)
        return {name: sum(self.control[16 + n:16 + 64 * rows:rows])
                for n, name in enumerate(self.COUNTS)}

    @staticmethod
    def raise_to(floor, f, version):
        """Two at once may lose the higher one: then the floor is merely lower than it could be."""
        if version > floor[f]:
            floor[f] = version
