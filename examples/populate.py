#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Creates in STUBS a tree of the same names, sizes, modes and times as SOURCE, whose files are one
hole each. A mount of STUBS with remote-fetch.py attached shows SOURCE's content.

Usage: populate.py SOURCE STUBS
"""
import os
import shutil
import sys


def stub(source, path):
    """As shutil copies a file, without its bytes."""
    with open(path, "xb") as f:
        f.truncate(os.stat(source).st_size)
    shutil.copystat(source, path)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: populate.py SOURCE STUBS")
    try:
        shutil.copytree(sys.argv[1], sys.argv[2], symlinks=True, copy_function=stub,
                        dirs_exist_ok=True)
    except OSError as error:  # also shutil.Error, of several files
        sys.exit(f"populate.py: {error}")


if __name__ == "__main__":
    main()
