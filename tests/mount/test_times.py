# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Times of access and of change: reads and writes move them, the daemon does not."""
import os
import subprocess
import time

import pytest

import trees

OLD = 1_600_000_000


@pytest.mark.sanitize
def test_times_of_change_are_those_of_changes(mount, scratch):
    """What is fetched into the store changes nothing; what is done to a file or directory does."""
    root = scratch / "source"
    for n in range(3):
        trees.put(root / "d" / f"f{n}", trees.noise(n, 100_000), OLD)
    for name in ("big", "other"):
        trees.put(root / name, trees.noise(9, 2 << 20), OLD)
    m = mount(root, "-o", "rw,readahead=0")

    def moved(name, call, *arguments):
        before = os.stat(m / name).st_ctime_ns
        time.sleep(0.02)  # the clock of a file system is coarse
        call(*arguments)
        return os.stat(m / name).st_ctime_ns - before
    (m / "d" / "new").write_bytes(b"x")
    assert moved("d", (m / "d" / "f0").read_bytes) == 0
    assert moved("d", os.chmod, m / "d" / "f1", 0o600) == 0
    assert moved("d", os.unlink, m / "d" / "f0") > 0
    assert moved("d", os.rename, m / "d" / "f1", m / "d" / "f3") > 0
    assert moved("d", (m / "d" / "f2").read_bytes) == 0
    assert moved("d", os.mkdir, m / "d" / "inner") > 0
    os.chmod(m / "other", 0o600)
    assert moved("other", (m / "other").read_bytes) == 0
    assert m.program.run("evict", m / "other").returncode == 0
    assert moved("other", lambda: None) == 0
    assert moved("other", os.setxattr, m / "other", "user.x", b"1") > 0
    with open(m / "big", "r+b", buffering=0) as f:
        assert moved("big", os.pwrite, f.fileno(), b"x", 1_000_000) > 0
        assert moved("big", os.pread, f.fileno(), 1000, 1_500_000) == 0
        assert moved("big", os.fsync, f.fileno()) == 0
        assert moved("big", os.truncate, m / "big", 1 << 20) > 0
    assert moved("big", (m / "big").read_bytes) == 0
    assert moved("big", os.link, m / "big", m / "linked") > 0
    tar = subprocess.run(["tar", "-C", m.path, "-cf", "/dev/zero", "."], capture_output=True, text=True)
    assert tar.returncode == 0, tar.stderr


@pytest.mark.parametrize("options", ["rw", "rw,noatime", "rw,passthrough=no"])
@pytest.mark.parametrize("state", ["made", "kept", "in part"])
def test_access_times(mount, scratch, state, options):
    """Who asks for no access to be noted has none noted, though the daemon reads for him."""
    root = scratch / "source"
    trees.put(root / "f", trees.noise(1, 100_000), OLD)
    m = mount(root, "-o", options)
    path = m / ("new" if state == "made" else "f")
    if state == "made":
        path.write_bytes(b"x" * 100_000)
    elif state == "kept":
        path.chmod(0o600)
    else:
        with open(path, "r+b") as f:
            f.write(b"x")
    os.utime(path, ns=(OLD * 10**9, OLD * 10**9))
    time.sleep(0.1)  # the RELEASE is on its way

    def accessed(flags):
        fd = os.open(path, os.O_RDONLY | flags)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        while os.read(fd, 65536):
            pass
        os.close(fd)
        return os.stat(path).st_atime != OLD
    assert not accessed(os.O_NOATIME)
    if "noatime" in options:
        assert not accessed(0)
    elif state == "made":
        assert accessed(0)
