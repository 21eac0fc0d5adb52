# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What all tests share: where the builds are, and that a skip is a failure in CI."""
import os

import pytest


def pytest_addoption(parser):
    parser.addoption("--build", default="build", help="build directory under test")
    parser.addoption("--asan", help="the same with -Db_sanitize=address,undefined")
    parser.addoption("--tsan", help="the same with -Db_sanitize=thread")
    parser.addoption("--fuzz-seconds", type=int, default=5, help="of each fuzz target")
    parser.addoption("--seed", type=int, help="of the random tests")
    parser.addoption("--kernel-tree", help="an unpacked kernel source, ≥ 50,000 files")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in CI: {call.excinfo.value}"
