# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Two trees, compared in all that a program can see and that is not a matter of place."""
import os
import stat

import kit
from calls import name_of


def left(directory, since=None):
    """What is below, by relative path (bytes): all that two file systems must agree about.
    With `since` (ns), times before it too; those after it are only known to be after it."""
    top, found, first = os.fsencode(directory), {}, {}
    for path in kit.everything(top):
        relative = os.path.relpath(path, top)
        try:
            st = os.lstat(path)
        except OSError as e:  # listed, and not there
            found[relative] = {"mode": name_of(e.errno)}
            continue
        told = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid)}
        try:
            told["xattrs"] = {n: os.getxattr(path, n, follow_symlinks=False)
                              for n in sorted(os.listxattr(path, follow_symlinks=False))}
        except PermissionError:
            pass
        if since is not None and not stat.S_ISFIFO(st.st_mode):  # whose the kernel keeps
            told["mtime"] = st.st_mtime_ns if st.st_mtime_ns < since else "recent"
        if stat.S_ISDIR(st.st_mode):
            told["links"] = st.st_nlink
        else:
            told["links"] = st.st_nlink, first.setdefault(st.st_ino, relative)
            told["size"], told["device"] = st.st_size, st.st_rdev
        if stat.S_ISLNK(st.st_mode):
            told["target"] = os.readlink(path)
        if stat.S_ISREG(st.st_mode) and st.st_size <= 4 << 20:
            try:
                with open(path, "rb") as f:
                    told["content"] = f.read()
            except PermissionError:
                pass
        found[relative] = told
    return found


def differences(wanted, got):
    found = [f"{p!r} is missing" for p in sorted(wanted.keys() - got.keys())]
    found += [f"{p!r} is there" for p in sorted(got.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & got.keys()):
        a, b = wanted[path], got[path]
        for what in a.keys() & b.keys():
            if a[what] != b[what]:
                if what == "content":
                    at = next((i for i, (x, y) in enumerate(zip(a[what], b[what])) if x != y), -1)
                    found.append(f"{path!r}: content differs from {at} on")
                else:
                    found.append(f"{path!r}: {what} is {b[what]!r}, not {a[what]!r}")
    return found
