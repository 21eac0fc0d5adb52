# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Where the log goes: systemd's journal, syslog; and one line for each cause."""
import os
import re
import signal
import socket

import pytest


def foreground(lacunafs, source, scratch, *options, **settings):
    """The daemon, once it is ready."""
    point = scratch / "point"
    point.mkdir(exist_ok=True)
    read, write = os.pipe()
    os.set_inheritable(write, True)
    daemon = lacunafs.start("mount", source, point, "-f", "--store", scratch / "store",
                            "--ready-fd", str(write), *options, pass_fds=[write], **settings)
    os.close(write)
    assert os.read(read, 1) == b"\0"
    os.close(read)
    return daemon


def end(daemon):
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0


def test_journal(lacunafs, tree, scratch):
    """Each line with its priority, and without a time of its own: sd-daemon(3)."""
    path = scratch / "journal"
    for is_it in (True, False):
        with open(path, "wb") as stream:
            st = os.fstat(stream.fileno())
            end(foreground(lacunafs, tree, scratch, stderr=stream, env={
                "JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino + (not is_it)}"}))
        lines = path.read_text(encoding="utf-8").splitlines()
        if not is_it:  # another stream: warnings only
            assert lines == []
            continue
        assert any(re.fullmatch(r"<5>mounted .* at .*", line) for line in lines)
        assert any(line == "<5>stopping: caught a signal" for line in lines)
        assert all(re.match(r"<[2-7]>\S", line) for line in lines)


def test_syslog(lacunafs, tree, scratch):
    if os.path.lexists("/dev/log"):
        pytest.skip("this machine has a syslog")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        try:
            log.settimeout(30)
            m = lacunafs.mount(tree, "--log", "syslog")
            line = log.recv(4096).decode()
            while "mounted" not in line:
                line = log.recv(4096).decode()
            # daemon.notice
            assert re.fullmatch(rf"<29>.* lacunafs\[{m.worker()}\]: mounted .* at {m.path}\0?", line)
            assert not (m.store / "state" / "log").exists()
            for fd in (1, 2):
                assert os.readlink(f"/proc/{m.worker()}/fd/{fd}") == "/dev/null"
            m.umount()
        finally:
            os.unlink("/dev/log")


def test_one_line_for_a_cause(mount, serve, tree):
    """A thousand reads that fail for one reason are a few lines, and a count."""
    server = serve(tree)
    m = mount(server.url, "-o", "retries=0,readahead=0,passthrough=no")
    os.stat(m / "big")
    server.stop()
    fd = os.open(m / "big", os.O_RDONLY)
    for n in range(300):
        with pytest.raises(OSError):
            os.pread(fd, 1, (n % 80) * 65536)
    os.close(fd)
    m.umount()
    lines = m.log().splitlines()
    assert 1 <= len([x for x in lines if "/big" in x]) < 60, lines
