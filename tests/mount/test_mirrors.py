# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Several servers with one tree: --mirror."""
import errno
import os
import shutil
import threading

import pytest

import lying
import servers
import trees
from mirrored import SIZE, THEN, make_tree, pair, quick, read_at, states
from outcomes import error_of
from processes import wait_until

__all__ = ["pair"]  # a fixture


def test_first_is_dead_at_mount(mount, pair):
    root, a, b = pair
    a.stop()
    m = mount(a.url, "--mirror", b.url, *quick("retries=0"))
    assert trees.differences(root, m.path) == []
    assert states(m) == ["failed", "in use"]
    assert str(a.port) in m.status()["mirrors"][0]["last_error"]["cause"]


@pytest.mark.sanitize
def test_dies_within_a_read(mount, pair, lacunafs):
    """The reader gets the right bytes, once, and no error; the mirror is used again later."""
    root, a, b = pair
    m = mount(a.url, "--mirror", b.url, *quick("mirror_retry=300ms", "retries=0"))
    os.listdir(m / "d")
    a.lie("/big", lying.truncate(1 << 20))
    a.lie("/big", lambda request, answer: threading.Thread(target=a.stop).start())
    assert (m / "big").read_bytes() == (root / "big").read_bytes()
    assert a.bytes_sent("/big") > 0 and b.asked("/big")
    assert states(m) == ["failed", "in use"]
    shown = lacunafs.run("status", m.path).stdout
    assert f"mirror 1     {a.url}  failed" in shown and f"mirror 2     {b.url}  in use" in shown
    a.honest()
    a.start()

    def back():  # each request that comes after the timer has the mirror tested
        lacunafs.run("refresh", m / "d")
        return states(m) == ["in use", "ready"]
    assert wait_until(back, 30)
    b.forget()
    assert (m / "d" / "f1").read_bytes() == (root / "d" / "f1").read_bytes()
    assert not b.asked() and a.asked("/d/f1")
    told = [line for line in m.log().splitlines() if "mirror 1 (" in line]
    assert len(told) == 2 and "failed, mirror 2 (" in told[0] and "answers again" in told[1]


@pytest.mark.parametrize("lie, kind", [
    (lying.status(404), "404"), (lying.status(403), "403"), (lying.status(500), "500"),
    (lying.page, "HTML"), (lying.drop, ""), (lying.wrong_range, "bytes"),
    (lying.status(429, Retry_After="600"), "429"), (lying.status(503, Retry_After="600"), "503")])
def test_refused(mount, pair, lie, kind):
    """What the first mirror refuses comes from the second, at once."""
    root, a, b = pair
    m = mount(a.url, "--mirror", b.url, *quick("mirror_retry=1h"))
    os.listdir(m / "d")
    a.lie("/big", lie)
    a.forget()
    for n in range(6):
        piece = read_at(m / "big", n << 19)
        assert piece == (root / "big").read_bytes()[n << 19:(n << 19) + 4096]
    # libcurl itself sends a request again on a new connection if an old one was closed
    assert len(a.asked("/big")) in ((1, 2) if lie is lying.drop else (1,))
    assert kind in m.status()["mirrors"][0]["last_error"]["cause"]
    assert m.status()["network"]["errors"] == 0
    # one file's trouble is not the mirror's
    assert states(m) == (["failed", "in use"] if lie is lying.drop else ["in use", "ready"])


def test_three_refusals(mount, pair):
    root, a, b = pair
    m = mount(a.url, "--mirror", b.url, *quick("mirror_retry=1h"))
    os.listdir(m / "d")
    a.lie("/d/*", lying.status(429, Retry_After="600"))
    a.forget()
    for n in range(8):
        assert (m / "d" / f"f{n}").read_bytes() == (root / "d" / f"f{n}").read_bytes()
    assert states(m) == ["failed", "in use"] and m.status()["network"]["errors"] == 0


def test_all_are_limited(mount, pair):
    """Retry-After is honoured within the reader's deadline."""
    root, a, b = pair
    m = mount(a.url, "--mirror", b.url, *quick())
    os.listdir(m / "d")
    for server in pair[1:]:
        server.lie("/d/f0", lying.status(503, Retry_After="1"), times=1)
    assert (m / "d" / "f0").read_bytes() == (root / "d" / "f0").read_bytes()
    first = [s.asked("/d/f0") for s in pair[1:]]
    assert min(r[0].at for r in first) + 0.9 < max(r[-1].at for r in first)


