# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Where a store lies: nowhere after a mount that failed, not in a mount of ours, on overlayfs, and
not there any more."""
import errno
import os
import shutil
import subprocess

import pytest

OPTIONS = ("-o", "rw,allow_other")


@pytest.fixture
def source(scratch):
    d = scratch / "source"
    (d / "d").mkdir(parents=True)
    (d / "f").write_bytes(b"f" * 300_000)
    (d / "small").write_bytes(b"small")
    (d / "d" / "g").write_bytes(b"g" * 100_000)
    return d


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root to mount overlayfs")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("why", ["source", "mountpoint"])
def test_a_mount_that_fails_leaves_no_store(lacunafs, scratch, source, there, why):
    point, store = scratch / "point", scratch / "store"
    point.mkdir()
    if there:
        store.mkdir()
    if why == "source":
        done = lacunafs.run("mount", "http://127.0.0.1:9/", point, "--store", store,
                            "-o", "connect_timeout=2s,retries=0,wait_timeout=5s")
        expected = 1
    else:  # libfuse refuses it, after all else is there
        done = lacunafs.run("mount", source, point, "--store", store, "-o", "no_such_option")
        expected = 2
    assert done.returncode == expected, done.stderr
    assert store.exists() == there
    assert not there or os.listdir(store) == []


def test_a_mount_that_fails_leaves_a_store_that_was_there(lacunafs, scratch, source):
    m = lacunafs.mount(source, *OPTIONS)
    (m / "born").write_bytes(b"born")
    m.umount()
    assert lacunafs.run("mount", source, m.path, "--store", m.store,
                        "-o", "no_such_option").returncode == 2
    m = m.again()
    assert (m / "born").read_bytes() == b"born"


def test_a_store_in_a_mount_of_ours(mount, lacunafs, scratch, source):
    m = mount(source, *OPTIONS)
    (scratch / "point").mkdir()
    done = lacunafs.run("mount", source, scratch / "point", "--store", m / "d" / "store")
    assert done.returncode != 0
    assert f"a store cannot lie in a lacunafs mount ({m.path}, of dir:{source})" in done.stderr
    assert not (m / "d" / "store").exists()


@pytest.mark.parametrize("gone", ["store", "state", "tree"])
def test_a_store_that_is_removed_while_it_is_mounted(mount, source, gone):
    """An error that says so, whatever is done; what is open goes on."""
    m = mount(source, *OPTIONS, "--log", source.with_name("log"))
    (m / "f").read_bytes()
    with open(m / "f", "rb") as f:
        shutil.rmtree(m.store if gone == "store" else m.store / gone)
        for act in (lambda: (m / "d" / "g").read_bytes(), lambda: (m / "small").read_bytes(),
                    lambda: (m / "new").write_bytes(b"new"), lambda: os.mkdir(m / "dir"),
                    lambda: os.chmod(m / "small", 0o600), lambda: os.unlink(m / "small"),
                    lambda: os.rename(m / "small", m / "other")):
            with pytest.raises(OSError) as e:
                act()
            assert e.value.errno == errno.EIO
        assert f.read() == b"f" * 300_000
        assert sorted(os.listdir(m.path)) == ["d", "f", "small"]
    m.log_settle()
    said = source.with_name("log").read_text()
    assert said.count("the store was removed while it was mounted") == 1
    m.umount()


class Overlay:
    def __init__(self, scratch, name, lower):
        dirs = [scratch / name / d for d in ("upper", "work", "mount")]
        for d in dirs:
            d.mkdir(parents=True)
        self.path = dirs[2]
        self.mounted = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir={lower},upperdir={dirs[0]},workdir={dirs[1]}", self.path],
            capture_output=True).returncode == 0


@pytest.fixture
def overlay(root, scratch):
    made = []

    def make(lower):
        made.append(Overlay(scratch, f"overlay{len(made)}", lower))
        return made[-1]

    yield make
    for o in reversed(made):
        subprocess.run(["umount", "-l", o.path], capture_output=True)


@pytest.mark.parametrize("overlays, passthrough, deep", [(None, True, 1), ("0", True, 1),
                                                         ("1", True, 1), ("2", False, 2)])
def test_overlays_over_a_mount(mount, source, overlay, overlays, passthrough, deep):
    m = mount(source, "-o", "rw,allow_other" + (f",overlays={overlays}" if overlays else ""))
    lower = m.path
    assert m.status()["passthrough"]["usable"] == passthrough
    for level in range(deep + 1):
        o = overlay(lower)
        assert o.mounted == (level < deep)
        if o.mounted:
            lower = o.path
            assert (lower / "f").read_bytes() == b"f" * 300_000
            (lower / "small").write_bytes(b"changed")


@pytest.mark.parametrize("overlays, passthrough", [(None, True), ("0", True), ("1", False)])
def test_a_store_on_overlayfs(mount, scratch, source, overlay, overlays, passthrough):
    base = scratch / "base"
    base.mkdir()
    outer = overlay(base)
    assert outer.mounted
    m = mount(source, "-o", "rw,allow_other" + (f",overlays={overlays}" if overlays else ""),
              store=outer.path / "store")
    assert m.status()["passthrough"]["usable"] == passthrough
    assert overlay(m.path).mounted == (not passthrough)
    assert ("-o overlays=1 allows it" in m.log()) == (overlays is None)
    assert (m / "f").read_bytes() == b"f" * 300_000
