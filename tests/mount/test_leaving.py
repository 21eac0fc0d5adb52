# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Mounts that come and go: over one that died, after one that is leaving, beside others in other
mount namespaces, under autofs; and what is said when one does not come."""
import ctypes
import os
import pathlib
import re
import signal
import struct
import subprocess
import threading
import time

import pytest

import processes

libc = ctypes.CDLL(None, use_errno=True)


def mountinfo(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return [line for line in f if f" {point} " in line]


@pytest.fixture
def source(scratch):
    path = scratch / "source"
    (path / "d").mkdir(parents=True)
    (path / "f").write_bytes(b"content")
    return path


@pytest.mark.parametrize("who", ["root", "user"])
def test_mounts_over_a_dead_mount(mount, lacunafs, source, nobody, who):
    """Also one that is still looked at, and whose attributes the kernel knows."""
    user = None if who == "root" else nobody
    if user:
        lacunafs.give(user)
    m = mount(source, user=user)
    argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    holder = subprocess.Popen([*argv, "sleep", "1000"], cwd=m.path if not user else "/")
    try:
        for _ in range(2):
            os.kill(m.pid, signal.SIGKILL)
            assert processes.reap(m.pid, 30) == -9
            m.pid = None
            m.start()
            assert len(mountinfo(m.path)) == 1
            m.status()
        done = lacunafs.run("mount", source, m.path, "--store", m.store, user=user)
        assert done.returncode == 1 and "busy" in done.stderr
        if not user:
            assert (m / "f").read_bytes() == b"content"
    finally:
        holder.kill()
        holder.wait()
        if m.pid is None:  # it was not mounted again: nobody else takes the dead one away
            subprocess.run(["umount", "-l", m.path], capture_output=True)


def test_a_daemon_that_hangs_is_not_dead(mount, lacunafs, source):
    m = mount(source)
    os.listdir(m.path)
    time.sleep(1.5)  # the kernel no longer knows what stat(2) tells
    worker = m.worker()
    os.kill(worker, signal.SIGSTOP)
    late = threading.Timer(30, os.kill, (worker, signal.SIGCONT))
    late.start()
    begun = time.monotonic()
    try:
        done = lacunafs.run("mount", source, m.path, "--store", m.store)
    finally:
        late.cancel()
        os.kill(worker, signal.SIGCONT)
    assert done.returncode == 1 and "busy" in done.stderr
    assert time.monotonic() - begun < 25
    assert len(mountinfo(m.path)) == 1
    assert (m / "f").read_bytes() == b"content"


def test_mounts_after_one_that_is_leaving(mount, source):
    """As systemd's restart does: umount(8), which waits for no daemon, and a mount at once."""
    m = mount(source)
    for n in range(8):
        (m / f"new{n}").write_bytes(os.urandom(4 << 20))
        before, m.pid = m.pid, None
        subprocess.run(["umount", m.path], check=True)
        m = m.again()
        assert processes.reap(before, 30) == 0


