# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Fixtures of the tests with a mount.

`lacunafs`: the program under test. Every test runs with the plain build; one marked `sanitize`
with those of the address and thread sanitizers too, where --asan and --tsan name them.
"""
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import campaign  # noqa: E402
import faults  # noqa: E402
import lying  # noqa: E402
import mounting  # noqa: E402
import processes  # noqa: E402
import servers  # noqa: E402
import trees  # noqa: E402
import volumes  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitize: also under the sanitizers")
    config.addinivalue_line("markers", "patience(seconds): when a test counts as hung (120)")
    processes.adopt()
    # A shell starts what runs in the background with some ignored, which all would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def pytest_generate_tests(metafunc):
    if "variant" in metafunc.fixturenames:
        variants = ["plain"]
        if metafunc.definition.get_closest_marker("sanitize"):
            variants += [v for v in ("asan", "tsan") if metafunc.config.getoption(v)]
        metafunc.parametrize("variant", variants)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    program = item.funcargs.get("lacunafs") if hasattr(item, "funcargs") else None
    if report.failed and program is not None:
        report.sections.append(("how to repeat it", program.repeat()))


@pytest.fixture
def seed(request):
    """--seed, or drawn; printed, so that a failure can be repeated."""
    return campaign.seed_of(request.config.option)


@pytest.fixture
def choose(seed):
    return random.Random(seed)


@pytest.fixture(scope="session")
def session_scratch():
    """Readable for all, on a file system with user xattrs; gone at the end."""
    for base in (os.environ.get("TMPDIR", "/tmp"), "/var/tmp"):
        path = pathlib.Path(tempfile.mkdtemp(prefix="lacunafs-", dir=base))
        try:
            os.setxattr(path, "user.probe", b"1")
            break
        except OSError:
            path.rmdir()
    path.chmod(0o755)
    yield path
    # Never into something that is still mounted
    mounted = [line.split()[4] for line in open("/proc/self/mountinfo", encoding="utf-8")]
    if not any(m.startswith(f"{path}/") for m in mounted):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def scratch(session_scratch):
    path = pathlib.Path(tempfile.mkdtemp(dir=session_scratch))
    path.chmod(0o755)
    yield path
    mounted = [line.split()[4] for line in open("/proc/self/mountinfo", encoding="utf-8")]
    if not any(m.startswith(f"{path}/") for m in mounted):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def lacunafs(request, variant, scratch):
    build = request.config.getoption("build" if variant == "plain" else variant)
    program = mounting.Program(build, variant, scratch)
    assert program.path.exists(), f"{program.path} is not built"
    marker = request.node.get_closest_marker("patience")
    seconds = (marker.args[0] if marker else 120) * (1 if variant == "plain" else 3)
    hung = []

    def give_up():  # a reader of a dead daemon gets an error and the test goes on
        hung.append(True)
        for m in program.mounts:
            if m.pid is not None:
                os.kill(m.pid, 6)
                m.abandon()

    watchdog = threading.Timer(seconds, give_up)
    watchdog.start()
    yield program
    wrong = program.close()
    watchdog.cancel()
    assert not hung, f"hung: the daemon was killed after {seconds} s"
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def mount(lacunafs):
    """mount(source, *options) → a Mount, unmounted at the end whatever happens."""
    return lacunafs.mount


@pytest.fixture(scope="session")
def tree(session_scratch):
    """A tree that every source can serve, for reading only."""
    return trees.make_plain(session_scratch / "tree")


@pytest.fixture(scope="session")
def big_program(session_scratch):
    return trees.make_program(session_scratch / "big", 320 << 20)


@pytest.fixture
def serve(scratch):
    """serve(root, …) → a LyingServer, stopped at the end."""
    started = []

    def start(root, **options):
        started.append(lying.LyingServer(root, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def web(scratch):
    """web(servers.Nginx, root, …) → a real server, stopped at the end."""
    started = []

    def start(kind, root, **options):
        started.append(kind(root, scratch / f"web{len(started)}", **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def volume(scratch):
    """volume(kind, megabytes) → a Volume. Asked for before `mount`: it goes after it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    made = []

    def make(kind, megabytes):
        if shutil.which(f"mkfs.{kind}", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            pytest.skip(f"no mkfs.{kind} here")
        made.append(volumes.Volume(scratch, kind, megabytes))
        return made[-1]

    yield make
    for v in made:
        v.close()


@pytest.fixture
def faulty(scratch):
    """Faults of the disk: for a mount with `env=faulty.env`."""
    f = faults.Faults(scratch)
    yield f
    f.clear()
    f.close()


@pytest.fixture(scope="session")
def tls(session_scratch):
    """(ca, chain, key)"""
    return servers.certificate(session_scratch / "tls")


@pytest.fixture
def nobody():
    """A uid without any privilege or access."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    if not os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
        pytest.skip("/dev/fuse is closed to others (./check opens it while it runs)")
    return 65534
