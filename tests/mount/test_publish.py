# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""lacunafs publish: what it writes, whom it may be read by, and what becomes of it when it is
interrupted."""
import errno
import os
import random
import signal
import subprocess
import time

import pytest

import faults
import published
import trees
from processes import wait_until

IGNORE = (b".lacuna",)


@pytest.fixture
def everything(scratch):
    return published.make_everything(scratch / "tree")


def below_lacuna(tree):
    return [p for p in trees.walk(tree) if p.startswith(b".lacuna")]


@pytest.mark.sanitize
def test_fsck_and_a_second_time(lacunafs, everything, scratch):
    index = published.publish(lacunafs, everything)
    again = lacunafs.run("publish", "--no-pack", everything)
    assert again.returncode == 0 and f"unchanged: sha256:{index.root}" in again.stdout
    assert sorted(os.listdir(index.folder)) == sorted(["head", index.path.name])
    assert index.tail["files"] == sum(not os.path.isdir(os.path.join(os.fsencode(everything), p))
                                      or os.path.islink(os.path.join(os.fsencode(everything), p))
                                      for p in trees.walk(everything) if not p.startswith(b".lacuna"))
    found = published.checked(index, scratch)
    if found is None:
        pytest.skip("no fsck.erofs (package erofs-utils)")
    assert found[0], found[1]


def test_the_kernel_mounts_it(lacunafs, everything, scratch):
    """All but the content, which is not in the image."""
    if os.geteuid() != 0 or "erofs" not in open("/proc/filesystems", encoding="utf-8").read():
        pytest.skip("needs root, and a kernel with EROFS")
    index = published.publish(lacunafs, everything)
    point = scratch / "kernel"
    point.mkdir()
    published.kernel_mount(index, scratch, point)
    try:
        what = [a for a in published.ALL if a != "content"]
        assert trees.differences(everything, point, what, below_lacuna(everything)) == []
    finally:
        subprocess.run(["umount", point], check=True)


def test_output_elsewhere(lacunafs, scratch):
    tree, out = scratch / "tree", scratch / "elsewhere"
    trees.put(tree / "f", b"f")
    out.mkdir()
    assert lacunafs.run("publish", "--output", out, tree).returncode == 0
    assert not (tree / ".lacuna").exists() and (out / ".lacuna" / "head").exists()


@pytest.mark.parametrize("argv, word", [((), "expects one DIR"), (("a", "b"), "expects one DIR"),
                                        (("/nowhere",), "No such file"), (("/etc/passwd",), "Not a directory"),
                                        (("--output", "/nowhere", "/var/empty-or-not"), "No such file")])
def test_wrong_arguments(lacunafs, argv, word):
    done = lacunafs.run("publish", *argv)
    assert done.returncode in (1, 2) and word in done.stderr and done.stderr.count("\n") == 1


def state(tree):
    """(root, what that index is) of a published tree; None: it is none."""
    if not (tree / ".lacuna" / "head").exists():
        return None
    index = published.Index(tree)  # it asserts that the index is whole
    index.objects_are_whole()
    return index.root


@pytest.fixture(params=["packs", "plain"])
def packs(request, lacunafs):
    if request.param == "packs":
        published.need_packs(lacunafs)
    return request.param == "packs"


def flag(packs):
    return "--pack" if packs else "--no-pack"


@pytest.mark.parametrize("mode", [faults.KILL, faults.TEAR])
def test_killed_at_each_step(lacunafs, scratch, faulty, mode, packs):
    """Before each call that changes the disk: the old version or the new one, and the next publish
    leaves nothing behind."""
    tree = scratch / "tree"
    trees.put(tree / "f", b"old")
    old = published.publish(lacunafs, tree, packs=packs).root
    trees.put(tree / "f", b"newer")
    trees.put(tree / "d" / "g", trees.noise(3, 200_000))
    faulty.set(faults.KILL, left=1 << 40)
    new, steps = None, 0
    seen = set()
    while True:
        saved = (tree / ".lacuna" / "head").read_bytes()
        faulty.set(mode, left=steps)
        done = lacunafs.run("publish", flag(packs), tree, env=faulty.env)
        faulty.clear()
        now = state(tree)
        if done.returncode == 0:
            new = now
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        seen.add(now)
        (tree / ".lacuna" / "head").write_bytes(saved)
        steps += 1
    assert steps > 8 and new != old and seen <= {old, new} and old in seen
    published.publish(lacunafs, tree, packs=packs)
    assert sorted(os.listdir(tree / ".lacuna")) == sorted(["head", f"index-{old}", f"index-{new}"]
                                                          + ["objects"] * packs)


def test_full_disk(lacunafs, scratch, faulty, packs):
    """No object of a version that is not published stays."""
    tree = scratch / "tree"
    trees.put(tree / "f", b"old")
    old = published.publish(lacunafs, tree, packs=packs)
    old, objects = old.root, [o[0] for o in old.objects()]
    trees.put(tree / "f", b"newer")
    for left in range(40):
        faulty.set(faults.GROWTH, errno.ENOSPC, left)
        done = lacunafs.run("publish", flag(packs), tree, env=faulty.env)
        first = faulty.clear()[1]
        if first is None:
            break
        if packs and done.returncode:  # the head is written last, after the index has its name
            made = set(os.listdir(tree / ".lacuna" / "objects")) - set(objects)
            assert not made or sum(n.startswith("index-") for n in os.listdir(tree / ".lacuna")) > 1
        assert done.returncode == 1 and "No space left" in done.stderr and state(tree) == old
        assert done.stderr.count("\n") == 1
        assert {"head", f"index-{old}"} <= set(os.listdir(tree / ".lacuna"))
        assert not [n for n in os.listdir(tree / ".lacuna") if n.startswith(".")]
    assert done.returncode == 0 and left > 2


def test_two_publishers(lacunafs, scratch):
    """The second one says so, at once."""
    tree = scratch / "tree"
    trees.put(tree / "f", b"f")
    published.publish(lacunafs, tree)
    with subprocess.Popen(["flock", tree / ".lacuna", "sleep", "60"]) as holder:
        def refused():
            return "another publish is under way" in lacunafs.run("publish", tree).stderr
        try:
            assert wait_until(refused)
        finally:
            holder.kill()


def test_tree_that_changes(lacunafs, scratch):
    """A file that is written to meanwhile: an error that names it, and nothing is published."""
    tree = scratch / "tree"
    with open(trees.pathlib.Path(tree.mkdir() or tree) / "f", "wb") as f:
        f.truncate(3 << 30)
        f.seek(2 << 30)
        f.write(b"data")
        for n in range(1024):  # no hole between: all of it is read
            f.seek(n << 20)
            f.write(b"x")
    writer = subprocess.Popen(["sh", "-c", f"while :; do printf x >> {tree}/f; done"])
    try:
        time.sleep(0.1)
        done = lacunafs.run("publish", tree)
    finally:
        writer.kill()
        writer.wait()
    assert done.returncode == 1 and "f: changed while" in done.stderr
    assert os.listdir(tree / ".lacuna") == []


def test_random_trees(lacunafs, scratch):
    """Names of all lengths at the edges of directory blocks, in an order of bytes; read back by the
    kernel."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    r = random.Random(seed)
    tree, point = scratch / "tree", scratch / "kernel"
    point.mkdir()
    tree.mkdir()
    here = tree
    for _ in range(12):
        here = here / "d"
        here.mkdir()
        for _ in range(r.choice([0, 1, 30, 340])):
            name = bytes(r.choice(b"!-.abZ~\xc3\xff") for _ in range(r.choice([1, 2, 8, 100, 255])))
            if name not in (b".", b".."):
                open(os.path.join(os.fsencode(here), name), "wb").close()
    index = published.publish(lacunafs, tree)
    published.kernel_mount(index, scratch, point)
    try:
        what = [a for a in published.ALL if a != "content"]
        assert trees.differences(tree, point, what, below_lacuna(tree)) == []
    finally:
        subprocess.run(["umount", point], check=True)
    found = published.checked(index, scratch)
    assert found is None or found[0], found[1]


