# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Writers of the page-stamp campaign: each changes a folder of its own, and knows what is in it.

What a file is taken for is in stamp_file.py. A step says first what may be, then does it, then
says what is: whatever cuts it short leaves what is known true.
"""
import errno
import mmap
import os
import random

import stamp_readers
import stamp_source
import stamp_workers
import stamps
from stamp_checks import MOST, Checked
from stamp_file import DOUBT, ZERO, File
from stamps import PAGE

HELD = 5
MAY = {errno.EIO, errno.EFAULT}  # while bytes of the source are wanted that it has no more


class Handle:
    """A descriptor or mapping that is kept. The file may have no name any more."""

    def __init__(self, file, fd, mapping=None):
        self.file, self.fd, self.mapping = file, fd, mapping

    def close(self):
        fd, self.fd = self.fd, -1
        if self.mapping:
            self.mapping.close()
        stamp_workers.shut(fd)


class Writer(Checked):
    def __init__(self, worker, number, known):
        self.worker, self.number = worker, number
        self.folder, self.base = f"w{number}", stamps.WRITERS + 1000 * number
        self.choose, self.handles = random.Random(worker.seed), []
        self.names, self.serial, self.pending = known
        self.last = []

    @classmethod
    def start(cls, number):
        """What a new store's folder has."""
        return ({f"r{n}": File(stamp_source.written_identity(number, n))
                 for n in range(stamp_source.WRITTEN)}, 0, None)

    def known(self):
        return self.names, self.serial, self.pending

    def next(self):
        self.serial += 1
        return self.serial

    # Steps
    def draw(self):
        name = self.choose.choice(sorted(self.names))
        return name, self.names[name]

    def open(self, name, file, flags):
        fd = os.open(self.path(name), flags)
        ino = os.fstat(fd).st_ino
        if file.sure and file.ino not in (None, ino):
            os.close(fd)
            self.wrong(file, f"its inode number is {ino}")
        file.ino = ino
        return fd

    def local(self, file, fd):
        """It is changed here: its size is ours from now on. A change that was cut short may have
        left it at either of two: which one, a write in its midst does not tell."""
        file.doubt()
        self.measured(file, os.fstat(fd).st_size)

    def write(self):
        name, file = self.draw()
        direct = self.choose.random() < 0.3
        held = [h for h in self.handles if h.file is file and h.fd >= 0 and not h.mapping]
        fd = -1
        if held and not direct and self.choose.random() < 0.5:
            use = self.choose.choice(held).fd
        else:
            use = fd = self.open(name, file, os.O_RDWR | (os.O_DIRECT if direct else 0))
        try:
            self.local(file, use)
            first = self.choose.randrange(max(1, max(file.sizes)))
            count = min(self.choose.choice([1, 1, 2, 3, 17]),
                        MOST if self.choose.random() < 0.1 else max(1, max(file.sizes) - first))
            self.store(file, use, first, count, direct)
            if self.choose.random() < 0.2:
                self.sync(file, use)
            if self.choose.random() < 0.3:
                self.verify(file, use, "direct" if direct else "pread",
                            first=max(0, first - 2), count=count + 4)
        finally:
            if fd >= 0:
                self.keep(Handle(file, fd)) if not direct else os.close(fd)

    def store(self, file, fd, first, count, direct=False, append=False):
        serial = self.next()
        self.note("  store", file.identity, serial, first, count,
                  "direct" if direct else "append" if append else "")
        before = range(first, first + count)
        size = max(file.sizes)
        for n in before:
            if n >= size:
                file.weak[n], file.since[n] = {serial}, {ZERO, serial}
            else:
                file.may(n, serial)
            file.pages[n] = DOUBT
        file.sizes = set(range(size, max(size, first + count) + 1))
        data = b"".join(self.page(file, n, serial) for n in before)
        if direct:
            buffer = mmap.mmap(-1, len(data))
            buffer[:] = data
            n = os.pwrite(fd, buffer, first * PAGE)
        else:
            n = os.write(fd, data) if append else os.pwrite(fd, data, first * PAGE)
        if n != len(data):
            raise OSError(errno.EIO, f"short write: {n} of {len(data)}")
        for n in before:
            file.put(n, serial)
        file.stored(before)
        file.sizes, file.sure = {max(size, first + count)}, True
        self.worker.count("writes")

    def append(self):
        name, file = self.draw()
        fd = self.open(name, file, os.O_WRONLY | os.O_APPEND)
        try:
            self.local(file, fd)
            if max(file.sizes) < MOST:
                self.store(file, fd, max(file.sizes), self.choose.choice([1, 2, 5]), append=True)
        finally:
            os.close(fd)

    def sync(self, file, fd):
        (os.fsync if self.choose.random() < 0.5 else os.fdatasync)(fd)
        if DOUBT not in file.pages.values():
            file.synced()

    def fsync(self):
        name, file = self.draw()
        fd = self.open(name, file, os.O_RDWR if self.choose.random() < 0.5 else os.O_RDONLY)
        try:
            self.sync(file, fd)
        finally:
            os.close(fd)

    def map(self):
        name, file = self.draw()
        if file.sizes == {0}:
            return
        fd = self.open(name, file, os.O_RDWR)
        size = os.fstat(fd).st_size
        try:
            mapping = stamp_workers.Mapping(fd, size, mmap.PROT_READ | mmap.PROT_WRITE,
                                            stamp_readers.MAP_SHARED)
        except BaseException:
            os.close(fd)
            raise
        if self.choose.random() < 0.5:
            os.close(fd)
            fd = -1
        self.keep(Handle(file, fd, mapping))
        self.store_mapped()

    def store_mapped(self):
        held = [h for h in self.handles if h.mapping]
        if not held:
            return
        h = self.choose.choice(held)
        file, size = h.file, h.mapping.size // PAGE
        if file.sizes is None:
            file.sizes = {size}
        size = min(size, max(file.sizes))
        if size == 0 or len(file.sizes) != 1:
            return
        first = self.choose.randrange(size)
        count = min(self.choose.choice([1, 1, 2, 6]), size - first)
        serial = self.next()
        self.note("  store mapped", file.identity, serial, first, count, h.fd >= 0)
        for n in range(first, first + count):
            file.may(n, serial)
            file.pages[n] = DOUBT
            h.mapping.write(n * PAGE, self.page(file, n, serial))
            file.put(n, serial)
            file.sure = True
        self.worker.count("writes")
        if self.choose.random() < 0.4:
            h.mapping.sync(first * PAGE, count * PAGE)
            self.note("  msync")
            file.stored(range(first, first + count))
            for n in range(first, first + count):
                file.since.pop(n, None)
        if self.choose.random() < 0.7:
            self.look(file)

    def look(self, file):
        """What was stored is read back, whatever the way, and by a descriptor that is new."""
        names = [n for n, f in self.names.items() if f is file]
        if not names:
            return
        way = self.choose.choice(["pread", "direct", "sendfile", "map"])
        fd = self.open(self.choose.choice(names), file,
                       os.O_RDONLY | (os.O_DIRECT if way == "direct" else 0))
        mapping = None
        try:
            size = os.fstat(fd).st_size
            if way == "map" and size:
                mapping = stamp_workers.Mapping(fd, size, mmap.PROT_READ,
                                                stamp_readers.MAP_SHARED)
            self.verify(file, fd, "pread" if way == "map" else way, mapping)
        finally:
            if mapping:
                mapping.close()
            os.close(fd)

    def read(self):
        if self.handles and self.choose.random() < 0.4:
            h = self.choose.choice(self.handles)
            self.verify(h.file, h.fd, mapping=h.mapping)
        else:
            self.look(self.draw()[1])

    def truncate(self):
        name, file = self.draw()
        if not file.holey:
            return
        fd = self.open(name, file, os.O_RDWR)
        try:
            self.local(file, fd)
            before, after = max(file.sizes), self.choose.randrange(1, MOST)
            file.sizes = {before, after}
            if after >= before:
                for n in range(before, after):  # if it is there at all
                    file.may(n, ZERO)
                    file.pages[n] = DOUBT
            os.ftruncate(fd, after * PAGE)
            file.sizes, file.sure = {after}, True
            file.cut(after)
            for n in range(before, after):
                file.pages[n] = ZERO
                file.weak[n], file.since[n] = {ZERO}, {ZERO}
        finally:
            os.close(fd)

    def create(self):
        """A new file, in place of an old one at times."""
        name = f"b{self.choose.randrange(4)}"
        if name in self.names:
            self.change_names({n: f for n, f in self.names.items() if n != name},
                              lambda: os.unlink(self.path(name)))
        holey = self.choose.random() < 0.5
        identity = stamps.BORN + (self.number << 16) + ((self.next() & 0x7fff) << 1) + holey
        file = File(identity, born=True)
        made = []
        self.change_names(self.names | {name: file}, lambda: made.append(os.open(
            self.path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)))
        try:
            file.ino = os.fstat(made[0]).st_ino
            self.store(file, made[0], 0, self.choose.choice([1, 3, 30, 40]))
        finally:
            self.keep(Handle(file, made[0]))

    def change_names(self, after, call):
        self.pending = after
        call()
        self.names, self.pending = after, None

    def rename(self):
        (a, file), b = self.draw(), self.choose.choice(["r0", "r1", "x", "y", "b0"])
        if self.names.get(b) is file:
            return
        after = {n: f for n, f in self.names.items() if n != a} | {b: file}
        self.change_names(after, lambda: os.rename(self.path(a), self.path(b)))

    def link(self):
        (a, file), b = self.draw(), self.choose.choice(["x", "y", "z"])
        if b not in self.names:
            self.change_names(self.names | {b: file},
                              lambda: os.link(self.path(a), self.path(b)))

    def unlink(self):
        name, file = self.draw()
        if list(self.names.values()).count(file) > 1 or len(self.names) > 8:
            self.change_names({n: f for n, f in self.names.items() if n != name},
                              lambda: os.unlink(self.path(name)))

    def listing(self):
        found = sorted(os.listdir(self.worker.at(self.folder)))
        if found != sorted(self.names):
            raise stamps.Wrong(f"{self.folder} has {found}, not {sorted(self.names)}; before it:\n"
                               + self.told())

    def keep(self, handle):
        self.handles.append(handle)
        if len(self.handles) > HELD:
            self.handles.pop(self.choose.randrange(HELD)).close()

    def close_all(self, dead):
        """Of what a mapping stored, and the daemon never had, close tells that it is lost."""
        for h in self.handles:
            try:
                h.close()
            except OSError as e:
                if not dead or e.errno != errno.EIO:
                    raise
        self.handles.clear()

    # After the daemon was killed
    def lost(self, epoch):
        """Descriptors and mappings go; each page is one of those that it may be now."""
        self.note("lost", epoch)
        self.close_all(dead=True)
        for file in self.all():
            file.lost_daemon(epoch)

    def all(self):
        return {f for known in (self.names, self.pending or {}) for f in known.values()}

    def settle_names(self):
        """Which of two sets of names it has become."""
        if self.pending is None:
            return
        found = sorted(os.listdir(self.worker.at(self.folder)))
        for names in (self.pending, self.names):
            if sorted(names) == found:
                self.names, self.pending = names, None
                return
        raise stamps.Wrong(f"{self.folder}: kill -9 left {found}, neither "
                           f"{sorted(self.names)} nor {sorted(self.pending)}")

    def settle(self):
        """All of it, after a kill -9 or a remount."""
        self.settle_names()
        self.listing()
        for name, file in sorted(self.names.items()):
            try:
                self.look(file)
            except OSError as e:
                self.worker.check(e)
                if e.errno not in MAY or file.born:
                    raise
                self.worker.count("errors")

    STEPS = {write: 5, append: 1, fsync: 1, map: 2, store_mapped: 4, read: 5, truncate: 1,
             create: 1, rename: 1, link: 0.5, unlink: 0.5, listing: 0.3}

    def step(self):
        step, = self.choose.choices(list(self.steps), list(self.steps.values()))
        self.note(step.__name__)
        names = list(self.names)
        try:
            step(self)
            self.worker.count("steps")
        except OSError as e:
            self.note(f"  {e}")
            self.worker.check(e)
            if e.errno not in MAY:
                raise stamps.Wrong(f"{self.folder}: {step.__name__}: {e}; names {names}; before "
                                   f"it:\n{self.told()}") from e
            self.worker.count("errors")


def work(worker, number, known, since, without):
    """`since`: the losses of daemons and epochs that `known` knows of. Returns what is known by
    now and what was wrong, where it is to be counted; after that nothing is known any more."""
    w, settled, wrong = Writer(worker, number, known), False, []
    w.steps = {step: n for step, n in Writer.STEPS.items() if step.__name__ not in without}
    while not worker.over() and not wrong:
        try:
            worker.enter()
            losses = worker.table.losses
            if losses != since:
                w.lost(losses[1] != since[1])
                since, settled = losses, False
            if not settled:
                w.settle()
                settled = True
            w.step()
        except stamp_workers.Lost:
            continue
        except OSError as e:
            if e.errno not in stamp_workers.GONE and worker.table.generation == \
                    worker.seen_generation:
                raise
        except stamps.Wrong as e:
            if not worker.table.tally:
                raise
            wrong.append(str(e))
    w.close_all(dead=worker.table.generation != worker.seen_generation)
    return w.known(), since, wrong