@pytest.mark.parametrize("lie", [lying.stall(0), lying.delay(60)])
def test_slow(mount, pair, lie):
    root, a, b = pair
    m = mount(a.url, "--mirror", b.url, *quick("stall_timeout=2s", "mirror_retry=1h"))
    os.listdir(m / "d")
    a.lie("/d/f0", lie)
    assert (m / "d" / "f0").read_bytes() == (root / "d" / "f0").read_bytes()
    assert states(m) == ["failed", "in use"]
    a.forget()
    assert (m / "d" / "f1").read_bytes() == (root / "d" / "f1").read_bytes()
    assert not a.asked("/d/f1")


@pytest.mark.parametrize("then", [THEN, THEN + 7200, THEN - 7200])
def test_another_version(mount, scratch, serve, then):
    """The second mirror has other bytes of the same size: no byte of them under the first one's
    name, time or version."""
    a, b = serve(make_tree(scratch / "a")), serve(make_tree(scratch / "b", seed=2, then=then))
    if then == THEN:  # as good as it gets: another ETag
        b.lie("/*", lying.header("ETag", '"other"'))
    truth = (scratch / "a" / "big").read_bytes()
    m = mount(a.url, "--mirror", b.url, *quick("retries=1"))
    os.listdir(m / "d")
    with open(m / "big", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 4096, 0) == truth[:4096]
        a.stop()
        assert error_of(lambda: os.pread(f.fileno(), 4096, 1 << 20)) == errno.EIO
        assert b.asked("/big")
        if then != THEN:  # nothing of it is cached: time and size are the only witnesses
            assert error_of((m / "d" / "f0").read_bytes) == errno.EIO
        assert os.pread(f.fileno(), 4096, 0) == truth[:4096]
        a.start()
        assert os.pread(f.fileno(), 4096, 1 << 20) == truth[1 << 20:(1 << 20) + 4096]
    assert (m / "big").read_bytes() == truth
    assert "mirror 2 (" in m.log()


def test_etags_differ(mount, pair):
    """As Apache's and nginx's do: another mirror goes on where all that is cached agrees with it. With
    -o etag=no size and time are enough."""
    root, a, b = pair
    b.lie("/*", lying.header("ETag", '"other"'))
    truth = (root / "big").read_bytes()
    m = mount(a.url, "--mirror", b.url, *quick("retries=1"))
    os.listdir(m / "d")
    with open(m / "big", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 4096, 0) == truth[:4096]
        a.stop()
        b.forget()
        assert os.pread(f.fileno(), 4096, 1 << 20) == truth[1 << 20:(1 << 20) + 4096]
        assert "goes on in another version" in m.log()
        assert any(r.start == 0 for r in b.asked("/big", "GET"))  # compared
        with open(m / "big", "rb", buffering=0) as again:
            assert os.pread(again.fileno(), 4096, 2 << 20) == truth[2 << 20:(2 << 20) + 4096]
        a.start()
        assert (m / "big").read_bytes() == truth
    m.umount()
    m = m.again()
    assert (m / "big").read_bytes() == truth
    m.umount()
    m = mount(a.url, "--mirror", b.url, *quick("etag=no"))
    os.listdir(m / "d")
    assert read_at(m / "big", 0) == truth[:4096]
    a.stop()
    b.forget()
    assert (m / "big").read_bytes() == truth and b.asked("/big", "GET")[0].start > 0


def test_etags_differ_and_data(mount, pair):
    """Equal size and time, but a byte of what is cached differs: an error."""
    root, a, b = pair
    b.lie("/*", lying.header("ETag", '"other"'))
    b.lie("/big", lambda request, answer: setattr(answer, "twist", twist), methods=("GET",))
    truth = (root / "big").read_bytes()
    m = mount(a.url, "--mirror", b.url, *quick("retries=1"))
    assert read_at(m / "big", 0) == truth[:4096]
    a.stop()
    assert error_of(lambda: read_at(m / "big", 1 << 20)) == errno.EIO
    assert "-o etag=no" in m.log() and read_at(m / "big", 0) == truth[:4096]


def twist(piece):
    return piece[:100] + bytes([piece[100] ^ 1]) + piece[101:] if len(piece) > 100 else piece


def test_names_do_not_change_back_and_forth(mount, scratch, serve):
    """The second mirror lacks a file and has another: the listing of the first one stays."""
    a, b = serve(make_tree(scratch / "a")), serve(make_tree(scratch / "b"))
    os.unlink(scratch / "b" / "d" / "f0")
    trees.put(scratch / "b" / "d" / "old", b"old")
    m = mount(a.url, "--mirror", b.url, *quick("listing_ttl=0"))
    names = sorted(os.listdir(m / "d"))
    assert names == sorted(os.listdir(scratch / "a" / "d"))
    for _ in range(3):
        a.stop()
        for _ in range(3):
            assert sorted(os.listdir(m / "d")) == names
        a.start()
    assert (m / "d" / "f0").read_bytes() == (scratch / "a" / "d" / "f0").read_bytes()
    # not for ever, if the user says so
    m.umount()
    m = m.again("--mirror", b.url, *quick("listing_ttl=0", "mirror_takeover=1ms"))
    assert sorted(os.listdir(m / "d")) == names
    a.stop()
    assert wait_until(lambda: "old" in os.listdir(m / "d"))


