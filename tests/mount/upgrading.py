# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Upgrades of live mounts, and programs for them."""
import contextlib
import glob
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

import processes

LINE = "upgraded to version"  # of the log
VERSION = re.compile(rb"\b0\.1\.0\b")
LAYOUT_AT = 1536  # the header's first bytes, of which one word is the layout

# What asks for an upgrade, and is then started as the new program: HOW is what it does.
FALSE_PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char line[4096];
	if (strncmp(argv[1], "--resume=", 9) == 0) {
		HOW;
		return 0;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(a.sun_path, argv[1]);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 2;
	dprintf(fd, "{\"verb\":\"upgrade\"}\n");
	ssize_t n = read(fd, line, sizeof(line));
	return n <= 0 || write(1, line, n) != n;
}
"""


def program_of(pid):
    return processes.executable(pid)


def newer(program, scratch):
    """The path of this program with another version string."""
    other = pathlib.Path(scratch) / "newer"
    data, changed = VERSION.subn(b"0.1.9", pathlib.Path(program.path).read_bytes())
    assert changed
    other.write_bytes(data)
    other.chmod(0o755)
    return other


def upgrade(m, new, user=None):
    """`new upgrade MOUNT`, as `user`."""
    argv = m.program.argv("upgrade", m.path, user=user)
    argv[-3] = str(new)
    return subprocess.run(argv, env=m.program.env, capture_output=True, text=True, timeout=120)


def upgraded(m, new):
    """By `new`, in the keeper and in its worker."""
    done = upgrade(m, new, m.user)
    assert done.returncode == 0, done.stderr
    assert program_of(m.pid) == program_of(m.worker()) == str(new)


@contextlib.contextmanager
def trial(m, new):
    """While the worker of `new` serves, and the keeper, which stands still, waits for what becomes of
    it. Gives the worker's pid."""
    assert processes.wait_until(lambda: program_of(m.worker()) == str(new), 60)
    try:
        for _ in range(30):  # the keeper may not have told it to begin
            os.kill(m.pid, signal.SIGSTOP)
            if processes.wait_until(lambda: LINE in m.log(), 2):
                break
            os.kill(m.pid, signal.SIGCONT)
            time.sleep(0.01)
        else:
            raise AssertionError("the new worker does not serve")
        yield m.worker()
    finally:
        os.kill(m.pid, signal.SIGCONT)


def address(m):
    device = os.stat(m.path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    places = ("/run", m.program.env["XDG_RUNTIME_DIR"])
    [found] = [f for place in places for f in glob.glob(f"{place}/lacunafs/{name}")]
    return found


def false_program(scratch, how):
    source = pathlib.Path(scratch) / "false.c"
    source.write_text(FALSE_PROGRAM.replace("HOW", how))
    out = source.with_suffix("")
    subprocess.run(["cc", "-o", out, source], check=True)
    return out


def asked_by(program, m):
    done = subprocess.run([program, address(m)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def area_of(m):
    """The path of the keeper's descriptor of its area."""
    for fd in glob.glob(f"/proc/{m.pid}/fd/*"):
        try:
            if os.readlink(fd).startswith("/memfd:lacunafs"):
                return fd
        except FileNotFoundError:
            pass  # it was closed since
    raise AssertionError("no area")


def layout_change(m, value=None):
    """Gives the state of the mount another layout, or `value`; returns what it was."""
    with open(area_of(m), "r+b", buffering=0) as area:
        header = area.read(LAYOUT_AT)
        [at] = [n for n in range(8, LAYOUT_AT, 8)
                if struct.unpack_from("<Q", header, n - 8)[0] == 0x7e9000000000]
        before = struct.unpack_from("<Q", header, at)[0]
        os.pwrite(area.fileno(), struct.pack("<Q", before ^ 1 if value is None else value), at)
    return before
