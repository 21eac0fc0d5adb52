# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A tree of more than 50,000 real files under nginx: the whole of it, and little of it."""
import os
import pathlib
import subprocess
import time

import pytest

import servers


@pytest.fixture(scope="module")
def kernel_tree(request):
    path = request.config.getoption("kernel_tree")
    if path is None:
        pytest.skip("no --kernel-tree")
    path = pathlib.Path(path)
    assert sum(len(files) for _, _, files in os.walk(path)) >= 50_000
    return path


def unifdef(root):
    """A program of the tree, doing some work."""
    done = subprocess.run([root / "scripts" / "unifdef", "-DCONFIG_MMU",
                           root / "include" / "linux" / "mm.h"], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.patience(900)
@pytest.mark.parametrize("format", ["html", "json"])
def test_kernel_tree(mount, web, kernel_tree, format):
    server = web(servers.Nginx, kernel_tree, format=format)
    before = time.monotonic()
    m = mount(server.url)
    assert sorted(os.listdir(m.path)) == sorted(os.listdir(kernel_tree))
    assert time.monotonic() - before < 1

    wanted = unifdef(kernel_tree)
    assert len(wanted) > 10_000
    assert unifdef(m.path) == wanted
    held = sum(p.stat().st_blocks * 512 for p in (m.store / "tree").rglob("*"))
    assert held < 16 << 20, "most of the tree should be absent"
    if format == "json":  # the rest is the same
        return

    before = time.monotonic()
    done = subprocess.run(["diff", "-r", kernel_tree, m.path], capture_output=True, text=True)
    print(f"diff -r, nothing fetched before: {time.monotonic() - before:.1f} s")
    assert (done.returncode, done.stdout[:5000], done.stderr[:5000]) == (0, "", "")
    m.umount()
    server.stop()
    m = m.again()
    assert unifdef(m.path) == wanted
    before = time.monotonic()
    done = subprocess.run(["diff", "-r", kernel_tree, m.path], capture_output=True, text=True)
    print(f"diff -r without the server: {time.monotonic() - before:.1f} s")
    assert (done.returncode, done.stdout[:5000], done.stderr[:5000]) == (0, "", "")