def test_directory_that_the_first_lacks(mount, pair):
    root, a, b = pair
    a.lie("/d/", lying.status(404))
    m = mount(a.url, "--mirror", b.url, *quick())
    assert sorted(os.listdir(m / "d")) == sorted(os.listdir(root / "d"))


def test_credentials_stay_with_their_host(mount, pair, scratch):
    root, a, b = pair
    (scratch / "token").write_text("s3cr3t")
    m = mount(a.url, "--mirror", b.url, "--token-file", scratch / "token",
              "--header", "X-Key: s3cr3t", *quick())
    a.stop()
    (m / "d" / "f0").read_bytes()
    assert b.asked("/d/f0") and "s3cr3t" not in str([r.headers for r in b.asked()])
    m.umount()
    a.start()
    m = mount(a.url, "--mirror", b.url, "--token-file", scratch / "token",
              *quick("mirror_credentials=shared"))
    a.stop()
    (m / "d" / "f0").read_bytes()
    assert b.asked("/d/f0")[-1].headers["authorization"] == "Bearer s3cr3t"


@pytest.mark.parametrize("argv, why", [
    (("--mirror", ""), "must not be empty"), (("-o", "mirror="), "expects a source"),
    (("--mirror", "ftp://x/"), "unknown kind"), (("--mirror", "{url}"), "given twice"),
    (("-o", "mirror_retry=0"), "expects a time")])
def test_wrong_arguments(lacunafs, pair, scratch, argv, why):
    (scratch / "p").mkdir()
    done = lacunafs.run("mount", pair[1].url, scratch / "p",
                        *(x.format(url=pair[1].url) for x in argv))
    assert done.returncode == 2 and why in done.stderr, done.stderr


def test_store_belongs_to_all_mirrors(mount, lacunafs, pair, serve, tree, scratch):
    """What one of them filled is there with another, also where the first is gone for good."""
    root, a, b = pair
    m = mount(a.url, "--mirror", b.url)
    assert (m / "big").read_bytes() == (root / "big").read_bytes()
    m.umount()
    for argv in ((b.url,), (a.url,), (b.url, "--mirror", a.url), (a.url,)):
        b.forget()
        m = mount(*argv, point=m.path, store=m.store)
        assert (m / "big").read_bytes() == (root / "big").read_bytes()
        assert not a.asked("/big")[len(a.requests):] and not b.asked("/big")
        m.umount()
    other = serve(tree)
    done = lacunafs.run("mount", other.url, m.path, "--store", m.store)
    assert done.returncode == 1 and f"belongs to {b.url}, not to {other.url}" in done.stderr
    # the user says that they are the same
    m = mount(other.url, "--mirror", b.url, point=m.path, store=m.store)
    m.umount()
    done = lacunafs.run("mount", a.url, m.path, "--store", m.store)
    assert done.returncode == 1 and "belongs to" in done.stderr


def test_refresh_while_the_first_is_away(mount, scratch, serve):
    """The second mirror has an older version: what is cached is newer, and stays."""
    a, b = serve(make_tree(scratch / "a")), serve(make_tree(scratch / "b", seed=2, then=THEN - 7200))
    truth = (scratch / "a" / "big").read_bytes()
    m = mount(a.url, "--mirror", b.url, *quick("retries=0"))
    assert (m / "big").read_bytes() == truth
    a.stop()
    for _ in range(2):  # once while it is taken for alive
        done = m.program.run("refresh", m / "big")
        assert done.returncode != 0 and "kept" in done.stdout + done.stderr
        assert (m / "big").read_bytes() == truth
    assert b.asked("/big")
    a.start()
    trees.put(scratch / "a" / "big", trees.noise(3, SIZE), THEN + 60)

    def new():
        m.program.run("refresh", m / "big")
        return (m / "big").read_bytes() == trees.noise(3, SIZE)
    assert wait_until(new, 30)


