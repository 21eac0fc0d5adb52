# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""-o inode32: inode numbers that programs of 32 bits can take."""
import os

import pytest

import handlers


def numbers(top):
    """{path: st_ino} of all there is; what readdir tells is what stat tells."""
    found = {"": os.stat(top).st_ino}
    for path, _, _ in os.walk(top):
        with os.scandir(path) as entries:
            for entry in entries:
                st = os.lstat(entry.path)
                assert st.st_ino == entry.inode()
                found[os.path.relpath(entry.path, top)] = st.st_ino
    return found


@pytest.mark.parametrize("kind", ["http", "dir"])
def test_numbers(mount, lacunafs, serve, tree, kind):
    m = mount(serve(tree).url if kind == "http" else tree, "-o", "inode32")
    (m / "born").write_bytes(b"new")
    os.link(m / "born", m / "twin")
    (m / "made").mkdir()
    before = numbers(m.path)
    assert max(before.values()) < 1 << 32
    assert before["born"] == before["twin"]
    files = {path: ino for path, ino in before.items() if os.lstat(m / path).st_nlink == 1}
    assert len(set(files.values())) == len(files)
    # the commands go by these numbers
    assert m.fill("many").returncode == 0
    assert m.status("many/010.txt")["content"] == "complete"
    assert m.status("many/010.txt")["ino"] == str(before["many/010.txt"])
    assert lacunafs.run("evict", m / "many" / "010.txt").returncode == 0
    assert m.status("many/010.txt")["content"] != "complete"
    m.umount()
    m = m.again()
    assert numbers(m.path) == before


def test_kill(mount, scratch):
    """What was told before a kill is told after it, whichever files are looked at first then."""
    source = scratch / "many"
    for n in range(20):
        (source / f"d{n}").mkdir(parents=True)
        for k in range(100):
            (source / f"d{n}" / f"f{k}").touch()
    m = mount(source, "-o", "inode32")
    before = {}
    for n in range(0, 20, 2):
        with os.scandir(m / f"d{n}") as entries:
            before |= {f"d{n}/{e.name}": e.inode() for e in entries}
    m.kill()
    m = m.again()
    after = numbers(m.path)
    assert {path: after[path] for path in before} == before
    assert len(set(after.values())) == len(after) and max(after.values()) < 1 << 32
    told = os.stat(m.store / "state" / "inode32").st_size
    assert told % 16 == 0 and told >= 16 * len(before)


@pytest.mark.sanitize
def test_handler(mount, tree):
    """Events tell what stat(2) tells, and marks go by it."""
    m = mount(tree, "-o", "inode32")
    names = sorted(path.name for path in (tree / "many").iterdir())[:2]
    marked, other = (m / "many" / name for name in names)
    handler = handlers.Handler(m)
    assert handler.mark(handlers.FILE, marked) == 0
    told = []
    serving = handlers.Serving(handler, lambda e: (told.append(e.ino), (handlers.FETCH, 0))[1])
    for path in (marked, other):
        assert path.read_bytes() == (tree / "many" / path.name).read_bytes()
    serving.stop()
    assert told and set(told) == {marked.stat().st_ino}


def test_large_without_it(mount, serve, tree):
    m = mount(serve(tree).url)
    assert max(numbers(m.path).values()) >= 1 << 32
