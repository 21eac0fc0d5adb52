# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Every operation of a local file system: each case on a native directory, then in a mount, on
objects born there, remote, partly fetched and whole; as root and as an ordinary user.

`-k 'rename and born and root'` runs some; `case.py` says what a case is. A fixed choice of rows
(every case, in one place, of one user) unless LACUNAFS_POSIX is set.
"""
import os
import pathlib
import subprocess
import zlib

import pytest

import case
import cases_attr         # noqa: F401
import cases_attr_access  # noqa: F401
import cases_bits         # noqa: F401
import cases_data         # noqa: F401
import cases_data_map     # noqa: F401
import cases_dir          # noqa: F401
import cases_dir_nodes    # noqa: F401
import cases_link         # noqa: F401
import cases_lock         # noqa: F401
import cases_open         # noqa: F401
import cases_rename       # noqa: F401
import cases_space        # noqa: F401
import cases_xattr        # noqa: F401
import cases_xattr_acl    # noqa: F401
import state
import worlds

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="cases of root, and becoming a user")


def chosen_kinds(chosen, user):
    """Root's cases everywhere that it makes a difference; an ordinary user's in one place each,
    and where bits go that root's writes leave in all."""
    if not chosen.needs:  # nothing remote
        return ("born",)
    if user == "root" or chosen.name.startswith("bits."):
        files = set(chosen.needs) - FILELESS
        return worlds.KINDS if files else worlds.KINDS[:3]
    return (worlds.KINDS[zlib.crc32(chosen.name.encode()) % 4],)


FILELESS = set("emptydir emptydir2 symlink symlink2 dangling loop fifo fifo2 socket device".split())
PAIRS = [(c, u) for c in case.CASES.values() for u in c.users]
MOUNTED = [(c, u, k) for c, u in PAIRS for k in chosen_kinds(c, u)]
# In a mount without privileges
ALONE = [(c, u, "partly" if c.needs else "born") for c, u in PAIRS
         if u == "user" and "device" not in c.needs]


def a_few(rows, every=None):
    """One row of each case, or of every n-th; the native run of a row is part of it."""
    if os.environ.get("LACUNAFS_POSIX"):
        return rows
    found = {}
    for row in rows:
        if every is None or zlib.crc32(row[0].name.encode()) % every == 0:
            found.setdefault(row[0].name, []).append(row)
    return [rows[zlib.crc32(name.encode()) // 7 % len(rows)] for name, rows in found.items()]


def shown(row):
    return "-".join([row[0].name, *row[1:]])


def opened_worlds(request, session_scratch, variant, uid=None):
    # Of what is going to run, whatever -k says: the source is made once, before the mount
    module = request.node
    wanted = [i.callspec.params["row"] for i in request.session.items
              if i.getparent(pytest.Module) is module and hasattr(i, "callspec")
              and len(i.callspec.params["row"]) == 3]
    number = len(list(session_scratch.iterdir()))
    scratch, outside = (pathlib.Path(session_scratch / f"posix{number}{n}") for n in ("", "out"))
    scratch.mkdir(), outside.mkdir()
    scratch.chmod(0o755)
    # link and rename across file systems: a tmpfs, open to all
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777,size=4M", "posix", outside], check=True)
    build = request.config.getoption("build" if variant == "plain" else variant)
    w = worlds.Worlds(build, variant, scratch, outside, uid)
    try:
        w.prepare(wanted)
        yield w
        wrong = w.close()
    finally:
        subprocess.run(["umount", outside], check=True)
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def plain(request, session_scratch):
    yield from opened_worlds(request, session_scratch, "plain")


@pytest.fixture(scope="module")
def alone(request, session_scratch):
    if not os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
        pytest.skip("/dev/fuse is closed to others (./check opens it while it runs)")
    yield from opened_worlds(request, session_scratch, "plain", case.USER)


def told(call, *args):
    """Without the stack, which says nothing about the case."""
    try:
        call(*args)
        wrong = None
    except AssertionError as e:
        wrong = str(e)
    if wrong is not None:
        pytest.fail(wrong, pytrace=False)


@pytest.mark.parametrize("row", a_few(PAIRS, 40), ids=shown)
def test_native(plain, row):
    """The case itself is right."""
    told(plain.native, *row)


@pytest.mark.parametrize("row", a_few(MOUNTED), ids=shown)
def test_mount(plain, row):
    told(plain.mounted, *row)


def test_mounted_again(plain):
    """All that the cases left is as it was, in another mount of the store."""
    m = plain.ready()
    before = state.left(m.path)
    m.umount()
    plain.mount = m.again()
    assert state.differences(before, state.left(plain.mount.path)) == []


@pytest.mark.parametrize("row", a_few(ALONE, 6), ids=shown)
def test_alone(alone, row):
    """In a mount of the user's own, without privileges."""
    told(alone.mounted, *row)
