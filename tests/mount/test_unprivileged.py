# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Without root: by fusermount3, and in a user namespace."""
import os
import shutil
import subprocess

import pytest


BECOME = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def become(*argv, **options):
    return subprocess.run([*BECOME, *map(str, argv)], capture_output=True, text=True, **options)


@pytest.mark.sanitize
def test_fusermount(mount, lacunafs, serve, tree, nobody):
    lacunafs.give(nobody)
    server = serve(tree)
    m = mount(server.url, user=nobody)
    done = become("diff", "-r", tree, m.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not m.status()["passthrough"]["usable"]
    assert m.status()["passthrough"]["reason"]
    assert become("stat", "-c", "%u", m / "big").stdout.strip() == str(nobody)
    # twice, and offline
    m.umount()
    server.stop()
    m = m.again()
    assert become("cmp", tree / "big", m / "big").returncode == 0


def test_fusermount_that_loses_the_type(lacunafs, tree, scratch, nobody):
    """libfuse tries again without it: nobody would find such a mount, by type or by control."""
    lacunafs.give(nobody)
    fake = scratch / "bin" / "fusermount3"
    fake.parent.mkdir(mode=0o755)
    fake.write_text(f"""#!/bin/sh
case "$*" in *subtype=*) exit 1 ;; esac
exec {shutil.which("fusermount3")} "$@"
""")
    fake.chmod(0o755)
    point = scratch / "point"
    point.mkdir()
    os.chown(point, nobody, nobody)
    done = lacunafs.run("mount", tree, point, user=nobody,
                        env={"PATH": f"{fake.parent}:{os.environ['PATH']}"})
    assert done.returncode == 1 and "only as fuse" in done.stderr, done
    assert not os.path.ismount(point)


def test_others_are_kept_out(mount, lacunafs, serve, tree, nobody):
    lacunafs.give(nobody)
    m = mount(serve(tree).url, user=nobody)
    with pytest.raises(PermissionError):
        os.listdir(m.path)
    m.umount()


def test_root_may_ask_for_status(mount, lacunafs, serve, tree, nobody):
    """Another user may not."""
    lacunafs.give(nobody)
    m = mount(serve(tree).url)
    done = lacunafs.run("status", m.path, user=nobody)
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 1


def test_user_namespace(lacunafs, serve, tree, scratch, nobody):
    """A mount as unshare -Ur gives it: no fusermount3, no passthrough, the same bytes."""
    lacunafs.give(nobody)
    os.chown(scratch, nobody, nobody)
    server = serve(tree)
    program = shutil.copy(lacunafs.path, scratch / "lacunafs")  # the checkout may be root's alone
    script = """set -e
mkdir $S/m
$L mount $U $S/m --store $S/store
diff -r $T $S/m
$L status --json $S/m > $S/status
$L umount $S/m
"""
    try:
        done = become("unshare", "-Ur", "--mount", "sh", "-c", script, timeout=100, env={
            **lacunafs.env, "S": str(scratch), "L": str(program), "U": server.url,
            "T": str(tree)})
    finally:
        os.chown(scratch, 0, 0)
    if "unshare: unshare failed" in done.stderr:
        pytest.skip("user namespaces are closed here")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert '"usable" : false' in (scratch / "status").read_text() or \
        '"usable":false' in (scratch / "status").read_text()


def test_status_in_a_user_namespace(mount, lacunafs, serve, tree, scratch, nobody):
    """Its root sees the mounts of all, and is told of its own, without a complaint."""
    other = mount(serve(tree).url, "-o", "allow_other")
    lacunafs.give(nobody)
    os.chown(scratch, nobody, nobody)
    program = shutil.copy(lacunafs.path, scratch / "lacunafs")
    script = """set -e
grep -q " $O " /proc/self/mountinfo
$L status
$L status --json
mkdir $S/m
$L mount $T $S/m --store $S/store
$L status
$L umount $S/m
"""
    try:
        done = become("unshare", "-Ur", "--mount", "sh", "-c", script, timeout=100, env={
            **lacunafs.env, "S": str(scratch), "L": str(program), "T": str(tree),
            "O": str(other.path)})
    finally:
        os.chown(scratch, 0, 0)
    if "unshare: unshare failed" in done.stderr:
        pytest.skip("user namespaces are closed here")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *_ = done.stdout.splitlines()
    assert (first, second) == ("no mounts", f"{scratch}/m")
    assert str(other.path) not in done.stdout and done.stdout.count("  source ") == 1


def test_program(mount, lacunafs, big_program, serve, nobody):
    program, byte = big_program
    lacunafs.give(nobody)
    m = mount(serve(program.parent).url, user=nobody)
    done = become(m / "program", str(77 << 20))
    assert done.stdout.splitlines()[1] == str(byte(77 << 20)), done.stderr


def test_allow_other_as_root(mount, serve, tree, nobody):
    m = mount(serve(tree).url, "-o", "allow_other")
    assert become("cmp", tree / "big", m / "big").returncode == 0
