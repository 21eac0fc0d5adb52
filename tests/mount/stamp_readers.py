# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Readers of the page-stamp campaign: many opens at a time, each held for a while.

What one open (a descriptor, or a mapping made of it) may see is told in page_stamps.py.
"""
import errno
import mmap
import os
import random
import time
import traceback

import stamp_source
import stamp_workers
import stamps
from stamps import PAGE

HELD = 8
# What the source or the network may do to a reader; all others are wrong
MAY = {errno.EIO, errno.EFAULT, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
WAYS = ("pread", "direct", "sendfile", "shared", "private", "exec")
PROT_EXEC, MAP_SHARED, MAP_PRIVATE = 4, 1, 2


class View:
    """One open."""

    def __init__(self, worker, name, identity, way):
        """`identity`: of the file that has this name, or of the writer whose it is."""
        self.worker, self.name, self.identity, self.way = worker, name, identity, way
        self.theirs = identity is not None and identity >= stamps.WRITERS
        self.version, self.mapping, self.fd, self.origin = None, None, -1, None
        floors = worker.table.floor, worker.table.refreshed
        self.floors = (0, 0) if self.theirs else tuple(floor[identity] for floor in floors)
        self.began, self.generation = time.monotonic(), worker.table.generation
        flags = os.O_RDONLY | (os.O_DIRECT if way == "direct" else 0)
        try:
            self.fd = os.open(worker.at(name), flags)
        except OSError as e:
            if e.errno == errno.EINVAL and way == "direct" and not self.theirs:
                raise IsADirectoryError(errno.EISDIR, "as it may have been") from None
            raise
        try:
            st = os.fstat(self.fd)
            self.ino, self.size = st.st_ino, st.st_size
            if not os.path.stat.S_ISREG(st.st_mode):
                raise IsADirectoryError(errno.EISDIR, "directory")
            if way in ("shared", "private", "exec") and self.size:
                prot = mmap.PROT_READ | (PROT_EXEC if way == "exec" else 0)
                kind = MAP_SHARED if way == "shared" else MAP_PRIVATE
                self.mapping = stamp_workers.Mapping(self.fd, self.size, prot, kind)
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.mapping:
            self.mapping.close()
        self.mapping = None
        self.close_descriptor()

    def forget_descriptor(self):
        """The mapping alone is the open from now on."""
        if self.mapping:
            self.close_descriptor()

    def close_descriptor(self):
        fd, self.fd = self.fd, -1
        stamp_workers.shut(fd)

    def wrong(self, text, number=None):
        version = f", version {self.version}" if self.version else ""
        if number is not None:
            text = f"page {number} {text}; the store has {self.worker.stored(self.name, number)}"
        raise stamps.Wrong(
            f"{self.name} by {self.way} (ino {self.ino}, size {self.size} when opened "
            f"{time.monotonic() - self.began:.2f} s ago, mount {self.generation} of "
            f"{self.worker.table.generation}{version}): {text}")

    def read(self, first, count):
        offset, length = first * PAGE, count * PAGE
        if self.mapping and (self.fd < 0 or self.way != "pread"):
            length = min(length, self.size - offset)
            if length <= 0:
                return
            data, ended = self.mapping.read(offset, length), False
            data = data[:len(data) // PAGE * PAGE] if len(data) < length else data
        elif self.way == "direct":
            data, ended = stamp_workers.read_direct(self.fd, length, offset)
        elif self.way == "sendfile":
            data, ended = stamp_workers.read_sendfile(self.fd, length, offset)
        else:
            data, ended = stamp_workers.read_some(self.fd, length, offset)
            if not ended and len(data) < length:  # cut by an error: within a page
                data = data[:len(data) // PAGE * PAGE]
        for at in range(0, len(data), PAGE):
            self.page(first + at // PAGE, data[at:at + PAGE])
        self.worker.count("pages", -(-len(data) // PAGE))
        if ended and not self.theirs:
            self.ended(offset + len(data), offset)

    def ended(self, end, offset):
        """A file ends where its version does."""
        if self.version is None:
            if end == 0:
                self.wrong("an empty file")
            return
        size = stamps.size_of(self.identity, self.version)
        if (end != size if end > offset else end < size):
            self.wrong(f"the end is at {end}, not {size}")

    def page(self, number, data):
        try:
            found = stamps.cells(data)
        except stamps.Wrong as e:
            self.wrong(f"{e}", number)
        if not self.theirs and found != found[:1]:
            self.wrong(f"is torn: {found}", number)
        for stamp in found:
            if stamp is None:
                if not self.theirs or not self.holey():
                    self.wrong(f"has zeros: {found}", number)
                continue
            kind, identity, page, value = stamp
            if page != number:
                self.wrong(f"is page {page}: {stamp}", number)
            self.stamped(kind, identity, number, value)

    def holey(self):
        """A writer's file, of which holes are not told from what was lost."""
        return self.origin is None or (self.origin & 1 if self.origin >= stamps.BORN
                                       else self.origin % 1000 >= stamps.HOLEY)

    def stamped(self, kind, identity, number, value):
        if self.theirs:
            if self.origin is None:
                self.origin = identity
                owner = (identity - stamps.BORN) >> 16 if identity >= stamps.BORN \
                    else (identity - stamps.WRITERS) // 1000
                if owner != (self.identity - stamps.WRITERS) // 1000:
                    self.wrong(f"is of file {identity}", number)
            elif identity != self.origin:
                self.wrong(f"is of file {identity}, not of {self.origin}", number)
        elif identity != self.identity or kind != stamps.SOURCE:
            self.wrong(f"is of file {identity} ({kind}), not of {self.identity}", number)
        if kind != stamps.SOURCE:
            return
        if self.version is None:
            self.version = value
            for floor, how in zip(self.floors, ("read", "refreshed to")):
                if value < floor:
                    self.wrong(f"has version {value}, when {floor} had been {how}", number)
            if value > self.worker.table.published[identity]:
                self.wrong(f"has version {value}, which nobody has published", number)
            if not self.theirs:
                self.worker.table.raise_to(self.worker.table.floor, identity, value)
        elif value != self.version:
            self.wrong(f"has version {value}, others {self.version}", number)


