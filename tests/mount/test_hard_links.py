# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Many names of one file."""
import os

import trees

CHUNK = trees.CHUNK


def test_hard_links_of_one_remote_file(mount, scratch):
    """In two directories: one file, whichever name is used, kept, cut or removed."""
    source, truth = scratch / "source", trees.noise(3, 4 * CHUNK)
    for case in ("write", "unlink", "rename", "over", "all"):
        trees.put(source / case / "a" / "one", truth)
        (source / case / "b").mkdir()
        os.link(source / case / "a" / "one", source / case / "b" / "two")
        os.link(source / case / "a" / "one", source / case / "b" / "three")
        trees.put(source / case / "plain", b"plain")
    m = mount(source, "-o", "rw")

    def names(m, case):
        return {n: m / case / d / n for d, n in (("a", "one"), ("b", "two"), ("b", "three"))}

    one, two, three = names(m, "write").values()
    with open(one, "r+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"here", 2 * CHUNK)
    written = truth[:2 * CHUNK] + b"here" + truth[2 * CHUNK + 4:]
    assert two.read_bytes() == three.read_bytes() == written
    one, two, three = names(m, "unlink").values()
    os.unlink(two)
    assert [os.stat(p).st_nlink for p in (one, three)] == [2, 2]
    one, two, three = names(m, "rename").values()
    os.rename(one, m / "rename" / "moved")
    os.rename(two, three)  # one file: nothing happens
    assert os.stat(m / "rename" / "moved").st_nlink == 3 and two.exists()
    one, two, three = names(m, "over").values()
    os.rename(m / "over" / "plain", two)
    assert two.read_bytes() == b"plain" and os.stat(one).st_nlink == 2
    f = open(names(m, "all")["one"], "rb")
    for n, path in enumerate(names(m, "all").values()):
        os.unlink(path)
        assert os.fstat(f.fileno()).st_nlink == 2 - n
    assert f.read() == truth
    f.close()

    def check(m):
        one, two, three = names(m, "write").values()
        assert len({(os.stat(p).st_ino, os.stat(p).st_nlink) for p in (one, two, three)}) == 1
        assert {p.read_bytes() for p in (one, two, three)} == {written}
        one, two, three = names(m, "unlink").values()
        assert not two.exists() and os.stat(one).st_nlink == os.stat(three).st_nlink == 2
        assert one.read_bytes() == three.read_bytes() == truth
        assert os.stat(m / "rename" / "moved").st_ino == os.stat(m / "rename" / "b" / "two").st_ino
        assert sorted(os.listdir(m / "rename" / "a")) == []
        assert (m / "over" / "b" / "two").read_bytes() == b"plain"
        assert (m / "over" / "a" / "one").read_bytes() == truth
        assert os.listdir(m / "all" / "a") == os.listdir(m / "all" / "b") == []

    check(m)
    m.umount()
    check(m.again())


def processor_time(pid):
    """Of a process, in seconds."""
    fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_very_many_links_of_one_file(mount, tree):
    """The last take the daemon no longer than the first."""
    m = mount(tree, "-o", "rw")
    (m / "file").write_bytes(b"linked")
    os.mkdir(m / "d")
    times, step, count = [], 2_000, 20_000
    for first in range(0, count, step):
        begun = processor_time(m.worker())
        for i in range(first, first + step):
            os.link(m / "file", m / "d" / f"{i}")
        times.append(processor_time(m.worker()) - begun)
    assert os.stat(m / "file").st_nlink == count + 1
    assert sum(times[-2:]) < 2.5 * sum(times[:2]) + 0.1, times
    for i in range(0, count, 2):
        os.unlink(m / "d" / f"{i}")
    os.rename(m / "d" / "1", m / "moved"), os.unlink(m / "file")
    assert os.stat(m / "moved").st_nlink == count // 2
    m.umount()
    m = m.again()
    assert os.stat(m / "d" / "3").st_nlink == count // 2
    assert os.path.samefile(m / "d" / "3", m / "moved")
