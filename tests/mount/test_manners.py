# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What fstab hands over, whose files are whose, and what status says of them."""
import os
import socket
import subprocess

import pytest

import processes
from test_cli import control


@pytest.fixture
def roots(scratch):
    """A tree that root owns, as most are."""
    path = scratch / "roots"
    (path / "d").mkdir(parents=True)
    (path / "f").write_bytes(b"content")
    (path / "f").chmod(0o644)
    (path / "tool").write_bytes(b"#!/bin/sh\n")
    (path / "tool").chmod(0o4755)
    return path


@pytest.mark.parametrize("how", ["mount.fuse3", "lacunafs"])
def test_fstab(lacunafs, roots, scratch, how):
    """mount(8) hands on all that fstab has, and knows no --store."""
    point, store, there = scratch / "p", scratch / "kept", scratch / "bin"
    point.mkdir()
    there.mkdir()
    (there / "lacunafs").symlink_to(lacunafs.path)
    env = {**lacunafs.env, "PATH": f"{there}:{lacunafs.env['PATH']}"}
    options = f"rw,noauto,nofail,_netdev,user,owner,defaults,relatime,atime,diratime,nomand,x-systemd.automount," \
        f"comment=x,store={store}"
    argv = ["mount.fuse3", f"lacunafs#{roots}"] if how == "mount.fuse3" else \
        [str(there / "lacunafs"), str(roots)]
    before = processes.children()
    done = subprocess.run([*argv, point, "-o", options], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done
    daemon = [p for p in processes.children() - before
              if processes.executable(p) == str(lacunafs.path)]
    assert (point / "f").read_bytes() == b"content"
    assert (store / "state" / "lock").exists()
    assert lacunafs.run("umount", point).returncode == 0
    for pid in daemon:
        assert processes.reap(pid, 30) == 0


def test_owner_is_me(mount, lacunafs, roots, nobody):
    """Everything is the mounter's, who can change it; what was set-id for others is not."""
    lacunafs.give(nobody)
    m = mount(roots, "-o", "owner=me", user=nobody)

    def look():
        os.setgroups([]), os.setgid(nobody), os.setuid(nobody)
        seen = {}
        for name in (".", "d", "f", "tool"):
            st = os.lstat(m / name)
            seen[name] = (st.st_uid, st.st_gid, st.st_mode & 0o7000)
        os.chmod(m / "f", 0o600)
        (m / "f").write_bytes(b"mine")
        (m / "d" / "new").write_bytes(b"too")
        os.remove(m / "tool")
        return seen, (m / "f").read_bytes(), sorted(os.listdir(m / "d"))
    seen, content, names = processes.apart(look)
    assert set(seen.values()) == {(nobody, nobody, 0)}
    assert content == b"mine" and names == ["new"]
    assert (roots / "f").read_bytes() == b"content"
    m.umount()
    other = mount(roots, user=nobody)  # without: as it is at the source

    def owner():
        os.setgroups([]), os.setgid(nobody), os.setuid(nobody)
        return os.lstat(other / "f").st_uid
    assert processes.apart(owner) == 0


def seen_by(uid, path):
    def look():
        os.setgroups([]), os.setgid(uid), os.setuid(uid)
        return [os.lstat(path / name).st_uid for name in ("f", "tool", "d", "d/deep")]
    return processes.apart(look)


def test_another_owner_of_the_same_store(mount, lacunafs, roots, nobody):
    """What was listed in a mount with other options is not what counts in this one, however
    fresh it is."""
    lacunafs.give(nobody)
    (roots / "d" / "deep").write_bytes(b"")
    m = mount(roots, user=nobody)
    assert seen_by(nobody, m.path) == [0] * 4
    m.umount()
    m = m.again("-o", "owner=me", "-o", "listing_ttl=never")
    assert seen_by(nobody, m.path) == [nobody] * 4
    m.umount()
    m = m.again("-o", "owner=me", "-o", "listing_ttl=never")
    assert seen_by(nobody, m.path) == [nobody] * 4
    assert m.status()["network"]["requests"] == 0  # what has the same options is fresh
    m.umount()
    m = m.again("-o", "owner=source")
    assert seen_by(nobody, m.path) == [0] * 4


def test_other_modes_of_the_same_store(mount, serve, roots):
    server = serve(roots)
    m = mount(server.url)
    assert os.lstat(m / "f").st_mode & 0o777 == 0o755
    m.umount()
    m = m.again("-o", "filemode=640,uid=7")
    assert (os.lstat(m / "f").st_mode & 0o777, os.lstat(m / "f").st_uid) == (0o640, 7)
    m.umount()
    server.stop()
    m = m.again("-o", "filemode=604,uid=8")  # unreachable: the listing that there is
    assert (os.lstat(m / "f").st_mode & 0o777, os.lstat(m / "f").st_uid) == (0o640, 7)


@pytest.mark.parametrize("options, word", [
    ("uid=5", "owner=me"), ("gid=5", "owner=me"), ("owner=me,uid=5", "excludes"),
    ("owner=you", "source or me")])
def test_owners_are_not_ignored(lacunafs, roots, scratch, options, word):
    done = lacunafs.run("mount", roots, scratch, "-o", options)
    assert done.returncode == 2 and word in done.stderr, done


def test_uid_of_a_source_without_owners(mount, serve, roots):
    m = mount(serve(roots).url, "-o", "uid=7,gid=8")
    assert (os.stat(m / "f").st_uid, os.stat(m / "f").st_gid) == (7, 8)


def test_status_of_what_was_made_here(mount, lacunafs, roots):
    m = mount(roots)
    (m / "made").write_bytes(b"x" * 300_000)
    (m / "copy").write_bytes((m / "f").read_bytes())
    for name, size in (("made", 300_000), ("copy", 7)):
        told = m.status(name)
        assert told["content"] == "complete" and told["size"] == size
        assert told["present_bytes"] == size and told["present_chunks"] == told["chunks"]
        assert set(told["bar"]) == {255}
    told = m.status("f")
    assert told["content"] == "complete" or told["present_bytes"] < told["size"]


def test_passthrough_never_is_no(mount, lacunafs, roots):
    """"not yet" is for what may come."""
    (roots / "large").write_bytes(b"x" * 300_000)
    m = mount(roots)
    never = mount(roots, "-o", "passthrough=no")
    assert "passthrough  no: small" in lacunafs.run("status", m / "f").stdout
    assert "passthrough  no: " in lacunafs.run("status", never / "large").stdout
    if m.status()["passthrough"]["usable"]:
        assert "passthrough  not yet: " in lacunafs.run("status", m / "large").stdout
    assert max(map(len, lacunafs.run("status", m / "f").stdout.splitlines()[2:])) <= 80


@pytest.mark.parametrize("value", ["0", "-1", "1e9", "0.01"])
def test_watch_takes_its_number(lacunafs, value):
    done = lacunafs.run("status", "--watch", value)
    assert done.returncode == 2 and "from 0.1 to 86400" in done.stderr, done


def test_refused_but_answered(mount, roots):
    """Who is refused with its request unread reads the answer, and then the end."""
    m = mount(roots)
    request = b"x" * (3 << 20)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(15)
        s.connect(control(m))
        s.sendall(request[:(1 << 20) + 100_000])
        answer = b""
        while piece := s.recv(65536):  # ECONNRESET, if it is reset
            answer += piece
    assert answer == b'{"error":"expects one line"}\n'
