# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What is read, mapped, spliced and executed is what the source has."""
import errno
import mmap
import os
import random
import stat
import subprocess

import pytest

import processes
import trees

CHUNK = trees.CHUNK


@pytest.mark.sanitize
@pytest.mark.parametrize("index", ["json", "html"])
def test_tree(mount, serve, tree, index):
    m = mount(serve(tree, index=index).url)
    assert trees.differences(tree, m.path) == []


def test_tree_without_ranges_and_sizes(mount, serve, tree):
    """An index of names only: sizes come one by one."""
    m = mount(serve(tree, index="python").url)
    assert trees.differences(tree, m.path) == []


def test_attributes(mount, serve, tree):
    m = mount(serve(tree).url)
    for path in trees.walk(tree):
        a, b = os.lstat(os.path.join(os.fsencode(tree), path)), os.lstat(
            os.path.join(os.fsencode(m.path), path))
        assert stat.S_IMODE(b.st_mode) == 0o755
        if stat.S_ISREG(a.st_mode):
            assert (b.st_size, int(b.st_mtime)) == (a.st_size, int(a.st_mtime)), path
            # GNU tar -S takes a file without blocks for one hole
            assert b.st_blocks * 512 >= b.st_size, path


@pytest.mark.parametrize("options, modes", [
    (("-o", "filemode=0640"), (0o640, 0o755)), (("-o", "dirmode=0750"), (0o755, 0o750)),
    (("-o", "filemode=0444,dirmode=0555"), (0o444, 0o555))])
def test_modes(mount, serve, tree, options, modes):
    m = mount(serve(tree).url, *options)
    assert stat.S_IMODE(os.stat(m / "big").st_mode) == modes[0]
    assert stat.S_IMODE(os.stat(m / "many").st_mode) == modes[1]


