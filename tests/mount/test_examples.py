# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The programs in examples/ do what they say."""
import pathlib
import subprocess

import lying
import processes

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def example(name, *args):
    return subprocess.run([EXAMPLES / name, *args], capture_output=True, text=True, timeout=30)


def test_who_waits(mount, serve, tree):
    server = serve(tree)
    server.lie("/big", lying.stall(), ranges=True)
    m = mount(server.url)
    assert example("who-waits", m.path).stdout == ""
    with processes_reading(m / "big"):
        processes.wait_until(lambda: m.status()["transfers"])
        said = example("who-waits", m.path)
    assert said.returncode == 0 and "cat: " in said.stdout and "/big since" in said.stdout


def test_who_waits_elsewhere(scratch):
    said = example("who-waits", scratch)
    assert said.returncode == 1 and len(said.stderr.splitlines()) == 1


class processes_reading:
    """A `cat` of the file, killed at the end."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.cat = subprocess.Popen(["cat", self.path], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)

    def __exit__(self, *_):
        self.cat.kill()
        self.cat.wait()
