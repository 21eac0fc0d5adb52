# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What status and fill say, and that the man page says the same."""
import os
import pathlib
import pty
import re
import subprocess
import time

import pytest

import handlers
import lying
import processes
import published
import trees

MAN = pathlib.Path(__file__).resolve().parents[2] / "fuse" / "cli" / "lacunafs.1"


def keys(value):
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(keys, value))
    return set()


@pytest.fixture
def busy(mount, serve, tree):
    """A mount with a transfer, a listing and an error under way, and a handler."""
    server = serve(tree)
    server.lie("/sizes/f4096", lying.status(404))
    server.lie("/big", lying.stall(), ranges=True)
    server.lie("/names/", lying.stall())
    m = mount(server.url, "-o", "retries=0")
    handler = handlers.Handler(m)
    subprocess.run(["cat", m / "sizes" / "f4096"], capture_output=True)
    readers = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for argv in (["cat", m / "big"], ["ls", m / "names"])]
    processes.wait_until(lambda: m.status()["transfers"] and m.status()["waiting_for_listings"])
    yield m
    handler.close()
    for reader in readers:
        reader.kill()
    for reader in readers:
        reader.wait()


def test_who_waits_for_what(busy):
    m = busy
    transfer = m.status()["transfers"][0]
    assert transfer["path"] == "big" and transfer["url"].endswith("/big")
    waiter = transfer["waiters"][0]
    assert waiter["comm"] == "cat" and waiter["until_s"] > 0 and waiter["since_s"] >= 0
    listing = m.status()["waiting_for_listings"][0]
    assert listing["comm"] == "ls" and "names" in listing["url"]
    text = m.program.run("status", m.path).stdout
    assert "cat" in text and "/big" in text
    error = m.status("sizes/f4096")["last_error"]
    assert error["name"] and "404" in error["cause"]


def test_man_page_names_every_member(busy, scratch):
    """Both ways."""
    m = busy
    (scratch / "published").mkdir()
    published.publish(m.program, scratch / "published")
    seen = keys(m.program.mount(scratch / "published").status()) | \
         keys(m.status()) | keys(m.status("big")) | keys(m.status("sizes/f4096")) | \
        keys(m.status("many"))
    page = MAN.read_text(encoding="utf-8")
    page = page[page.index(".Ss Of a mount"):page.index(".Sh CONTROL SOCKET")]
    documented = {name for line in re.findall(r"^\.It Va (.*)", page, re.M)
                  for name in line.split(" , ")}
    assert seen - documented == set(), "not in the man page"
    assert documented - seen == set(), "only in the man page"


def test_files_count(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0")
    os.stat(m / "big")
    status = m.status("big")
    assert (status["content"], status["present_chunks"]) == ("remote", 0)
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 1, 0)
    status = m.status("big")
    assert status["content"] == "partial" and 0 < status["present_chunks"] < status["chunks"]
    assert status["size"] == (tree / "big").stat().st_size
    (m / "big").read_bytes()
    status = m.status("big")
    assert status["content"] == "complete"
    assert status["present_bytes"] == status["size"]
    assert m.status()["network"]["bytes"] >= status["size"]
    assert m.status()["network"]["bytes"] <= server.bytes_sent("/big") + 1


def test_status_of_paths(mount, serve, tree):
    m = mount(serve(tree).url)
    text = m.program.run("status", m / "big")
    assert text.returncode == 0 and "big" in text.stdout
    assert m.program.run("status").returncode == 0
    assert str(m.path) in m.program.run("status").stdout
    assert m.status("many")["kind"] == "directory"


def test_bar(mount, serve, tree):
    m = mount(serve(tree).url, "-o", "readahead=0")
    with open(m / "big", "rb", buffering=0) as f:
        os.pread(f.fileno(), 1 << 20, 0)
    done = m.program.run("status", m / "big", env={"COLUMNS": "60"})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 200


def test_watch_ends_with_the_mount(mount, serve, tree):
    m = mount(serve(tree).url)
    watch = m.program.start("status", "--watch", m.path, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    time.sleep(1.5)
    assert watch.poll() is None
    watch.terminate()
    out, _ = watch.communicate(timeout=10)
    assert out.strip()


def test_fill(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    done = m.fill("big", "sizes")
    assert done.returncode == 0, done.stderr
    server.stop()
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    assert trees.differences(tree / "sizes", m / "sizes") == []
    # plain lines where there is no terminal
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stdout + done.stderr


def test_fill_everything(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url)
    assert m.program.run("fill", m.path).returncode == 0
    server.stop()
    assert trees.differences(tree, m.path) == []


def test_fill_on_a_terminal(mount, serve, tree):
    m = mount(serve(tree).url)
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(m.program.argv()[0] if m.program.variant == "plain" else "/usr/bin/env",
                  m.program.argv("fill", m / "big"), {**m.program.env, "TERM": "xterm"})
    out = b""
    try:
        while piece := os.read(fd, 4096):
            out += piece
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"\r" in out


def test_fill_fails_when_something_is_missing(mount, serve, tree):
    server = serve(tree)
    server.lie("/sizes/f4097", lying.status(404))
    m = mount(server.url, "-o", "retries=0")
    done = m.fill("sizes", "big")
    assert done.returncode != 0
    assert "f4097" in done.stderr + done.stdout
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    assert m.fill("no-such-file").returncode != 0


def test_fill_is_parallel(mount, serve, tree):
    server = serve(tree)
    server.lie("/many/*", lying.delay(0.2), methods=("GET",), ranges=True)
    m = mount(server.url)
    before = time.monotonic()
    assert m.fill("many").returncode == 0
    assert time.monotonic() - before < 200 * 0.2 / 3


def test_status_of_a_dead_mount(mount, serve, tree):
    """A killed daemon: an error in one line, no hang."""
    m = mount(serve(tree).url)
    os.kill(m.pid, 9)
    processes.reap(m.pid, 5)
    done = m.program.run("status", m.path, timeout=10)
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 1
    # and it can be unmounted
    assert m.program.run("umount", m.path).returncode == 0
    m.pid = None
