# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Bad input: one clear line on stderr, a failing exit status, nothing left behind."""
import os
import pathlib
import signal
import subprocess
import threading

import pytest

import lying
import processes


def refuse(lacunafs, *argv, says=(), status=None, **options):
    before = processes.children()
    done = lacunafs.run(*argv, **options)
    assert done.returncode != 0 and (status is None or done.returncode == status)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("lacunafs"), done.stderr
    assert done.stdout == ""
    for word in says:
        assert word.lower() in lines[0].lower(), lines[0]
    left = [p for p in processes.children() - before
            if processes.executable(p) == str(lacunafs.path)]
    assert not left, "a daemon was left behind"
    return lines[0]


@pytest.fixture
def point(scratch):
    (scratch / "m").mkdir()
    return scratch / "m"


@pytest.mark.parametrize("url, says", [
    ("http://", ["http://"]), ("http:///x", []), ("gopher://host/x", ["gopher"]),
    ("ftp://host/x", ["ftp"]), ("http://127.0.0.1:99999/", []), ("http://bad host/", []),
    ("oci://registry/x", ["oci"]), ("", []), ("http://127.0.0.1:x/", []),
    ("dir:/does/not/exist", ["/does/not/exist"]), ("/does/not/exist", ["/does/not/exist"]),
    ("dir:", [])])
def test_url(lacunafs, point, scratch, url, says):
    refuse(lacunafs, "mount", url, point, "--store", scratch / "s", says=says)


def test_source_is_a_file(lacunafs, point, scratch):
    refuse(lacunafs, "mount", "/etc/passwd", point, "--store", scratch / "s", says=["/etc/passwd"])


@pytest.mark.parametrize("argv", [
    [], ["mount"], ["mount", "http://127.0.0.1/"], ["mount", "a", "b", "c"], ["frobnicate"],
    ["mount", "--no-such-option", "/", "/mnt"], ["umount"], ["fill"], ["status", "--frob"],
    ["mount", "/", "/mnt", "--header", "no colon"], ["mount", "/", "/mnt", "-o", "chunk_size=5000"],
    ["mount", "/", "/mnt", "-o", "wait_timeout=soon"], ["mount", "/", "/mnt", "-o", "filemode=9"],
    ["mount", "/", "/mnt", "-o", "passthrough=maybe"]])
def test_usage(lacunafs, argv):
    done = lacunafs.run(*argv)
    assert done.returncode != 0
    assert done.stderr and len(done.stderr.splitlines()) <= 30


def test_unknown_fuse_option(lacunafs, tree, point, scratch):
    refuse(lacunafs, "mount", tree, point, "--store", scratch / "s", "-o", "no_such_option")


def test_mountpoint_missing(lacunafs, tree, scratch):
    refuse(lacunafs, "mount", tree, scratch / "none", "--store", scratch / "s",
           says=["none", "No such file"])


def test_mountpoint_is_a_file(lacunafs, tree, scratch):
    (scratch / "f").write_text("")
    refuse(lacunafs, "mount", tree, scratch / "f", "--store", scratch / "s", says=["Not a directory"])


def test_mountpoint_busy(mount, lacunafs, tree, scratch):
    m = mount(tree)
    line = refuse(lacunafs, "mount", tree, m.path, "--store", scratch / "other", says=[str(m.path)])
    assert "mount" in line
    assert os.listdir(m.path)


@pytest.mark.sanitize
def test_store_in_use(mount, lacunafs, tree, point):
    m = mount(tree)
    refuse(lacunafs, "mount", tree, point, "--store", m.store, says=[str(m.pid)])
    assert os.listdir(m.path)


def test_store_of_another_source(mount, lacunafs, tree, scratch, point):
    m = mount(tree)
    m.umount()
    other = scratch / "other"
    other.mkdir()
    refuse(lacunafs, "mount", other, point, "--store", m.store, says=[str(tree)])
    assert os.listdir(m.again().path)


