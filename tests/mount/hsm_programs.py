# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Programs written for fanotify, built once for all tests that run them with `lacunafs hsm`."""
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent

PROGRAMS = {"events": ["events.c", "events_rows.c", "events_uring.c"], "calls": ["calls.c"],
            "descriptors": ["descriptors.c"], "populate": ["populate.c"],
            "mixed": ["mixed.c"], "crowd": ["crowd.c"]}


@pytest.fixture(scope="session")
def programs(session_scratch):
    """name → the program's path"""
    built = {}
    for name, sources in PROGRAMS.items():
        built[name] = session_scratch / name
        subprocess.run(["gcc", "-O1", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-o", built[name],
                        *(HERE / s for s in sources), "-lpthread"], check=True)
    return built
