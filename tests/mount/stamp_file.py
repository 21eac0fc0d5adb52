# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a writer of the page-stamp campaign knows of one of its files.

Shape:   pages[n] is the serial that was last written to page n, ZERO a hole, DOUBT one of weak[n];
         what is not there is as the source has it
         weak[n]: what a kill -9 of the daemon may leave of it; since[n]: what the end of an epoch
         may (None in them: the source's bytes); not there: it cannot be anything else
         sizes: what its size may be, in pages; None: as the source has it, in any one version
"""
import stamps

ZERO, DOUBT = 0, "?"


class File:
    def __init__(self, identity, ino=None, born=False):
        self.identity, self.ino, self.born = identity, ino, born
        self.pages, self.weak, self.since = {}, {}, {}
        self.sizes = {0} if born else None  # pages; None: as the source has it
        self.sure = born  # it is changed here: no attempt to do so may have failed as a whole
        self.pinned = None  # version of the source's pages, from then on

    @property
    def holey(self):
        return bool(self.identity & 1 if self.born else self.identity % 1000 >= stamps.HOLEY)

    def may(self, n, *values):
        """From now on page n may be one of these as well."""
        before = self.weak.get(n) if self.pages.get(n) == DOUBT else {self.pages.get(n)}
        for known in (self.weak, self.since):
            known.setdefault(n, set(before)).update(values)

    def put(self, n, value):
        """It is, as far as a process sees."""
        self.pages[n] = value
        self.may(n, value)

    def stored(self, pages):
        """What the daemon has is not lost with it."""
        for n in pages:
            self.weak[n] = {self.pages[n]}

    def synced(self):
        self.weak.clear()
        self.since.clear()

    def cut(self, size):
        for known in (self.pages, self.weak, self.since):
            for n in [n for n in known if n >= size]:
                del known[n]

    def lost_daemon(self, epoch):
        """The daemon was killed: what each page may be now."""
        if epoch:
            self.weak = {n: set(v) for n, v in self.since.items()}
        for n, values in self.weak.items():
            self.pages[n] = DOUBT
            if len(values) == 1:
                self.found(n, *values)

    def found(self, n, value):
        """It turned out what page n is."""
        self.pages[n], self.weak[n] = value, {value}
        if value is None:
            del self.pages[n]
        elif not self.sure:
            self.sure = True

    def doubt(self):
        """Is it the source's, after all?"""
        if not self.sure:
            self.sizes = None