def test_umount_names_another_namespace(mount, lacunafs, source):
    m = mount(source)
    with processes.Child(["unshare", "-m", "--propagation", "private", "sh", "-c",
                          "echo; exec sleep 1000"], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert processes.wait_until(
            lambda: pathlib.Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n")
        began = time.monotonic()
        done = lacunafs.run("umount", m.path)
        took = time.monotonic() - began
        holder.kill()
    assert done.returncode == 1 and f"sleep[{holder.pid}]" in done.stderr, done.stderr
    assert took < 30  # as long as nobody is known to hold it, it waits 60 s
    assert processes.reap(m.pid, 30) == 0
    m.pid = None


def test_umount_takes_no_other_for_its_own(mount, lacunafs, source, scratch):
    """The number of a file system that has gone is the next one's, while its daemon still leaves."""
    m = mount(source)
    device = os.stat(m.path).st_dev
    (scratch / "other").mkdir()
    worker = m.worker()
    os.kill(worker, signal.SIGSTOP)
    try:
        umount = lacunafs.start("umount", m.path, stderr=subprocess.PIPE)
        assert processes.wait_until(lambda: not mountinfo(m.path))
        for _ in range(5):  # somebody else may be faster
            if os.stat(mount(scratch / "other").path).st_dev == device:
                break
        time.sleep(1.5)  # it looks once a second
    finally:
        os.kill(worker, signal.SIGCONT)
    assert umount.wait(90) == 0, umount.stderr.read()
    umount.stderr.close()
    assert processes.reap(m.pid, 30) == 0
    m.pid = None


def test_umount_names_another_place(mount, lacunafs, source, scratch):
    m = mount(source)
    other = scratch / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", m.path, other], check=True)
    try:
        done = lacunafs.run("umount", m.path)
    finally:
        subprocess.run(["umount", other], check=True)
    assert done.returncode == 1 and f"at {other}" in done.stderr, done.stderr
    assert processes.reap(m.pid, 30) == 0
    m.pid = None


def test_helper_is_heard(lacunafs, source, scratch, nobody):
    """What fusermount3 says reaches the user."""
    lacunafs.give(nobody)
    point = scratch / "roots"
    point.mkdir()
    for args, word in (((point,), "fusermount3|write access|not owner|permission"),
                       ((scratch / "run", "-o", "allow_other"), "user_allow_other")):
        if word == "user_allow_other" and re.search(
                "^user_allow_other", pathlib.Path("/etc/fuse.conf").read_text(), re.M):
            continue
        done = lacunafs.run("mount", source, *args, "--store", scratch / "home" / "s", user=nobody)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert re.search(word, done.stderr) and "no reason" not in done.stderr, done.stderr


def test_named_by_the_user(mount, source):
    m = mount(source, "-o", "fsname=a\\,name")
    assert " fuse.lacunafs a,name " in mountinfo(m.path)[0]


@pytest.mark.parametrize("args, status, word", [
    (["-o", "nonsense,more=1"], 2, "`-o nonsense,more=1'"), (["-o", "auto_unmount"], 2, "not supported"),
    (["--log", "POINT/log"], 1, "under the mountpoint")])
def test_what_does_not_work_is_said(lacunafs, source, scratch, args, status, word):
    point = scratch / "p"
    point.mkdir()
    args = [a.replace("POINT", str(point)) for a in args]
    done = lacunafs.run("mount", source, point, "--store", scratch / "s", *args)
    assert done.returncode == status and word in done.stderr, done
    assert done.stderr.count("\n") == 1


def test_what_is_missing_is_no_matter_of_usage(lacunafs, source, scratch):
    for argv in ((scratch / "none", scratch), (source, scratch / "none")):
        done = lacunafs.run("mount", *argv)
        assert done.returncode == 1 and "No such file" in done.stderr, done


@pytest.mark.parametrize("argv", [
    ("mount", "etc", "POINT"), ("mount", "dir:etc", "POINT"), ("mount", "SOURCE", "mnt"),
    ("mount", "SOURCE", "POINT", "--store", "s"), ("mount", "SOURCE", "POINT", "-o", "store=s"),
    ("mount", "SOURCE", "POINT", "--log", "l"), ("mount", "SOURCE", "POINT", "--token-file", "t"),
    ("umount", "POINT[1:]"), ("hsm", "--mount", "etc", "--", "true")])
def test_current_directory_was_removed(mount, lacunafs, source, scratch, argv):
    """Relative paths then lead nowhere, least of all to places beneath the root directory."""
    gone, point = scratch / "gone", scratch / "p"
    point.mkdir()
    m = mount(source, point=point) if argv[0] == "umount" else None
    words = {"POINT": point, "SOURCE": source, "POINT[1:]": str(point)[1:]}
    gone.mkdir()

    def lose():
        os.chdir(gone)
        os.rmdir(gone)
    done = subprocess.run(lacunafs.argv(*(words.get(a, a) for a in argv)), preexec_fn=lose,
                          env=lacunafs.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    assert ("not a lacunafs mount" if m else "No such file") in done.stderr
    assert not os.path.exists("/s") and not os.path.exists("/l")
    assert len(mountinfo(point)) == (1 if m else 0)


IOC_READY, IOC_FAIL, IOC_CATATONIC = 0x9360, 0x9361, 0x9362
MISSING_INDIRECT = 3
PACKET = struct.Struct("=iiIIQIIIII256s")  # autofs_v5_packet, struct padding aside


@pytest.fixture
def autofs(scratch):
    """autofs(mounts) → a directory whose entry "key" is mounted by `mounts(path)` when somebody
    walks there, in this process's group, which alone may pass meanwhile."""
    top = scratch / "auto"
    top.mkdir()
    reader, writer = os.pipe()
    state = {}

    def mount_it(mounts):
        options = f"fd={writer},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect"
        if libc.mount(b"test", os.fsencode(top), b"autofs", 0, options.encode()) != 0:
            os.close(reader), os.close(writer)
            pytest.skip(f"no autofs here: {os.strerror(ctypes.get_errno())}")
        os.close(writer)
        state["fd"] = control = os.open(top, os.O_RDONLY | os.O_DIRECTORY)

        def serve():
            while packet := os.read(reader, 4096):
                _, kind, token = struct.unpack_from("=iiI", packet)
                if kind != MISSING_INDIRECT:
                    continue
                ok = False
                try:
                    (top / "key").mkdir(exist_ok=True)
                    ok = mounts(top / "key")
                finally:
                    ioctl(control, IOC_READY if ok else IOC_FAIL, token)
        state["thread"] = threading.Thread(target=serve, daemon=True)
        state["thread"].start()
        return top

    def ioctl(fd, number, argument):
        libc.ioctl(fd, ctypes.c_ulong(number), ctypes.c_ulong(argument))

    yield mount_it
    if state:
        ioctl(state["fd"], IOC_CATATONIC, 0)
        os.close(state["fd"])
        subprocess.run(["umount", top / "key"], capture_output=True)
        subprocess.run(["umount", "-l", top], check=True)
        state["thread"].join(10)
        os.close(reader)


def test_under_autofs(lacunafs, source, scratch, autofs):
    """The daemon waits for no mount that it is about to make."""
    ended = []

    def mounts(path):
        before = processes.children()
        try:
            done = lacunafs.run("mount", source, path, "--store", scratch / "s", timeout=30)
        except subprocess.TimeoutExpired:
            ended.extend(processes.children() - before)
            for pid in ended:
                os.kill(pid, signal.SIGKILL)
            return False
        return done.returncode == 0

    top = autofs(mounts)
    # not in our process group, which could pass
    done = subprocess.run(["cat", top / "key" / "f"], capture_output=True, timeout=60,
                          start_new_session=True)
    assert not ended, "the daemon waited for itself"
    assert done.stdout == b"content", done
    assert "fuse.lacunafs" in mountinfo(top / "key")[0]
    done = lacunafs.run("umount", top / "key")
    assert done.returncode == 0, done
