#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Writes a header with AREA_LAYOUT, a digest of the structures that lie in the area (area.h).
Usage: area_layout.py ROOT OUTPUT DEPFILE SETTING...   (settings change layouts, too: a sanitizer's)
A change of a comment or of spaces changes nothing; a name that is not found is an error."""
import hashlib
import pathlib
import re
import sys

TYPES = {
    "fetch/base/lock.h": ["struct mutex"],
    "fetch/base/readahead.h": ["struct readahead", "struct walkahead"],
    "fuse/base/area.h": ["enum area_phase", "enum area_region", "struct area"],
    "fuse/events/kept.c": ["struct change", "struct place", "struct kept_table"],
    "fuse/inode/handle.h": ["struct handle"],
    "fuse/inode/inode.h": ["enum iomode_kind", "struct alias", "struct inode_extra",
                           "struct inode"],
    "fuse/inode/journal.c": ["struct journal"],
    "fuse/inode/journal.h": ["enum journal_kind", "struct journal_entry"],
    "fuse/inode/notices.h": ["struct notice"],
    "fuse/inode/places.c": ["struct place"],
    "fuse/inode/strikes.c": ["struct strike", "struct strikes"],
    "fuse/inode/write_access.h": ["struct write_handles"],
    "fuse/keeper/keeping.h": ["enum kept"],
}
# Sizes of arrays and regions, and what divides them.
NUMBERS = {
    "fuse/base/area.c": ["HEADER"],
    "fuse/base/area.h": ["AREA_INIT_MAX", "AREA_KEPT_HANDLERS_SIZE"],
    "fuse/base/arena.c": ["SLAB_SHIFT", "GRAIN", "SMALL", "CLASSES"],
    "fuse/base/arena.h": ["ARENA_BLOCK_MAX"],
    "fuse/events/kept.h": ["KEPT_MARKS_MAX"],
    "fuse/inode/journal.c": ["ENTRIES", "PROBES"],
    "fuse/inode/places.c": ["WAYS"],
    "fuse/inode/strikes.c": ["THREADS", "PLACES"],
    "fuse/keeper/keeping.h": ["KEPT_HANDLERS"],
    "include/lacuna/precontent.h": ["LACUNA_NAME_MAX"],
}


def plain(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"\\\n", " ", text)


def of_type(text, name):
    kind, noun = name.split()
    begin = re.search(rf"^{kind}\b[^;{{\n]*\b{noun} \{{", text, re.M)
    if not begin:
        sys.exit(f"area_layout.py: no {name}")
    depth = 0
    for at in range(begin.start(), len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if text[at] == "}" and depth == 0:
            return text[begin.start():at + 1]
    sys.exit(f"area_layout.py: {name} has no end")


def of_number(text, name):
    found = re.search(rf"^#define {name}\b.*$|\b{name} = [^,}}]*", text, re.M)
    if not found:
        sys.exit(f"area_layout.py: no {name}")
    return found.group()


def digest(root, settings):
    lines = list(settings)
    for table, part in ((TYPES, of_type), (NUMBERS, of_number)):
        for path, names in sorted(table.items()):
            text = plain((root / path).read_text(encoding="utf-8"))
            lines += [" ".join(part(text, name).split()) for name in names]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


if __name__ == "__main__":
    top, output, depfile, *words = sys.argv[1:]
    value = digest(pathlib.Path(top), words)
    pathlib.Path(output).write_text(f"#define AREA_LAYOUT UINT64_C(0x{value})\n", encoding="utf-8")
    read = " ".join(f"{top}/{path}" for path in sorted({*TYPES, *NUMBERS}))
    pathlib.Path(depfile).write_text(f"{output}: {read}\n", encoding="utf-8")
