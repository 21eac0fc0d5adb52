# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What is kept: across crashes, epochs and damage, nothing wrong is given out."""
import os
import random
import signal
import subprocess
import time

import pytest

import lying
import processes
import trees

CHUNK = trees.CHUNK


def local_file(m, name):
    return m.store / "tree" / name


def test_layout(mount, serve, tree):
    m = mount(serve(tree).url)
    (m / "sizes" / "f4097").read_bytes()
    assert {p.name for p in m.store.iterdir()} == {"tree", "state"}
    local = local_file(m, "sizes/f4097")
    assert local.read_bytes() == (tree / "sizes" / "f4097").read_bytes()


def test_sparse(mount, serve, tree):
    """A partial file takes the space of what is present."""
    m = mount(serve(tree).url, "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 1, 3 << 20)
    st = os.stat(local_file(m, "big"))
    assert st.st_size == (tree / "big").stat().st_size
    assert st.st_blocks * 512 <= 6 * CHUNK


@pytest.mark.sanitize
def test_kill_and_remount(mount, serve, tree):
    """The daemon's crash loses nothing: same boot, same page cache, same epoch."""
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0")
    truth = (tree / "big").read_bytes()
    with open(m / "big", "rb", buffering=0) as f:
        for chunk in range(0, 80, 3):
            os.pread(f.fileno(), 100, chunk * CHUNK)
    present = m.status("big")["present_chunks"]
    m.kill()
    server.forget()
    m = m.again()
    status = m.status("big")
    assert (status["present_chunks"], status["doubtful_chunks"]) == (present, 0)
    assert (m / "big").read_bytes() == truth
    assert sum(r.end - r.start + 1 for r in server.asked("/big", "GET")) < len(truth)


@pytest.mark.sanitize
def test_kill_at_any_moment(mount, serve, tree):
    """kill -9 during fills, again and again; what the store has is the truth."""
    server = serve(tree)
    server.lie("/big", lying.slow(20_000_000))
    truth, choose = (tree / "big").read_bytes(), random.Random(3)
    m = mount(server.url)
    for _ in range(8):
        with processes.Child(["cat", m / "big", m / "sizes" / "f65537"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) as reader:
            time.sleep(choose.random() * 0.15)
            os.kill(m.pid, signal.SIGKILL)
            reader.wait()
        m.abandon()
        m = m.again()
    server.honest()
    assert (m / "big").read_bytes() == truth
    assert trees.differences(tree / "sizes", m / "sizes") == []


def damage(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 1]))


@pytest.mark.sanitize
def test_end_epoch_verifies(mount, serve, tree):
    """In a new epoch after an unclean stop a chunk counts only if its bytes hash to what was
    recorded."""
    server = serve(tree)
    m = mount(server.url)
    truth = (tree / "big").read_bytes()
    assert (m / "big").read_bytes() == truth
    m.kill()
    local = local_file(m, "big")
    damage(local, 5 * CHUNK + 77)
    damage(local, len(truth) - 1)
    with open(local, "r+b") as f:  # a lost write: zeros where data should be
        f.seek(20 * CHUNK)
        f.write(bytes(CHUNK))
    server.forget()
    m = m.again("-o", "end_epoch")
    assert (m / "big").read_bytes() == truth
    asked = server.asked("/big", "GET")
    chunks = {c for r in asked for c in range(r.start // CHUNK, r.end // CHUNK + 1)}
    assert {5, 20, (len(truth) - 1) // CHUNK} <= chunks
    assert len(chunks) < 40, "sound chunks were fetched again"
    assert m.status()["chunks"]["verified"] > 0


def test_end_epoch_offline(mount, serve, tree):
    """Verified where it is sound; an error, never a zero, where it is not."""
    server = serve(tree)
    m = mount(server.url)
    truth = (tree / "big").read_bytes()
    (m / "big").read_bytes()
    m.kill()
    damage(local_file(m, "big"), 5 * CHUNK)
    server.stop()
    m = m.again("-o", "end_epoch,retries=0,connect_timeout=200ms")
    with open(m / "big", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 100, 0) == truth[:100]
        with pytest.raises(OSError) as e:
            os.pread(f.fileno(), 100, 5 * CHUNK)
        assert e.value.errno == 5


def test_local_file_removed_behind_our_back(mount, serve, tree):
    """A store whose files were deleted fetches them again."""
    server = serve(tree)
    m = mount(server.url)
    (m / "big").read_bytes()
    m.umount()
    local_file(m, "big").unlink()
    m = m.again()
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


def test_local_file_replaced(mount, serve, tree):
    """A copy put in place of a local file is not bound to its map."""
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 10, 0)
    m.umount()
    local = local_file(m, "big")
    size = local.stat().st_size
    local.unlink()
    with open(local, "wb") as f:
        f.truncate(size)
    m = m.again()
    with open(m / "big", "rb", buffering=0) as f:
        got = os.pread(f.fileno(), 100, 0)
    # design: a file without an id is plain local content; its zeros are then what it has
    assert got in (bytes(100), (tree / "big").read_bytes()[:100])


@pytest.mark.parametrize("what", ["empty", "cut", "noise"])
def test_broken_state(mount, serve, tree, what):
    """Any state file damaged: refused in one line, or fetched again; never wrong bytes."""
    server = serve(tree)
    m = mount(server.url)
    trees.differences(tree / "sizes", m / "sizes")
    (m / "big").read_bytes()
    m.umount()
    files = [p for p in (m.store / "state").rglob("*") if p.is_file() and p.stat().st_size
             and p.name != "log"]
    assert files
    choose = random.Random(4)
    for file in choose.sample(files, min(6, len(files))):
        kept = file.read_bytes()
        file.write_bytes({"empty": b"", "cut": kept[:len(kept) // 2],
                          "noise": choose.randbytes(len(kept))}[what])
        done = m.program.run("mount", server.url, m.path, "--store", m.store)
        if done.returncode == 0:
            try:
                assert trees.differences(tree / "sizes", m / "sizes") == [], file.name
                assert (m / "big").read_bytes() == (tree / "big").read_bytes(), file.name
            except OSError as e:
                assert e.errno == 5, file.name
            assert m.program.run("umount", m.path).returncode == 0
            time.sleep(0.2)
        else:
            assert len(done.stderr.splitlines()) == 1
        if file.exists():
            file.write_bytes(kept)


def test_symlink_in_the_store_is_not_followed(mount, serve, tree, scratch):
    (scratch / "outside").mkdir()
    server = serve(tree)
    m = mount(server.url)
    os.listdir(m.path)
    m.umount()
    os.symlink(scratch / "outside", m.store / "tree" / "sizes")
    m = m.again("-o", "retries=0")
    try:
        (m / "sizes" / "f4096").read_bytes()
    except OSError:
        pass
    assert os.listdir(scratch / "outside") == []


def test_chunk_sizes(mount, serve, tree):
    server = serve(tree)
    for size in ("4K", "64K", "4M"):
        m = mount(server.url, "-o", f"chunk_size={size},readahead=0")
        assert (m / "big").read_bytes() == (tree / "big").read_bytes()
        assert m.status("big")["chunk_size"] == {"4K": 4096, "64K": 65536, "4M": 4 << 20}[size]
        assert trees.differences(tree / "sizes", m / "sizes") == []
