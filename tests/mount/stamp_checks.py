# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a writer of the page-stamp campaign finds in a file, beside what it knows of it."""
import os
import time

import stamp_workers
import stamps
from stamp_file import DOUBT, ZERO
from stamps import LOCAL, PAGE, SOURCE

MOST = 160  # pages of a file


class Checked:
    """Has the members worker, folder, names (name → File) and last (notes)."""

    def wrong(self, file, text):
        names = [n for n, f in self.names.items() if f is file]
        raise stamps.Wrong(f"{self.folder}/{names} (file {file.identity}, ino {file.ino}, sizes "
                           f"{file.sizes}, pinned {file.pinned}): {text} at "
                           f"{time.monotonic():.3f}; before it:\n  {self.told(file.identity)}")

    def note(self, *what):
        """What a failure tells of the time before it."""
        self.last = self.last[-200:] + [" ".join(map(str, (
            f"{time.monotonic():.3f} mount {self.worker.table.generation}", *what)))]

    def told(self, identity=None):
        found = [n for n in self.last if identity is None or n.split()[3] not in (
            "verify", "store") or str(identity) in n.split()]
        return "\n  ".join(found[-40:])

    def path(self, name):
        return self.worker.at(f"{self.folder}/{name}")

    def page(self, file, n, serial):
        return stamps.page(LOCAL, file.identity, n, serial)

    def expect(self, file, n, data, version):
        """One page as it was read; returns the version of the source's, if it is one of those."""
        if len(data) == PAGE and data == bytes(PAGE):
            kind, value = LOCAL, ZERO
        else:
            try:
                (found,) = stamps.cells(data)
                kind, identity, page, value = found
            except (ValueError, TypeError, stamps.Wrong) as e:
                self.wrong(file, f"page {n}: {e}: {stamps.cells(data)}")
            if (identity, page) != (file.identity, n):
                self.wrong(file, f"page {n} is page {page} of file {identity}")
        allowed = file.weak[n] if file.pages.get(n) == DOUBT else {file.pages.get(n)}
        if kind == SOURCE:
            if None not in allowed:
                self.wrong(file, f"page {n} is version {value} of the source, not {allowed}")
            if version not in (None, value):
                self.wrong(file, f"page {n} has version {value}, others {version}")
            if file.sizes is not None and file.sure:
                if file.pinned not in (None, value):
                    self.wrong(file, f"page {n} has version {value}, was {file.pinned}")
                file.pinned = value
            if file.pages.get(n) == DOUBT:
                file.found(n, None)
            return value
        if value not in allowed:
            self.wrong(file, f"page {n} is {value or 'zeros'}, not {allowed}")
        if file.pages.get(n) == DOUBT:
            file.found(n, value)
        return version

    def measured(self, file, size):
        """Of the sizes that it may have it has this one."""
        if size % PAGE or file.sizes is not None and size // PAGE not in file.sizes:
            self.wrong(file, f"its size is {size}")
        file.sizes = {size // PAGE}
        file.cut(size // PAGE)

    def verify(self, file, fd, way="pread", mapping=None, first=0, count=MOST + 8):
        self.note("  verify", file.identity, way, "mapped" if mapping else "", first, count)
        offset, length = first * PAGE, count * PAGE
        file.doubt()
        size = os.fstat(fd).st_size if fd >= 0 else None
        if mapping:
            size = min(mapping.size, (max(file.sizes) * PAGE if file.sizes else mapping.size))
            length = min(length, size - offset)
            if length <= 0:
                return
            data, ended = mapping.read(offset, length), False
        else:
            read = {"direct": stamp_workers.read_direct, "pread": stamp_workers.read_some,
                    "sendfile": stamp_workers.read_sendfile}[way]
            data, ended = read(fd, length, offset)
        if file.sizes is not None and size is not None and not mapping:
            self.measured(file, size)
        version = None
        for at in range(0, len(data), PAGE):
            version = self.expect(file, first + at // PAGE, data[at:at + PAGE], version)
        self.worker.count("pages", len(data) // PAGE)
        if ended and data:
            wanted = stamps.size_of(file.identity, version) if file.sizes is None \
                else size
            if (version is not None or file.sizes is not None) and offset + len(data) != wanted:
                self.wrong(file, f"the end is at {offset + len(data)}, not {wanted}")