def draw(worker, choose, writers):
    """A new view of some name."""
    way = choose.choice(WAYS)
    what = choose.random()
    if what < 0.3:
        writer = choose.randrange(writers)
        names = os.listdir(worker.at(f"w{writer}"))
        if not names:
            raise FileNotFoundError(errno.ENOENT, "nothing there")
        return View(worker, f"w{writer}/{choose.choice(sorted(names))}",
                    stamps.WRITERS + 1000 * writer, way)
    f = choose.randrange(stamp_source.FILES)
    if f % 4 == 0 and choose.random() < 0.3:
        return View(worker, stamp_source.place(f) + "/inner", stamps.INNER + f, way)
    return View(worker, stamp_source.place(f), f, way)


def look(worker, choose, view):
    """One piece of it, or all."""
    pages = -(-view.size // PAGE) + 1
    if choose.random() < 0.3:
        view.read(0, pages)
    else:
        first = choose.randrange(pages)
        view.read(first, choose.choice([1, 1, 2, 5, 16, 40]))
    if choose.random() < 0.2:
        view.forget_descriptor()


def one_step(worker, choose, views, writers):
    """Returns the view it was about, where that is to be dropped."""
    if not views or len(views) < HELD and choose.random() < 0.3:
        views.append(draw(worker, choose, writers))
        worker.count("opens")
    view = choose.choice(views)
    try:
        look(worker, choose, view)
    except OSError as e:
        # Opens of a mount that is gone live on: their local files may still be read
        if e.errno not in MAY | stamp_workers.GONE and view.generation == worker.table.generation:
            view.wrong(repr(e))
        worker.count("errors")
        if e.errno in stamp_workers.GONE:
            return view
    except stamps.Wrong:
        views.remove(view)
        view.close()
        raise
    return view if choose.random() < 0.25 else None


def work(worker, writers):
    """Returns what was wrong, where it is to be counted."""
    choose, views, wrong = random.Random(worker.seed), [], []
    while not worker.over():
        try:
            worker.enter()
            if view := one_step(worker, choose, views, writers):
                views.remove(view)
                view.close()
        except stamp_workers.Lost:
            continue
        except stamps.Wrong as e:
            if not worker.table.tally:
                raise
            wrong.append(str(e))
        except OSError as e:  # of an open
            if e.errno not in MAY | stamp_workers.GONE \
                    and worker.table.generation == worker.seen_generation:
                if not worker.table.tally:
                    raise
                wrong.append(f"open: {e}: {traceback.format_exc()[-600:]}")
            worker.count("errors")
            if e.errno in stamp_workers.GONE:
                time.sleep(0.01)
    for view in views:
        view.close()
    return wrong
