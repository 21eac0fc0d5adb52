# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""publish --check, which names what is wrong, and publish --gc, which removes older versions and
nothing else."""
import errno
import os
import signal
import subprocess
import time

import pytest

import faults
import published
import trees
from processes import wait_until


@pytest.fixture
def everything(scratch):
    return published.make_everything(scratch / "tree")


def check(lacunafs, tree, *options):
    """(status, {file: what is wrong}, last line)"""
    done = lacunafs.run("publish", "--check", *options, tree)
    lines = done.stdout.splitlines()
    return done.returncode, dict(line.split(": ", 1) for line in lines[:-1]), \
        (lines or [""])[-1] + done.stderr


@pytest.mark.sanitize
def test_check(lacunafs, everything):
    """Each kind of damage, once; a large file has it in each of its pieces."""
    trees.put(everything / "large", trees.noise(5, 9 << 20))
    index = published.publish(lacunafs, everything)
    status, wrong, last = check(lacunafs, everything)
    assert (status, wrong) == (0, {}) and index.root in last and "none wrong" in last
    with open(everything / "large", "r+b") as f:
        for at in (100, 5 << 20, (9 << 20) - 1):
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1]))
    with open(everything / "hole", "r+b") as f:
        f.seek(3 << 20)
        f.write(b"x")
    trees.put(everything / "sizes" / "f1", b"22")
    os.unlink(everything / "many" / "name-0008-xxxxxxxx")
    os.unlink(everything / "empty" / "hard-big")
    os.mkfifo(everything / "empty" / "hard-big")
    os.unlink(everything / "odd" / "a\nb")
    os.rename(everything / "a", everything / "moved")
    os.symlink("moved", everything / "a")
    trees.put(everything / "more", b"not in the index: not wrong")
    status, wrong, last = check(lacunafs, everything)
    assert status == 1 and last.endswith("7 wrong")
    assert set(wrong) == {"large", "hole", "sizes/f1", "many/name-0008-xxxxxxxx", "empty/hard-big", "odd/a\\x0ab",
                          "a/b/c/d/e/f/g/h/bottom"}
    assert wrong["large"].startswith("block ") and "expected sha256:" in wrong["large"]
    assert "expected zeros" in wrong["hole"] and wrong["sizes/f1"] == "has 2 bytes, expected 1"
    assert wrong["empty/hard-big"] == "not a regular file"


def test_packs(lacunafs, everything):
    """A pack that is damaged, short or missing; and only those that no version refers to are garbage."""
    published.need_packs(lacunafs)
    published.publish(lacunafs, everything, packs=True)
    objects = everything / ".lacuna" / "objects"
    first = {name: (objects / name).read_bytes() for name in os.listdir(objects)}
    for spoil, word in ((lambda p, d: p.write_bytes(d[:-1] + bytes([d[-1] ^ 1])), "expected sha256:"),
                        (lambda p, d: p.write_bytes(d[:-1]), "bytes, expected"),
                        (lambda p, d: p.unlink(), "No such file")):
        for name, data in first.items():
            spoil(objects / name, data)
        status, wrong, _ = check(lacunafs, everything)
        assert status == 1 and set(wrong) == {f".lacuna/objects/{name}" for name in first}
        assert all(word in what for what in wrong.values())
        for name, data in first.items():
            (objects / name).write_bytes(data)
    trees.put(everything / "many" / "name-0001-x", b"other")
    published.publish(lacunafs, everything, packs=True)
    (objects / ("0" * 64)).write_bytes(b"of an interrupted publish")
    (objects / "strange").write_bytes(b"not ours")
    assert gc(lacunafs, everything).returncode == 0 and len(os.listdir(objects)) > len(first) + 1
    assert gc(lacunafs, everything, "--grace", "0s").returncode == 0
    assert check(lacunafs, everything)[:2] == (0, {})
    left = set(os.listdir(objects)) - {"strange"}
    assert "strange" in os.listdir(objects) and "0" * 64 not in left and set(first) - left
    assert len(left) == published.Index(everything).tail["object_count"]


def test_gc_keeps_packs_of_what_stays(lacunafs, everything):
    """A version within the grace time that cannot be read: its packs are not known, and all stay."""
    published.need_packs(lacunafs)
    index = published.publish(lacunafs, everything, packs=True)
    trees.put(everything / "many" / "name-0001-x", b"other")
    published.publish(lacunafs, everything, packs=True)
    index.path.write_bytes(index.data[:-1000])
    before = set(os.listdir(everything / ".lacuna")), set(os.listdir(everything / ".lacuna" / "objects"))
    done = gc(lacunafs, everything, "--grace", "1h")
    assert done.returncode == 1 and index.path.name in done.stderr
    assert before == (set(os.listdir(everything / ".lacuna")), set(os.listdir(everything / ".lacuna" / "objects")))


def test_check_of_a_damaged_index(lacunafs, scratch):
    tree = scratch / "tree"
    trees.put(tree / "f", b"f")
    for spoil, word in ((lambda i: i.path.write_bytes(i.data[:5000] + b"x" + i.data[5001:]), "damaged from byte"),
                        (lambda i: i.path.unlink(), "No such file"), (lambda i: (i.folder / "head").unlink(), "No such file"),
                        (lambda i: (i.folder / "head").write_bytes(b"?" * 512), "the head is invalid")):
        spoil(published.publish(lacunafs, tree))
        status, wrong, last = check(lacunafs, tree)
        assert status == 2 and not wrong and word in last and last.count("\n") == 1
        done = lacunafs.run("publish", "--gc", "--grace", "0s", tree)
        assert done.returncode == 1 and word in done.stderr
    assert check(lacunafs, tree / "nowhere")[0] == 2


def test_check_apart(lacunafs, everything, scratch):
    out = scratch / "apart"
    out.mkdir()
    assert lacunafs.run("publish", "--output", out, everything).returncode == 0
    assert check(lacunafs, everything, "--output", out)[:2] == (0, {})


def test_check_is_interrupted(lacunafs, scratch):
    tree = scratch / "tree"
    tree.mkdir()
    with open(tree / "f", "wb") as f:
        f.truncate(1 << 40)
    assert lacunafs.run("publish", tree).returncode == 0
    with lacunafs.start("publish", "--check", tree, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        def reads():
            return any(os.readlink(p).endswith("/f") for p in trees.pathlib.Path(f"/proc/{child.pid}/fd").iterdir()
                       if p.is_symlink())
        try:
            assert wait_until(lambda: quietly(reads))
            child.send_signal(signal.SIGINT)
            assert child.wait(60) == 2 and "interrupted" in child.stderr.read()
        finally:
            child.kill()


def quietly(condition):
    try:
        return condition()
    except OSError:
        return False


def versions(lacunafs, tree, count, *options):
    roots = []
    for n in range(count):
        trees.put(tree / "f", b"%d" % n)
        roots.append(published.publish(lacunafs, tree, *options).root)
    return roots


def names(tree):
    return set(os.listdir(tree / ".lacuna"))


def gc(lacunafs, tree, *options, **more):
    return lacunafs.run("publish", "--gc", *options, tree, **more)


def test_gc(lacunafs, scratch):
    """By the time when a version was replaced, not by when it was made; never the current one, and
    never another file."""
    tree, key = scratch / "tree", scratch / "key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    roots = versions(lacunafs, tree, 3, "--sign", key)
    folder = tree / ".lacuna"
    for n, root in enumerate(roots):  # made long ago
        os.utime(folder / f"index-{root}", ns=(0, n))
    strange = ["index-", "index-12", f"index-{'0' * 63}g", f"index-{'0' * 65}", f"other-{'0' * 64}", "x",
               f"index-{'A' * 64}", f"index-{'0' * 64}.gz"]
    for name in strange:
        trees.put(folder / name, b"not ours")
    (folder / f"index-{'0' * 64}").mkdir()
    (folder / f"index-{'1' * 64}").symlink_to("x")
    before = names(tree)
    done = gc(lacunafs, tree)
    assert done.returncode == 0 and "0 files removed" in done.stdout and "; 4 are younger" in done.stdout
    assert names(tree) == before
    done = gc(lacunafs, tree, "--grace", "0s")
    assert done.returncode == 0 and "4 files removed" in done.stdout, done.stdout + done.stderr
    assert before - names(tree) == {f"{kind}-{root}" for kind in ("index", "head") for root in roots[:2]}
    assert check(lacunafs, tree)[0] == 0


def test_gc_counts_from_the_replacement(lacunafs, scratch):
    """A version that was current for long, and was replaced just now, stays."""
    tree = scratch / "tree"
    old = versions(lacunafs, tree, 1)[0]
    published_at = os.stat(tree / ".lacuna" / f"index-{old}").st_ctime_ns
    time.sleep(0.1)  # ctime has no other clock
    versions(lacunafs, tree, 2)
    assert os.stat(tree / ".lacuna" / f"index-{old}").st_ctime_ns > published_at + 10**8
    assert "0 files removed" in gc(lacunafs, tree, "--grace", "1h").stdout


def test_gc_beside_a_publish(lacunafs, scratch):
    """Nothing is removed, not even the unfinished files of the other one."""
    tree = scratch / "tree"
    versions(lacunafs, tree, 2)
    trees.put(tree / ".lacuna" / ".tmp-index", b"unfinished")
    before = names(tree)
    folder = tree / ".lacuna"
    with subprocess.Popen(["flock", "--no-fork", folder, "sleep", "60"]) as holder:
        try:
            assert wait_until(lambda: subprocess.run(["flock", "--nonblock", folder, "true"]).returncode != 0)
            assert "another publish is under way" in gc(lacunafs, tree, "--grace", "0s").stderr
            assert names(tree) == before
        finally:
            holder.kill()
    assert len([n for n in names(tree) if n.startswith("index-")]) == 2


def test_gc_when_the_look_failed(lacunafs, scratch, faulty):
    """A folder that cannot be read to its end: nothing is removed."""
    tree = scratch / "tree"
    versions(lacunafs, tree, 3)
    before, left = names(tree), 0
    while True:
        faulty.set(faults.SCAN, errno.EIO, left)
        done = gc(lacunafs, tree, "--grace", "0s", env=faulty.env)
        faulty.clear()
        if done.returncode == 0:
            break
        assert left < 100 and done.returncode == 1 and "Input/output error" in done.stderr and names(tree) == before
        left += 1
    assert left > 4 and len(names(tree)) == 2


@pytest.mark.parametrize("argv, word", [
    (("--check", "--gc", "d"), "excludes --gc"), (("--gc", "--sign", "k", "d"), "publish nothing"),
    (("--grace", "1d", "d"), "needs --gc"), (("--gc", "--grace", "soon", "d"), "expects a time"),
    (("--gc", "--grace", "-1", "d"), "expects a time"),
    (("--gc", "--grace", "1000000d", "d"), "expects a time"), (("--gc", "--grace", "", "d"), "must not be empty"),
    (("--checksum", "d"), "needs --from"), (("--gc",), "expects one DIR"),
])
def test_wrong_arguments(lacunafs, argv, word):
    done = lacunafs.run("publish", *argv)
    assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") == 1
