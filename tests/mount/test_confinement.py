# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""A confined daemon: what it can still do, and what it cannot, where the kernel has all that
confines it, or lacks a part."""
import os
import pathlib
import signal
import subprocess
import urllib.parse

import intruder
import processes
import pytest
import trees
from test_credentials import require

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN, SYS_RESOURCE, MKNOD, LEASE, SETFCAP
KEPT = sum(1 << n for n in (0, 1, 3, 4, 21, 24, 27, 28, 31))
PARTS = ("files", "system_calls", "capabilities")


def state(task):
    lines = (line.split(":", 1) for line in (task / "status").read_text().splitlines())
    return {name: value.strip() for name, value in lines}


def port_of(server):
    return urllib.parse.urlsplit(server.url).port


def same(one, other):
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def lines_of(pid):
    return [state(task) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]


@pytest.fixture
def intruding(scratch):
    return intruder.Intruder(scratch)


def serves(m, tree):
    """Reads, and changes of each kind, go on."""
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    (m / "new").write_bytes(b"1" * 100000)
    (m / "dir").mkdir()
    (m / "new").rename(m / "dir" / "moved")
    os.link(m / "dir" / "moved", m / "linked")
    os.symlink("x", m / "symbolic")
    os.truncate(m / "linked", 10)
    (m / "dir" / "moved").unlink()
    assert (m / "linked").read_bytes() == b"1" * 10


@pytest.mark.sanitize
def test_sanitizer_reports(mount, lacunafs, tree, variant):
    """Its report, with names of functions, needs files that a confined daemon does not."""
    m = mount(str(tree), "-o", "keeper=no")
    assert set(m.status()["confinement"][name] for name in PARTS) == {None}
    os.kill(m.pid, signal.SIGSEGV)
    assert processes.reap(m.pid, 60) == (99 if variant != "plain" else -signal.SIGSEGV)
    m.abandon()
    reports = list(lacunafs.reports.iterdir())
    assert bool(reports) == (variant != "plain")
    for report in reports:
        text = report.read_text()
        assert "SEGV" in text and " in " in text
        report.unlink()
    (m.store / "state" / "log").unlink()  # which has a line of it


@pytest.mark.parametrize("kind", ["dir", "http"])
def test_reaches_nothing_else(mount, serve, tree, intruding, kind):
    """Each thread of it, whatever it tries."""
    server = serve(tree)
    m = mount(server.url if kind == "http" else str(tree), env=intruding.env)
    serves(m, tree)
    assert m.status()["confinement"] == {**dict.fromkeys(PARTS),
                                         "kept": m.status()["confinement"]["kept"]}
    tasks = lines_of(m.worker())
    assert len(tasks) > 5
    for task in tasks:
        assert (task["NoNewPrivs"], task["Seccomp"]) == ("1", "2")
        for sets in ("CapEff", "CapPrm", "CapBnd"):
            assert int(task[sets], 16) & ~KEPT == 0
        assert int(task["CapInh"], 16) == int(task["CapAmb"], 16) == 0
    wanted = {"read": "EACCES", "create": "EACCES", "truncate": "EACCES", "unlink": "EACCES",
              "rename": "EACCES", "store": None, "etc": None if kind == "http" else "EACCES",
              "execute": "EPERM", "mount": "EPERM", "namespace": "EPERM", "trace": "EPERM",
              "signal": None, "handle": "EPERM", "bpf": "EPERM", "listen": "EACCES",
              "connect": None if kind == "http" else "EACCES"}
    assert intruding.tries(m, port_of(server)) == wanted
    assert intruding.outside.read_text() == "a secret"
    assert (m / "sizes" / "f4096").read_bytes() == (tree / "sizes" / "f4096").read_bytes()


def test_switched_off(mount, serve, tree, intruding):
    """The same tries succeed: the test above sees the confinement, and nothing else."""
    server = serve(tree)
    m = mount(str(tree), "-o", "confine=no", env=intruding.env)
    why = "switched off by -o confine=no"
    assert m.status()["confinement"] == {**dict.fromkeys(PARTS, why), "kept": None}
    assert {task["NoNewPrivs"] for task in lines_of(m.worker())} == {"0"}
    assert set(intruding.tries(m, port_of(server), gentle=True).values()) == {None}
    assert why in m.log()
    assert f"not in its files: {why}" in m.program.run("status", m.path).stdout


@pytest.mark.parametrize("lacking", ["NO_LANDLOCK", "NO_SECCOMP"])
def test_kernel_that_lacks_a_part(mount, serve, tree, intruding, lacking):
    server = serve(tree)
    m = mount(str(tree), env={**intruding.env, lacking: "1"})
    serves(m, tree)
    part, tried = ("files", "read") if lacking == "NO_LANDLOCK" else ("system_calls", None)
    said = m.status()["confinement"]
    assert [name for name in PARTS if said[name]] == [part]
    assert said[part] in m.log()
    errors = intruding.tries(m, port_of(server), gentle=True)
    assert errors["read"] == (None if tried else "EACCES")


def test_user(mount, tree, intruding, nobody, lacunafs, serve):
    """Unmounting needs fusermount3, which a confined process cannot run."""
    lacunafs.give(nobody)
    server = serve(tree)
    m = mount(str(tree), user=nobody, env=intruding.env)
    assert m.status()["confinement"] == {**dict.fromkeys(PARTS), "kept": ""}
    assert {task["CapEff"] for task in lines_of(m.worker())} == {"0" * 16}
    errors = intruding.tries(m, port_of(server))
    assert errors["read"] == errors["create"] == "EACCES"
    assert errors["execute"] == errors["namespace"] == errors["trace"] == "EPERM"
    os.kill(m.pid, signal.SIGTERM)
    assert processes.reap(m.pid, 30) == 0
    m.pid = None
    assert f" {m.path} " not in pathlib.Path("/proc/self/mountinfo").read_text()


def test_late_files(mount, serve, tree, scratch):
    """What is replaced while the daemon runs, in directories that it cannot read."""
    server, token, log = serve(tree), scratch / "secrets" / "token", scratch / "logs" / "log"
    trees.put(token, b"first")
    log.parent.mkdir()
    require(server, "Bearer first")
    m = mount(server.url, "--token-file", token, "--log", log, "-o", "retries=0")
    assert (m / "sizes" / "f4096").read_bytes()
    server.honest()
    require(server, "Bearer second")
    new = token.with_name("new")
    new.write_text("second")
    new.rename(token)
    assert (m / "sizes" / "f4097").read_bytes() == (tree / "sizes" / "f4097").read_bytes()
    m.log_settle()
    os.truncate(log, 5 << 20)  # full
    os.kill(m.pid, signal.SIGTERM)
    assert processes.reap(m.pid, 30) == 0
    m.pid = None
    assert "stopping" in log.read_text()
    assert log.with_name("log.1").stat().st_size == 5 << 20
    assert {f.stat().st_mode & 0o777 for f in log.parent.iterdir()} == {0o600}


def test_source_that_is_mounted_later(mount, serve, tree, scratch):
    """An empty directory of a mirror, over which a file system is mounted."""
    (scratch / "late").mkdir()
    server = serve(tree)
    m = mount(scratch / "late", "--mirror", server.url, "-o", "mirror_retry=10ms,listing_ttl=0")
    assert (m / "sizes" / "f4096").read_bytes()
    subprocess.run(["mount", "--bind", tree, scratch / "late"], check=True)
    try:
        server.stop()
        assert processes.wait_until(lambda: same(m / "big", tree / "big"), 30)
    finally:
        m.umount()
        subprocess.run(["umount", "-l", scratch / "late"], check=True)


def test_helper_that_was_killed(mount, tree):
    """The mount goes on, and can be unmounted by others; the daemon itself cannot."""
    m = mount(str(tree))
    helper = processes.child_named(m.worker(), "lacunafs-helper")
    os.kill(helper, signal.SIGKILL)
    serves(m, tree)
    os.kill(m.pid, signal.SIGTERM)
    assert processes.reap(m.pid, 30) == 0
    m.pid = None
    assert "may still be mounted" in m.log()
    with pytest.raises(OSError):
        os.listdir(m.path)
    m = m.again()
    assert (m / "linked").read_bytes() == b"1" * 10


def test_helper_ends_with_the_daemon(mount, tree):
    m = mount(str(tree))
    helper = processes.child_named(m.worker(), "lacunafs-helper")
    m.kill()
    assert processes.wait_until(lambda: helper not in processes.children())
    assert not pathlib.Path(f"/proc/{helper}/exe").exists()


def test_failed_mount_leaves_nothing(lacunafs, scratch, serve, tree):
    """The store's directory is made for the confinement, before the source has answered."""
    store = scratch / "stores" / "new"
    done = lacunafs.run("mount", f"{serve(tree).url}missing/", scratch, "--store", store,
                        "-o", "retries=0")
    assert done.returncode == 1
    assert not store.exists()