def test_store_of_a_newer_format(mount, lacunafs, tree, point):
    m = mount(tree)
    (m / "sizes" / "f1").read_bytes()
    m.umount()
    changed = 0
    for file in (m.store / "state").iterdir():
        if file.is_file() and file.name != "log":
            text = file.read_bytes()
            for line in text.splitlines():
                key, _, value = line.partition(b"=")
                if key.strip().lower() in (b"format", b"version") and value.strip().isdigit():
                    file.write_bytes(text.replace(line, key + b"=%d" % (int(value) + 1000)))
                    changed += 1
    assert changed == 2, "where does the store keep its format?"
    refuse(lacunafs, "mount", tree, point, "--store", m.store, says=["newer"])


def test_store_is_something_else(lacunafs, tree, scratch, point):
    for name in ("thesis.tex", "notes"):
        (scratch / "s" / name).parent.mkdir(exist_ok=True)
        (scratch / "s" / name).write_text("precious")
    refuse(lacunafs, "mount", tree, point, "--store", scratch / "s", says=[str(scratch / "s")])
    assert sorted(os.listdir(scratch / "s")) == ["notes", "thesis.tex"]


def test_store_is_a_file(lacunafs, tree, scratch, point):
    (scratch / "s").write_text("precious")
    refuse(lacunafs, "mount", tree, point, "--store", scratch / "s")
    assert (scratch / "s").read_text() == "precious"


def test_store_without_permission(lacunafs, tree, scratch, nobody):
    lacunafs.give(nobody)
    point = scratch / "m"
    point.mkdir()
    os.chown(point, nobody, nobody)
    (scratch / "closed").mkdir(mode=0o700)
    refuse(lacunafs, "mount", tree, point, "--store", scratch / "closed" / "s", user=nobody,
           says=["Permission denied"])


@pytest.mark.parametrize("argv", [
    ("--store", ""), ("--store=",), ("-o", "store="), ("-o", "store"), ("--log", ""),
    ("--token-file=",), ("--ca-file", "")])
def test_names_that_are_empty(lacunafs, tree, point, argv):
    """As of a script's variable that is not set; none of them is the default."""
    refuse(lacunafs, "mount", tree, point, *argv, status=2, says=["store" if "store" in argv[-1]
                                                                  else argv[0].strip("=")])


def test_mount_that_is_interrupted(lacunafs, serve, tree, point):
    """While the source is being asked: the one who pressed Ctrl-C is told so, and nothing stays."""
    server, asked = serve(tree), threading.Event()

    def lie(request, answer):
        asked.set()
        return lying.stall()(request, answer)
    server.lie("/", lie)
    mounting = lacunafs.start("mount", server.url, point, stderr=subprocess.PIPE)
    assert asked.wait(60)
    mounting.send_signal(signal.SIGINT)
    err = mounting.communicate(timeout=60)[1]
    assert err == f"lacunafs: {server.url}: interrupted before it answered\n"
    assert mounting.returncode == 1 and not os.path.ismount(point)


@pytest.mark.parametrize("fd", [77, -5])
def test_ready_fd_that_is_none(lacunafs, tree, point, fd):
    refuse(lacunafs, "mount", tree, point, "-f", f"--ready-fd={fd}", status=2,
           says=[f"--ready-fd: {fd} is not an open descriptor"])


def test_source_without_permission(lacunafs, scratch, nobody):
    lacunafs.give(nobody)
    (scratch / "closed").mkdir(mode=0o700)
    (scratch / "m").mkdir()
    os.chown(scratch / "m", nobody, nobody)
    line = refuse(lacunafs, "mount", scratch / "closed", scratch / "m", user=nobody)
    assert line == f"lacunafs: dir:{scratch}/closed: Permission denied"


def test_umount_of_another_users_mount(mount, lacunafs, tree, nobody):
    lacunafs.give(nobody)
    m = mount(tree)
    refuse(lacunafs, "umount", m.path, user=nobody, status=1,
           says=["mounted by user 0; only that user and root can"])
    assert os.path.ismount(m.path)


