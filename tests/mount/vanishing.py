# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A directory that vanishes at the source after something in it was changed here; crashing.py.

Source's: what is as it was there, by its name of there, in its directory of there: gone with it,
          wherever that directory is now
Stays:    everything else, made, changed, linked or renamed here, and the directories above it;
          of a file with several names that was changed, one of them, unless the one by which it was
          changed was removed: of the others nothing is known here
May stay: what was touched, though it is as it was; empty directories, in which something may have
          been removed; empty files, which are all here once they are opened for writing
Bytes:    of what stays those that are here; an error for what only the source had
"""
import errno
import os
import stat
import subprocess

import crashing
import processes
import trees
from crashing import CHUNK, Wrong


def entries(d):
    """(path, full path, inode number, (directory's number, name)) of all that is there."""
    for path in trees.walk(d):
        full = os.path.join(os.fsencode(d), path)
        parent = os.lstat(os.path.dirname(full)).st_ino if path else None
        yield path, full, os.lstat(full).st_ino, (parent, os.path.basename(path))


def shape(told):
    return {k: v for k, v in told.items() if k != "links"}


class Source:
    """What a native directory was before anything was done in it."""

    def __init__(self, d, since):
        self.since, state = since, crashing.snapshot(d, since)
        self.told, self.names, self.changed, self.held = {}, {}, {}, []
        for path, full, number, name in entries(d):
            self.told[number] = state[path]
            self.names.setdefault(number, set()).add(name)
            self.changed[number] = os.lstat(full).st_ctime_ns
            # while they are open, no other file gets their numbers
            self.held.append(os.open(full, os.O_PATH | os.O_NOFOLLOW))

    def stays(self, d):
        """{path: (what it has to be, the source's bytes)}; of each changed file with several names
        of there, these names; all the names that may stay."""
        state, found, linked, allowed = crashing.snapshot(d, self.since), {}, {}, set()
        for path, full, number, name in entries(d):
            told, was = state[path], self.told.get(number)
            if os.lstat(full).st_ctime_ns != self.changed.get(number) or told.get("size") == 0:
                allowed.add(path)
            if was is None or name not in self.names[number]:
                found[path] = told, (was or {}).get("content", b"")
            elif path and shape(told) != shape(was):
                if not stat.S_ISDIR(int(told["mode"], 8)) and len(self.names[number]) > 1:
                    linked.setdefault(number, set()).add(path)
                else:
                    found[path] = told, was.get("content", b"")
        for path in list(found):
            while path := os.path.dirname(path):
                found.setdefault(path, (None, b""))
        changed_by = os.path.join(os.fsencode(d), b"h1")
        by = os.lstat(changed_by).st_ino if os.path.lexists(changed_by) else None
        return found, [names for number, names in linked.items() if number == by], allowed

    def close(self):
        for fd in self.held:
            os.close(fd)


def bytes_wrong(full, wanted, there):
    """What can be read is right, and what cannot was only there."""
    with open(full, "rb", buffering=0) as f:
        for at in range(0, len(wanted), CHUNK):
            try:
                if os.pread(f.fileno(), CHUNK, at) != wanted[at:at + CHUNK]:
                    return f"has other bytes at {at}"
            except OSError as e:
                a, b = wanted[at:at + CHUNK], there[at:at + CHUNK]
                known = min(len(a), len(b))
                if e.errno != errno.EIO or not known or a[:known] != b[:known]:
                    return f"at {at}: {e!r}"
    return None


def lost(d, found, linked):
    """Lines: what has to be in `d` and is not."""
    lines = []
    for path, (told, there) in found.items():
        full = os.path.join(os.fsencode(d), path)
        try:
            st = os.lstat(full)
        except OSError as e:
            lines.append(f"{path!r} is gone: {e.strerror}")
            continue
        if told is None:
            continue
        got = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid),
               "xattrs": {n: os.getxattr(full, n, follow_symlinks=False)
                          for n in sorted(os.listxattr(full, follow_symlinks=False))}}
        lines += [f"{path!r}: {what}: {v!r}, not {told[what]!r}" for what, v in got.items()
                  if v != told[what]]
        if "content" in told and (wrong := "is of another size" if st.st_size != told["size"] else
                                  bytes_wrong(full, told["content"], there)):
            lines.append(f"{path!r} {wrong}")
        if "target" in told and os.readlink(full) != told["target"]:
            lines.append(f"{path!r} leads elsewhere")
    lines += [f"all of {paths} are gone" for paths in linked
              if not any(os.path.lexists(os.path.join(os.fsencode(d), p)) for p in paths)]
    return lines


def left(d, allowed):
    """Lines: what is in `d` and was the source's."""
    try:
        return [f"{p!r} is there" for p in trees.walk(d) if p not in allowed
                and not os.path.isdir(os.path.join(os.fsencode(d), p))]
    except FileNotFoundError:
        return []
    except OSError as e:
        return [repr(e)]


class Campaign(crashing.Campaign):
    """One point a row: it is done, and the directory vanishes; then a kill -9."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.stays = {}
        # asks at once what has become of a directory
        self.options = (self.options[0], self.options[1] + ",listing_ttl=0")

    def native(self, row):
        d = self.scratch / "native" / row.name.replace(" ", "_")
        self.fixture(row, d)
        source = Source(d, self.since)
        kept = row.prepare(str(d))
        for step in row.steps:
            step(str(d))
        for fd in kept or ():
            os.close(fd)
        self.stays[row.name] = source.stays(d)
        if row.name.endswith("open for writing"):  # it counts from then on
            self.stays[row.name][2].add(b"f")
        state = crashing.snapshot(d, self.since)
        source.close()
        subprocess.run(["rm", "-rf", d], check=True)
        return [state]

    def tries(self, count):
        return [1]

    def point(self, i, row, at, torn, epoch):
        name = f"p{i}"
        self.run(row, str(self.mounted / name), 1 << 40)
        subprocess.run(["rm", "-rf", self.source / name], check=True)
        found, linked, allowed = self.stays[row.name]
        for when in ("", ", one mount later"):
            d = self.mounted / name
            wrong = lost(d, found, linked)
            # the kernel hears of what is gone in its own time
            processes.wait_until(lambda: not left(d, allowed))
            wrong += left(d, allowed)
            if wrong:
                raise Wrong(f"{row.name}, vanished at the source{when}:\n  " + "\n  ".join(wrong))
            if not when:
                self.kill()
                self.again()