@pytest.mark.parametrize("kind", ["http", "dir"])
def test_first_comes_back_older(mount, scratch, serve, kind):
    """Listed by the second mirror, then the first one returns with an older file of equal size:
    no byte of it under the newer time, in this mount and in the next one."""
    old, new = make_tree(scratch / "old", seed=2, then=THEN - 7200), make_tree(scratch / "new")
    a, b = serve(old), serve(new)
    first = a.url if kind == "http" else scratch / "first"
    if kind == "http":
        a.stop()
    m = mount(first, "--mirror", b.url, *quick("retries=0"))
    assert (m / "d" / "f7").read_bytes() and states(m) == ["failed", "in use"]
    if kind == "http":
        a.start()
    else:
        os.rename(old, first)

    def back():
        m.program.run("refresh", m / "d" / "f7")  # some request
        return states(m) == ["in use", "ready"]
    assert wait_until(back, 30)
    for name in ("big", "d/f0"):
        assert (m / name).read_bytes() == (new / name).read_bytes(), name
    assert "before the listed time" in m.log()
    m.umount()
    m = m.again()
    assert (m / "d/f1").read_bytes() == (new / "d/f1").read_bytes()


def test_order_changes_between_mounts(mount, scratch, serve):
    """ETags of two servers without Last-Modified agree by chance, and the files differ."""
    a, b = serve(make_tree(scratch / "a")), serve(make_tree(scratch / "b", seed=2))
    for server in (a, b):
        server.lie("/*", lying.together(lying.header("ETag", '"1"'),
                                        lying.header("Last-Modified", None)))
    m = mount(a.url, "--mirror", b.url, *quick("retries=0"))
    truth = (scratch / "a" / "big").read_bytes()
    assert read_at(m / "big", 0) == truth[:4096]
    m.umount()
    a.stop()
    m = mount(b.url, "--mirror", a.url, *quick("retries=0"), point=m.path, store=m.store)
    os.listdir(m.path)
    assert read_at(m / "big", 0) == truth[:4096]
    assert error_of(lambda: read_at(m / "big", 1 << 20)) == errno.EIO
    assert "changed at the source" in m.log()


def test_offline_in_the_middle(mount, pair):
    """Neither mirror answers: what is cached stays, the rest is an error; later all is well."""
    root, a, b = pair
    m = mount(a.url, "--mirror", b.url, *quick("retries=0", "listing_ttl=0"))
    names = sorted(os.listdir(m / "d"))
    (m / "d" / "f0").read_bytes()
    a.stop()
    b.stop()
    assert error_of((m / "d" / "f1").read_bytes) == errno.EIO
    assert sorted(os.listdir(m / "d")) == names
    assert (m / "d" / "f0").read_bytes() == (root / "d" / "f0").read_bytes()
    log = m.log()
    assert "no other is left" in log
    assert any(a.url in line and b.url in line and "/d/f1" in line for line in log.splitlines())
    a.start()
    assert wait_until(lambda: error_of((m / "d" / "f1").read_bytes) == 0)
    m.umount()
    a.stop()
    m = m.again()  # offline from the start
    assert sorted(os.listdir(m / "d")) == names
    assert (m / "d" / "f1").read_bytes() == (root / "d" / "f1").read_bytes()


@pytest.mark.parametrize("kinds, options", [
    ((servers.Nginx, servers.Nginx), ()), ((servers.Apache, servers.Apache), ()),
    ((servers.Nginx, servers.Apache), ("etag=no",))])
def test_real_servers(mount, scratch, web, kinds, options):
    """A copy by cp -p on another server continues a file."""
    root = make_tree(scratch / "tree")
    shutil.copytree(root, scratch / "copy")
    a, b = web(kinds[0], root), web(kinds[1], scratch / "copy")
    m = mount(a.url, "--mirror", b.url, *quick(*options))
    os.listdir(m / "d")
    truth = (root / "big").read_bytes()
    assert read_at(m / "big", 0) == truth[:4096]
    a.stop()
    assert (m / "big").read_bytes() == truth
    assert (m / "d" / "f0").read_bytes() == (root / "d" / "f0").read_bytes()
    assert states(m) == ["failed", "in use"]
    a.start()

    def back():
        m.program.run("refresh", m / "d")
        return states(m) == ["in use", "ready"]
    assert wait_until(back, 30), m.status()["mirrors"]


def test_nothing_is_proven(mount, pair):
    """Servers that tell neither ETag nor Last-Modified: equal sizes are not enough."""
    root, a, b = pair
    for server in (a, b):
        server.lie("/*", lying.together(lying.header("ETag", None),
                                        lying.header("Last-Modified", None)))
    m = mount(a.url, "--mirror", b.url, *quick("retries=0", "etag=no"))
    os.listdir(m / "d")
    assert read_at(m / "big", 0) == (root / "big").read_bytes()[:4096]
    a.stop()
    assert error_of(lambda: read_at(m / "big", 1 << 20)) == errno.EIO
    assert error_of((m / "d" / "f0").read_bytes) == errno.EIO
    assert "no Last-Modified" in m.log()
    a.start()
    assert wait_until(lambda: error_of((m / "d" / "f0").read_bytes) == 0)
