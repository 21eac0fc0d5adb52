# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Mounts of published trees: exact, verified, without a request for a directory."""
import errno
import os
import subprocess

import pytest

import lying
import published
import servers
import trees
from outcomes import error_of, soon


@pytest.fixture
def everything(scratch):
    return published.make_everything(scratch / "tree")


@pytest.fixture
def small(scratch):
    tree = scratch / "tree"
    trees.put(tree / "f", trees.noise(1, 5 * published.BLOCK + 100))
    trees.put(tree / "d" / "e" / "g", b"g\n")
    return tree


def below_lacuna(tree):
    return [p for p in trees.walk(tree) if p.startswith(b".lacuna")]


def twist(at):
    """One bit of the file's byte `at` is wrong, whatever range is asked for."""
    def lie(request, answer):
        first = answer.offset if answer.status == 206 else 0

        def flip(body, offset=first):
            if not offset <= at < offset + len(body):
                return body
            return body[:at - offset] + bytes([body[at - offset] ^ 1]) + body[at - offset + 1:]
        answer.twist = flip
    return lie


@pytest.mark.sanitize
def test_equals_the_original(lacunafs, mount, everything, serve):
    """Through HTTP, which has none of it."""
    published.publish(lacunafs, everything)
    server = serve(everything)
    m = mount(server.url, *(["-o", "dev,suid"] if os.geteuid() == 0 else []))
    assert trees.differences(everything, m.path, published.ALL, below_lacuna(everything)) == []
    asked = {(r.method, r.path) for r in list(server.requests)}
    assert not [x for x in asked if x[0] != "GET" or x[1].endswith("/")]
    assert sum(r.path.startswith("/.lacuna") for r in list(server.requests)) == 2
    assert m.program.run("verify", m.path).returncode == 0


def test_the_root_directory(lacunafs, mount, everything, serve):
    """Its mode, owner, time and xattrs: at the mount, again after a remount, and after a local change."""
    os.setxattr(everything, "user.root", b"of the root")
    os.setxattr(everything, "user.other", b"o" * 2000)
    subprocess.run(["setfacl", "-d", "-m", "u:3:rx", everything], check=True)
    os.chmod(everything, 0o750)
    (everything / ".lacuna").mkdir()
    os.utime(everything, ns=(1, 1_234_567_890_123_456_789))
    published.publish(lacunafs, everything)

    def attributes(path):
        st = os.stat(path)
        return (st.st_mode, st.st_uid, st.st_gid, {n: os.getxattr(path, n) for n in sorted(os.listxattr(path))})
    expected = attributes(everything)
    m = mount(serve(everything).url)
    assert attributes(m.path) == expected and os.stat(m.path).st_mtime_ns == 1_234_567_890_123_456_789
    m.umount()
    m = m.again("-o", "offline")
    assert attributes(m.path) == expected
    (m / "mine").write_bytes(b"mine")
    assert attributes(m.path) == expected
    os.setxattr(m.path, "user.mine", b"mine")
    os.removexattr(m.path, "user.root")
    del expected[3]["user.root"]
    expected[3]["user.mine"] = b"mine"
    assert attributes(m.path) == expected
    m.umount()
    m = m.again("-o", "offline")
    assert attributes(m.path) == expected


def test_nginx_and_the_kernel(lacunafs, mount, everything, web):
    """A walk needs two requests; again after a remount, and without the network."""
    published.publish(lacunafs, everything)
    server = web(servers.Nginx, everything)
    m = mount(server.url)
    what = [a for a in published.ALL if a != "content"]
    assert trees.differences(everything, m.path, what, below_lacuna(everything)) == []
    assert m.path.joinpath("plain").read_bytes() == b"hello\n"
    m.umount()
    server.stop()
    m = m.again("-o", "offline")
    assert trees.differences(everything, m.path, what, below_lacuna(everything)) == []
    assert m.path.joinpath("plain").read_bytes() == b"hello\n"
    assert error_of((m / "big").read_bytes) == errno.EIO


def test_directory_source(lacunafs, mount, everything):
    published.publish(lacunafs, everything)
    m = mount(everything)
    assert trees.differences(everything, m.path, published.ALL, below_lacuna(everything)) == []
    assert not (m / ".lacuna").exists()


