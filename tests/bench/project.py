# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""C projects that are configured and built inside the tree that is measured.

build() takes a pristine tree and returns seconds; finish() makes distclean and tells what the
tree then takes of the disk. Both raise Failed where a column's tree comes out different from
that of the column that came first, which is the native one where that takes part.
Reproducible: dates and names that a build would take from the machine are given to it.
"""
import hashlib
import os
import subprocess
import time

import machine

GIVEN = {"LC_ALL": "C", "SOURCE_DATE_EPOCH": "1700000000", "KCONFIG_NOTIMESTAMP": "1",
         "KBUILD_BUILD_TIMESTAMP": "@1700000000", "KBUILD_BUILD_USER": "bench",
         "KBUILD_BUILD_HOST": "bench", "KBUILD_BUILD_VERSION": "1"}


class Project:
    """steps: argv each, run in the tree; product: what they make.
    whole: its tree after distclean is read and compared, too."""

    def __init__(self, steps, product, whole):
        self.steps, self.product, self.whole = steps, product, whole
        self.first = {}

    def step(self, column, argv):
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS")}
        try:
            done = subprocess.run(argv, cwd=column.path, env=dict(environment, **GIVEN),
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", timeout=machine.PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise machine.Failed(f"{argv[0]}: nothing after {machine.PATIENCE} s") from None
        if done.returncode != 0:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise machine.Failed(lines[-1] if lines else f"{argv[0]}: {done.returncode}")

    def agree(self, what, found):
        if self.first.setdefault(what, found) != found:
            raise machine.Failed(f"another {what} than the first column's: {found}")

    def build(self, _scratch, column, _=0):
        began = time.monotonic()
        for argv in self.steps:
            self.step(column, argv)
        seconds = time.monotonic() - began
        with open(column.path / self.product, "rb") as f:
            self.agree(self.product, hashlib.sha256(f.read()).hexdigest())
        return seconds

    def finish(self, scratch, column, number):
        """{kept: bytes of disk}"""
        self.step(column, ["make", "-s", "distclean"])
        os.sync()
        time.sleep(0.5)  # files are released when the mount comes to it
        kept = machine.used(column.kept())
        if self.whole and number == 0:
            self.agree("tree after distclean", scratch.tool("walk", "sum", column.path)[1:])
        return {"kept": kept}


MAKE = ["make", "-s", f"-j{os.cpu_count()}"]
BUSYBOX = Project((["make", "-s", "defconfig"],
                   # tc does not compile with the headers of Linux 6.8 and later
                   ["sed", "-i", "s/^CONFIG_TC=y/# CONFIG_TC is not set/", ".config"], MAKE),
                  "busybox", True)
KERNEL = Project((["make", "-s", "tinyconfig"], [*MAKE, "vmlinux"]), "vmlinux", False)
