# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The C tests, one pytest case for each of theirs, with every build that was given.

The programs run beside each other, one per processor: each is a process with directories, ports and
descriptors of its own. Only the programs of selected cases run, in the order of the cases.
"""
import concurrent.futures
import json
import os
import re
import subprocess

import pytest

SANITIZERS = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=1:detect_stack_use_after_return=1",
              "UBSAN_OPTIONS": "exitcode=99:print_stacktrace=1:halt_on_error=1",
              "TSAN_OPTIONS": "exitcode=99:second_deadlock_stack=1"}


def argv_of(build, variant, words):
    # Thread sanitizers of 2022 know no kernel with so much address randomness.
    return (["setarch", "-R"] if variant == "tsan" else []) + words


def introspect(build):
    done = subprocess.run(["meson", "introspect", "--tests", build], check=True, capture_output=True)
    return [t for t in json.loads(done.stdout)
            if "fuzz" not in t["suite"] and "lacunafs" in t["suite"][0]]


def cases(words):
    """Names of a GLib test program's cases; none for another kind of program."""
    if not os.path.exists(words[-1]) and not os.path.exists(words[0]):
        return []
    done = subprocess.run([*words, "-l"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **SANITIZERS})
    names = [line for line in done.stdout.splitlines() if line.startswith("/")]
    return names if done.returncode == 0 else []


def pytest_generate_tests(metafunc):
    found = []
    config = metafunc.config
    for variant in ("plain", "asan", "tsan"):
        build = config.getoption("build" if variant == "plain" else variant)
        if not build or not os.path.isdir(build):
            continue
        for test in introspect(build):
            words = argv_of(build, variant, test["cmd"])
            # None: the program as a whole, since leaks and races show at its end
            for case in [None, *cases(words)]:
                name = f"{test['name']}{case or ''}-{variant}"
                found.append(pytest.param(words, test, case, id=name))
    metafunc.parametrize("words, test, case", found)


def run(words, test):
    env = {**os.environ, **SANITIZERS, **test["env"],
           "G_TEST_SRCDIR": os.path.dirname(os.path.abspath(__file__))}
    return subprocess.run([*words, *(["--tap"] if cases(words) else [])], capture_output=True,
                          text=True, errors="replace", timeout=600, env=env,
                          cwd=test["workdir"] or os.path.dirname(test["cmd"][0]))


@pytest.fixture(scope="module")
def runs(request):
    """argv of a program → the Future of its CompletedProcess."""
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    started = {}
    for item in request.session.items:
        if item.getparent(pytest.Module) is request.node:
            words, test = (item.callspec.params[name] for name in ("words", "test"))
            if tuple(words) not in started:
                started[tuple(words)] = pool.submit(run, words, test)
    yield started
    pool.shutdown(cancel_futures=True)


def test_unit(runs, words, test, case):
    done = runs[tuple(words)].result()
    output = f"{done.stdout[-5000:]}\n{done.stderr[-8000:]}"
    if case is None:
        assert done.returncode == 0, output
        return
    line = re.search(rf"^\s*(ok|not ok) \d+ {re.escape(case)}(?: |$)(.*)", done.stdout, re.M)
    assert line, f"{case} did not run, exit status {done.returncode}:\n{output}"
    if "SKIP" in line[2].upper():
        pytest.skip(line[2])
    assert line[1] == "ok", output