def test_store_below_the_mountpoint(lacunafs, tree, point):
    """A mount over its own store would wait for itself."""
    refuse(lacunafs, "mount", tree, point, "--store", point / "s")


def test_a_tree_within_itself(mount, lacunafs, scratch):
    source = scratch / "source"
    (source / "sub").mkdir(parents=True)
    refuse(lacunafs, "mount", source, source / "sub", "--store", scratch / "s", says=["inside"])
    (scratch / "m").mkdir()
    refuse(lacunafs, "mount", source, scratch / "m", "--store", source / "s", says=["inside"])
    m = mount(source, point=source)
    assert os.listdir(m.path) == ["sub"]


def test_no_permission_on_dev_fuse(lacunafs, tree, scratch, nobody):
    lacunafs.give(nobody)
    (scratch / "m").mkdir()
    os.chown(scratch / "m", nobody, nobody)
    # a namespace in which /dev/fuse is closed and fusermount3 cannot be run
    script = ("cp -a /dev/fuse $T/fuse && chmod 600 $T/fuse && mount --bind $T/fuse /dev/fuse && "
              'mount --bind /dev/null "$(command -v fusermount3)" && exec "$@"')
    done = lacunafs.run("mount", tree, scratch / "m", "--store", scratch / "home" / "s", user=nobody,
                        env={"T": str(scratch)}, prefix=[
                            "unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"])
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert any("/dev/fuse" in line or "ermission" in line for line in lines), done.stderr
    assert len(lines) <= 2, done.stderr


def test_no_space(mount, lacunafs, serve, tree, scratch):
    """A full disk is ENOSPC to the reader, and nothing wrong is kept."""
    disk, image = scratch / "disk", scratch / "image"
    disk.mkdir()
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    try:
        with open(disk / "fill", "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            except OSError:
                pass
        os.truncate(disk / "fill", max(0, os.path.getsize(disk / "fill") - (3 << 20)))
        m = mount(serve(tree).url, "-o", "retries=0", store=disk / "s")
        with pytest.raises(OSError) as e:
            (m / "big").read_bytes()
        assert e.value.errno == 28, e.value
        os.truncate(disk / "fill", 0)
        assert (m / "big").read_bytes() == (tree / "big").read_bytes()
        m.umount()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("code, errno", [(401, 13), (403, 13), (404, 5), (500, 5)])
def test_status_of_a_file(mount, serve, tree, code, errno):
    server = serve(tree)
    m = mount(server.url, "-o", "retries=0")
    os.listdir(m / "sizes")
    server.lie("/big", lying.status(code))
    with pytest.raises(OSError) as e:
        (m / "big").read_bytes()
    assert e.value.errno == errno
    assert [line for line in m.log().splitlines() if str(code) in line]


def test_umount_of_nothing(lacunafs, scratch):
    refuse(lacunafs, "umount", scratch, says=[str(scratch)])
    refuse(lacunafs, "umount", scratch / "none", says=["none"])


def test_umount_busy(mount, lacunafs, tree):
    m = mount(tree)
    with open(m / "big", "rb"):
        done = lacunafs.run("umount", m.path)
        assert done.returncode != 0 and "busy" in done.stderr
    assert (m / "big").exists()


def test_status_and_fill_elsewhere(lacunafs, scratch):
    refuse(lacunafs, "status", scratch, says=[str(scratch)])
    (scratch / "f").write_text("")
    refuse(lacunafs, "fill", scratch / "f", says=[str(scratch / "f")])


def test_default_store(lacunafs, tree, point):
    """Under XDG_CACHE_HOME/lacunafs, not readable for others."""
    assert lacunafs.run("mount", tree, point).returncode == 0
    try:
        stores = list(pathlib.Path(lacunafs.env["XDG_CACHE_HOME"]).glob("lacunafs/*"))
        assert len(stores) == 1 and (stores[0] / "tree").is_dir()
        assert stores[0].stat().st_mode & 0o077 == 0
    finally:
        assert lacunafs.run("umount", point).returncode == 0