@pytest.mark.sanitize
def test_flipped_blocks_are_refused(lacunafs, mount, small, serve):
    """Each block once; nothing of it is stored, and the others can be read."""
    published.publish(lacunafs, small)
    data, server = (small / "f").read_bytes(), serve(small)
    for block in range(6):
        server.honest()
        server.lie("/f", twist(block * published.BLOCK + 50))
        m = mount(server.url, "-o", "readahead=0,retries=0")
        fd = os.open(m / "f", os.O_RDONLY)
        for n in range(6):
            at = n * published.BLOCK
            if n == block:
                assert error_of(os.pread, fd, 100, at) == errno.EIO
            else:
                assert os.pread(fd, 100, at) == data[at:at + 100]
        cause = m.status("f")["last_error"]["cause"]
        assert f"/f: block {block} (bytes {block * published.BLOCK} to" in cause
        assert "expected sha256:" in cause and "found sha256:" in cause
        server.honest()
        assert os.pread(fd, 100, block * published.BLOCK) == data[block * published.BLOCK:][:100]
        os.close(fd)
        m.umount()


def test_the_next_mirror_has_the_right_block(lacunafs, mount, small, serve):
    published.publish(lacunafs, small)
    bad, good = serve(small), serve(small)
    good.lie("/f", lying.header("ETag", '"another server"'))
    bad.lie("/f", twist(3 * published.BLOCK))
    m = mount(bad.url, "--mirror", good.url)
    assert (m / "f").read_bytes() == (small / "f").read_bytes()