def aged(tree):
    """An hour old: what is younger than the older version is read in any case."""
    for path in trees.walk(tree):
        if not path.startswith(b".lacuna"):
            at = os.path.join(os.fsencode(tree), path)
            os.utime(at, ns=(0, time.time_ns() - 3600 * 10**9 + len(path)), follow_symlinks=False)


def swap(path):
    """Other bytes, of the same size and time."""
    st, data = os.stat(path), path.read_bytes()
    path.write_bytes(bytes(b ^ 1 for b in data))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


@pytest.mark.sanitize
def test_from_an_older_version(lacunafs, everything, scratch):
    """What is unchanged by path, size and mtime is not read: bytes that changed without it are not
    seen. All else is exact: the index is the one of a publish without --from."""
    aged(everything)
    old = published.publish(lacunafs, everything)
    copy = scratch / "old-index"
    copy.write_bytes(old.data)
    swap(everything / "many" / "name-0007-xxxxxxx")
    for name, data in (("sizes/f4096", b"shorter"), ("new", b"new"), ("many/name-0009-xxxxxxxxx", b"9\n")):
        trees.put(everything / name, data)
    os.rename(everything / "big", everything / "moved")
    os.truncate(everything / "sparse", 41 << 20)
    indexes = []
    for start in (everything, everything / ".lacuna", copy):
        done = lacunafs.run("publish", "--no-pack", "--from", start, everything)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        kept = int(done.stdout.split(" files unchanged")[0].split("\n")[-1])
        assert 700 < kept < old.tail["files"] - 4, done.stdout
        indexes.append(published.Index(everything).data)
        (everything / ".lacuna" / "head").write_bytes(
            f"lacuna 1\nroot {old.root}\nsize {old.size}\nserial {old.serial}\n\n".ljust(511).encode() + b"\n")
    assert indexes[0] == indexes[1]
    whole = published.publish(lacunafs, everything)
    assert whole.data != indexes[0]
    swap(everything / "many" / "name-0007-xxxxxxx")
    whole = published.publish(lacunafs, everything)
    assert indexes[0] == whole.data and (os.path.getmtime(copy) < time.time() - 60 or indexes[2] != b"")
    swap(everything / "many" / "name-0007-xxxxxxx")
    done = lacunafs.run("publish", "--no-pack", "--from", everything, "--checksum", everything)
    assert "1 files changed, but not their time" in done.stderr and "unchanged," not in done.stdout


