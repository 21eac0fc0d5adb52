# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Several are told to mount at one directory at once: one does."""
import concurrent.futures
import pathlib

import trees

AT_ONCE = 4
ROUNDS = 10


def mounted_at(path):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return sum(line.split()[4] == str(path) for line in lines)


def test_of_several_at_once_one_mounts(lacunafs, scratch):
    trees.put(scratch / "src" / "f", b"f")
    point = scratch / "point"
    point.mkdir()
    for one in range(AT_ONCE):
        (scratch / f"store{one}").mkdir(mode=0o700)

    def start(one):
        return lacunafs.run("mount", scratch / "src", point, "--store", scratch / f"store{one}")

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            done = list(pool.map(start, range(AT_ONCE)))
            mounted = mounted_at(point)
            left = [lacunafs.run("umount", point) for _ in range(mounted)]
            assert [d.returncode for d in done].count(0) == mounted == 1, done
            assert all(d.returncode == 0 for d in left), left
            for d in done:
                assert d.returncode == 0 or (d.returncode == 1 and d.stderr ==
                    f"lacunafs: {point}: busy: dir:{scratch / 'src'} is mounted there\n"), d.stderr
    assert not mounted_at(point)