@pytest.mark.sanitize
def test_ranges(mount, serve, tree):
    m = mount(serve(tree).url)
    truth = (tree / "big").read_bytes()
    choose = random.Random(1)
    with open(m / "big", "rb", buffering=0) as f:
        for _ in range(200):
            offset = choose.randrange(len(truth) + 5000)
            length = choose.choice([1, 100, 4096, 70000, 300000])
            assert os.pread(f.fileno(), length, offset) == truth[offset:offset + length]
        assert os.pread(f.fileno(), 10, len(truth)) == b""
        assert f.seek(0, os.SEEK_END) == len(truth)
        # absence is no hole: cp --sparse would lose content
        assert os.lseek(f.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(f.fileno(), 0, os.SEEK_HOLE) == len(truth)


@pytest.mark.sanitize
def test_mmap(mount, serve, tree):
    m = mount(serve(tree).url)
    truth = (tree / "big").read_bytes()
    choose = random.Random(2)

    def wrong():
        found = []
        with open(m / "big", "rb") as f:
            shared = mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
            private = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        for view in (shared, private):
            view.madvise(mmap.MADV_RANDOM)
            for _ in range(300):
                offset = choose.randrange(len(truth))
                if view[offset:offset + 64] != truth[offset:offset + 64]:
                    found.append(offset)
        private[5:9] = b"mine"
        if private[0:12] != truth[0:5] + b"mine" + truth[9:12] or shared[0:12] != truth[0:12]:
            found.append("written")
        return found

    assert processes.apart(wrong) == []


def test_sendfile_and_splice(mount, serve, tree, scratch):
    m = mount(serve(tree).url)
    truth = (tree / "big").read_bytes()
    with open(m / "big", "rb") as f, open(scratch / "sent", "w+b") as out:
        sent = 0
        while n := os.sendfile(out.fileno(), f.fileno(), sent, 1 << 20):
            sent += n
        assert (scratch / "sent").read_bytes() == truth
    with open(m / "big", "rb") as f:
        reader, writer = os.pipe()
        got, offset = b"", 1_000_001
        while len(got) < 200_000:
            n = os.splice(f.fileno(), writer, 30_000, offset_src=offset + len(got))
            got += os.read(reader, n)
        os.close(reader), os.close(writer)
        assert got == truth[offset:offset + len(got)]


def test_copies(mount, serve, tree, scratch):
    m = mount(serve(tree).url)
    for how in (["cp", "--sparse=always"], ["cp", "--reflink=auto"], ["dd", "bs=7777", "status=none"]):
        copy = scratch / how[-1].strip("-")
        argv = [*how, f"if={m / 'big'}", f"of={copy}"] if how[0] == "dd" else             [*how, str(m / "big"), str(copy)]
        subprocess.run(argv, check=True)
        assert trees.same_content(tree / "big", copy), how
    done = subprocess.run(f"tar -C '{m.path}' -S -cf - big sizes | tar -xf - -C '{scratch}'", shell=True)
    assert done.returncode == 0
    assert trees.differences(tree / "sizes", scratch / "sizes") == []
    assert trees.same_content(tree / "big", scratch / "big")


def test_exec(mount, serve, big_program):
    """A program of hundreds of megabytes starts on what its start touches."""
    program, byte = big_program
    server = serve(program.parent)
    m = mount(server.url)
    offsets = [3, 5 << 20, (17 << 20) + 12345, (319 << 20) + 777]
    done = subprocess.run([m / "program", *map(str, offsets)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [str(byte(o)) for o in offsets]
    size = program.stat().st_size
    assert server.bytes_sent("/program") <= size / 100, server.bytes_sent("/program") / size


def test_running_program_is_busy(mount, serve, tree, scratch):
    """The kernel's rules for running programs hold: no write open, and EROFS otherwise."""
    (scratch / "t").mkdir()
    subprocess.run(["cp", "/bin/sleep", str(scratch / "t" / "sleep")], check=True)
    m = mount(serve(scratch / "t").url)
    with processes.Child([m / "sleep", "60"]) as running:
        try:
            with pytest.raises(OSError) as e:
                os.open(m / "sleep", os.O_WRONLY)
            assert e.value.errno in (errno.EROFS, errno.ETXTBSY)
            assert (m / "sleep").read_bytes() == (scratch / "t" / "sleep").read_bytes()
        finally:
            running.kill()


def test_directories(mount, serve, tree):
    m = mount(serve(tree).url)
    # telldir and seekdir by way of small reads: every name once, whatever the buffer
    for name in ("many", "names", "."):
        for _ in range(2):
            got = os.listdir(m / name)
            assert sorted(got) == sorted(os.listdir(tree / name))
    inodes = {e.name: e.inode() for e in os.scandir(m / "many")}
    assert inodes == {n: os.stat(m / "many" / n).st_ino for n in inodes}
    assert len(set(inodes.values())) == len(inodes)
    assert os.stat(m / "many" / "..").st_ino == os.stat(m.path).st_ino
    with pytest.raises(FileNotFoundError):
        os.stat(m / "many" / "not there")
    with pytest.raises(NotADirectoryError):
        os.stat(m / "big" / "x")
    with pytest.raises(IsADirectoryError):
        open(m / "many", "rb")
    with pytest.raises(OSError) as e:
        os.stat(m / ("y" * 256))
    assert e.value.errno == errno.ENAMETOOLONG


def test_inodes_stay(mount, serve, tree):
    """st_ino is the same after a remount, filled or not."""
    m = mount(serve(tree).url)
    paths = [os.fsdecode(p) for p in trees.walk(tree)]
    before = {p: os.lstat(m / p).st_ino for p in paths}
    (m / "big").read_bytes()
    m.umount()
    m = m.again()
    assert {p: os.lstat(m / p).st_ino for p in paths} == before


def test_statfs(mount, serve, tree):
    m = mount(serve(tree).url)
    fs = os.statvfs(m.path)
    assert fs.f_namemax == 255 and fs.f_blocks > 0 and fs.f_bsize > 0
    assert not fs.f_flag & os.ST_RDONLY


def test_find_opens_nothing(mount, serve, tree):
    """Walking makes no local file."""
    m = mount(serve(tree).url)
    trees.walk(m.path)
    for path in trees.walk(tree):
        os.lstat(os.path.join(os.fsencode(m.path), path))
    assert [p for p in (m.store / "tree").rglob("*") if p.is_file()] == []