def test_from_trusts_no_young_file(lacunafs, scratch):
    """Written a moment before it was published, and again in the same tick: it is read."""
    tree = scratch / "tree"
    trees.put(tree / "f", b"one")
    os.utime(tree / "f", ns=(0, time.time_ns()))
    first = published.publish(lacunafs, tree)
    swap(tree / "f")
    assert published.publish(lacunafs, tree, "--from", tree).root != first.root


@pytest.mark.parametrize("spoil, word", [
    (lambda index: (index.folder / "head").unlink(), "No such file"), (lambda index: index.path.unlink(), "No such file"),
    (lambda index: index.path.write_bytes(index.data[:-1]), "not an index"),
    (lambda index: (index.folder / "head").write_bytes(b"x" * 512), "the head is invalid"),
])
def test_from_what_is_no_version(lacunafs, scratch, spoil, word):
    tree, old = scratch / "tree", scratch / "old"
    trees.put(tree / "f", b"f")
    trees.put(old / "f", b"f")
    spoil(published.publish(lacunafs, old))
    done = lacunafs.run("publish", "--no-pack", "--from", old, tree)
    assert done.returncode == 1 and word in done.stderr and done.stderr.count("\n") == 1
    assert not (tree / ".lacuna").exists()


def test_damaged_at_rest(lacunafs, everything):
    """Digests that cannot be used are computed; and the damaged index is replaced, though its name
    and its size are right."""
    aged(everything)
    index = published.publish(lacunafs, everything)
    at = index.tail["image_size"] - 20000
    assert at > published.BLOCK  # the first piece is used when it is opened
    damaged = index.data[:at] + b"damage" + index.data[at + 6:]
    for options in (("--from", everything), ()):
        index.path.write_bytes(damaged)
        assert published.publish(lacunafs, everything, *options).root == index.root  # it reads all of it