@pytest.mark.sanitize
def test_the_next_mirror_has_the_right_index(lacunafs, mount, small, serve):
    """One that is damaged, that breaks off, or that is missing; each at the first of three mirrors."""
    for n in range(600):
        trees.put(small / "many" / f"{n}", b"%d" % n)
    index = published.publish(lacunafs, small)
    path = f"/.lacuna/{index.path.name}"
    for lie in (twist(len(index.data) // 2), twist(100), lying.status(404), lying.truncate(50000)):
        first, second, third = serve(small), serve(small), serve(small)
        first.lie(path, lie)
        second.lie(path, twist(len(index.data) - 10))
        m = mount(first.url, "--mirror", second.url, "--mirror", third.url, "-o", "retries=0")
        assert (m / "many" / "599").read_bytes() == b"599"
        assert m.status()["published"]["root"] == f"sha256:{index.root}"
        m.umount()
    second.lie(path, twist(100))
    third.lie(path, twist(200))
    point = small.with_name("point")
    point.mkdir()
    done = lacunafs.run("mount", second.url, point, "--mirror", third.url, "--store", small.with_name("none"), "-o", "retries=0")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.count("damaged from byte 0 on") == 2 and third.url in done.stderr


def test_changed_at_the_source(lacunafs, mount, small, serve):
    """Not published again: an error, not the new bytes."""
    published.publish(lacunafs, small)
    server = serve(small)
    m = mount(server.url, "-o", "retries=0")
    trees.put(small / "f", trees.noise(9, 5 * published.BLOCK + 100))
    assert error_of((m / "f").read_bytes) == errno.EIO
    m.umount()
    m = mount(server.url, "-o", "verify=no")
    assert (m / "f").read_bytes() == (small / "f").read_bytes()


@pytest.mark.sanitize
def test_new_version_under_a_mount(lacunafs, mount, small, serve):
    published.publish(lacunafs, small)
    server = serve(small)
    m = mount(server.url, "-o", "listing_ttl=0")
    assert (m / "d" / "e" / "g").read_bytes() == b"g\n"
    (m / "d" / "mine").write_bytes(b"local")
    trees.put(small / "d" / "e" / "g", b"another g\n")
    trees.put(small / "d" / "new", b"new\n")
    os.unlink(small / "f")
    os.chmod(small / "d" / "e", 0o700)
    published.publish(lacunafs, small)
    soon(lambda: (m / "d" / "new").exists())
    assert (m / "d" / "new").read_bytes() == b"new\n"
    assert (m / "d" / "e" / "g").read_bytes() == b"g\n"  # cached: until it is refreshed
    assert m.program.run("refresh", m.path).returncode == 0
    assert (m / "d" / "e" / "g").read_bytes() == b"another g\n"
    assert os.stat(m / "d" / "e").st_mode & 0o777 == 0o700
    soon(lambda: not (m / "f").exists())
    assert (m / "d" / "mine").read_bytes() == b"local"
    assert len(os.listdir(m.store / "state" / "index")) == 2


def test_an_older_version_is_refused(lacunafs, mount, small, serve):
    published.publish(lacunafs, small)
    head, server = (small / ".lacuna" / "head"), serve(small)
    before = head.read_bytes()
    trees.put(small / "d" / "new", b"new\n")
    published.publish(lacunafs, small)
    m = mount(server.url)
    assert (m / "d" / "new").exists()
    head.write_bytes(before)
    assert m.program.run("refresh", m.path).returncode in (0, 1)
    assert (m / "d" / "new").exists()
    assert "an older version than the one in use" in m.log()
    m.umount()
    m = m.again("-o", "allow_rollback,listing_ttl=0")
    soon(lambda: not (m / "d" / "new").exists())


def test_pinned(lacunafs, mount, small, serve):
    """The root in the URL: that version, whatever the head says; another one is an error."""
    first = published.publish(lacunafs, small)
    trees.put(small / "d" / "new", b"new\n")
    published.publish(lacunafs, small)
    server = serve(small)
    m = mount(f"{server.url}#sha256:{first.root}")
    assert os.listdir(m / "d") == ["e"]
    m.umount()
    m = mount(f"dir:{small}#sha256:{first.root}")
    assert os.listdir(m / "d") == ["e"]
    done = lacunafs.run("mount", f"{server.url}#sha256:{'0' * 64}", m.path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    point = m.program.scratch / "point"
    point.mkdir()
    done = lacunafs.run("mount", f"{server.url}#sha256:{'0' * 64}", point,
                        "--store", point.with_name("pinned"))
    assert done.returncode == 1 and "no such index, which the mount is pinned to" in done.stderr


@pytest.mark.parametrize("lie", [lying.status(404), lying.status(403), lying.page])
def test_no_index(mount, small, serve, lie):
    """A server without one, or that refuses dotfiles, or has a page for what is missing."""
    server = serve(small)
    server.lie("/.lacuna/*", lie)
    m = mount(server.url)
    assert trees.differences(small, m.path) == []
    assert sum(r.path.startswith("/.lacuna") for r in list(server.requests)) == 1


def test_not_asked_for(lacunafs, mount, small, serve):
    published.publish(lacunafs, small)
    server = serve(small)
    m = mount(server.url, "-o", "index=no")
    assert (m / "f").read_bytes() == (small / "f").read_bytes()
    assert not [r for r in list(server.requests) if r.path == "/.lacuna/head"]


def test_tree_without_its_index(lacunafs, mount, small, serve):
    """A tree that had an index has one: what is kept stays in use."""
    published.publish(lacunafs, small)
    server = serve(small)
    m = mount(server.url)
    m.umount()
    server.lie("/.lacuna/*", lying.status(404))
    m = m.again("-o", "listing_ttl=0")
    assert (m / "d" / "e" / "g").read_bytes() == b"g\n"
    assert "no index any more" in m.log()


@pytest.mark.sanitize
def test_the_kept_index_is_cut_or_changed(lacunafs, mount, small, serve):
    """Under the mount, by a disk that fails or by another program: an error, or what was there."""
    for n in range(2000):
        trees.put(small / "many" / f"{n:04}", b"")
    published.publish(lacunafs, small)
    server = serve(small)
    m = mount(server.url, "-o", "listing_ttl=0")
    assert os.listdir(m / "d") == ["e"]
    [index] = [p for p in (m.store / "state" / "index").iterdir() if p.name != "head"]
    whole = index.read_bytes()
    index.write_bytes(bytes(len(whole)))
    os.truncate(index, 4096)
    with pytest.raises(OSError) as e:
        len(os.listdir(m / "many"))
    assert e.value.errno == errno.EIO
    assert "cut short" in m.log()
    index.write_bytes(whole)
    assert len(os.listdir(m / "many")) == 2000


def test_attributes_come_with_the_names(lacunafs, mount, scratch, serve):
    """A walk looks up no file of a large directory: the names have brought its attributes."""
    tree = scratch / "tree"
    for n in range(3000):
        trees.put(tree / "d" / f"{n:05}", b"")
    published.publish(lacunafs, tree)
    m = mount(serve(tree).url)
    assert subprocess.run(["find", m.path, "-ls"], stdout=subprocess.PIPE, check=True).stdout.count(b"\n") == 3002
    counts = {line.split('"')[1]: int(line.split()[-1])
              for line in m.program.run("metrics", m.path).stdout.splitlines()
              if line.startswith("lacunafs_request_duration_seconds_count{")}
    assert counts["readdirplus"] > 1 and counts.get("lookup", 0) < 300, counts
