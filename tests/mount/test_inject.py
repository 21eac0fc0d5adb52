# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""crash_points.py --inject for half a minute: system calls of the store that fail, at random; the
seed is printed, and taken with --seed."""
import pytest

import crash_points
import injecting


@pytest.fixture
def disk(volume):
    """Fresh: a directory of many files is made for each point."""
    path = volume("ext4", 200).path / "d"
    path.mkdir()
    return path


def some(choose, campaign, points):
    tried, wrong = campaign.torture(lambda p: choose.sample(p, min(points, len(p))))
    assert not wrong, wrong[0]
    assert tried == points


@pytest.mark.patience(600)
def test_any_call_fails(disk, lacunafs, choose):
    rows = [*choose.sample(crash_points.rows(), 20), *injecting.verbs()]
    some(choose, injecting.Campaign(lacunafs, disk, rows), 200)


@pytest.mark.patience(600)
def test_a_look_that_fails(disk, lacunafs, choose):
    """What is not known is not taken for absent: mode, owner, seals, names and maps stay."""
    rows = crash_points.rows("^kept: truncate$|^hard links kept, unlink all$|^remote: chown$")
    some(choose, injecting.Campaign(lacunafs, disk, rows, ["EIO"]), 150)


@pytest.mark.patience(600)
def test_mount_and_umount(disk, lacunafs, choose):
    tried, wrong = injecting.Mounts(lacunafs, disk).torture(
        ["EIO", "ENOMEM", "EMFILE", "ENOSPC"], lambda p: choose.sample(p, 24))
    assert not wrong, wrong[0]
    assert tried == 24
