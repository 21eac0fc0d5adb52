# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Real web servers, each with its own way to write an index."""
import os
import subprocess

import pytest

import servers
import trees

KINDS = {
    "nginx": (servers.Nginx, {}),
    "nginx, rounded sizes": (servers.Nginx, {"exact": "off"}),
    "nginx, JSON": (servers.Nginx, {"format": "json"}),
    "apache": (servers.Apache, {}),
    "apache, plain": (servers.Apache, {"index": "-FancyIndexing"}),
    "apache, table": (servers.Apache, {"index": "FancyIndexing HTMLTable VersionSort NameWidth=*"}),
    "apache, short names": (servers.Apache, {"index": "FancyIndexing"}),
    "lighttpd": (servers.Lighttpd, {}),
    "caddy": (servers.Caddy, {}),
    "http.server": (servers.PythonHttp, {}),
}
HIDDEN = {  # what the index itself leaves out
    "apache": {b"names/~tilde", b"names/#hash"}, "lighttpd": {b"names/~tilde"}}


@pytest.fixture(scope="module")
def plain_tree(session_scratch):
    """The tree without the names that some server cannot list."""
    return trees.make_plain(session_scratch / "plain")


@pytest.mark.parametrize("kind", KINDS)
def test_tree(mount, web, plain_tree, kind):
    cls, options = KINDS[kind]
    server = web(cls, plain_tree, **options)
    m = mount(server.url)
    assert trees.differences(plain_tree, m.path) == []
    m.umount()
    server.stop()
    m = m.again()
    assert trees.differences(plain_tree, m.path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_times_and_sizes(mount, web, plain_tree, kind):
    """As exact as the server has them: stat asks where the index rounds."""
    cls, options = KINDS[kind]
    m = mount(web(cls, plain_tree, **options).url)
    for name in ("big", "sizes/f65537", "many/010.txt", "sizes/f0"):
        a, b = os.stat(plain_tree / name), os.stat(m / name)
        assert b.st_size == a.st_size
        assert abs(b.st_mtime - a.st_mtime) <= 60


@pytest.mark.parametrize("kind", ["nginx", "apache", "lighttpd", "caddy"])
def test_exec(mount, web, big_program, kind):
    program, byte = big_program
    cls, options = KINDS[kind]
    m = mount(web(cls, program.parent, **options).url)
    done = subprocess.run([m / "program", str(123 << 20)], capture_output=True, text=True)
    assert done.stdout.splitlines()[1] == str(byte(123 << 20))
    assert m.status()["network"]["bytes"] <= program.stat().st_size / 100


def test_below_the_root(mount, web, plain_tree):
    """A source that is a directory of a server, with and without the slash."""
    server = web(servers.Nginx, plain_tree)
    for url in (server.url + "sizes/", server.url + "sizes", server.url + "dirs/with%20space/"):
        m = mount(url, "-o", "retries=0")
        name = "dirs/with space" if "dirs" in url else "sizes"
        assert trees.differences(plain_tree / name, m.path) == []


def test_tls_needs_trust(mount, lacunafs, web, plain_tree, tls, scratch):
    ca, chain, key = tls
    server = web(servers.Nginx, plain_tree, tls=(chain, key))
    (scratch / "m").mkdir()
    done = lacunafs.run("mount", server.url, scratch / "m", "--store", scratch / "s")
    assert done.returncode != 0 and "certificate" in done.stderr
    m = mount(server.url, "--ca-file", ca)
    assert trees.differences(plain_tree / "sizes", m / "sizes") == []


def test_tls_checks_the_name(lacunafs, web, plain_tree, scratch):
    ca, chain, key = servers.certificate(scratch / "other", "DNS:mirror.example")
    server = web(servers.Nginx, plain_tree, tls=(chain, key))
    (scratch / "m").mkdir()
    done = lacunafs.run("mount", server.url, scratch / "m", "--store", scratch / "s",
                        "--ca-file", ca)
    assert done.returncode != 0 and "127.0.0.1" in done.stderr and "name" in done.stderr


def test_keep_alive(mount, serve, plain_tree):
    """Hundreds of files, a handful of connections."""
    server = serve(plain_tree)
    m = mount(server.url)
    assert trees.differences(plain_tree, m.path) == []
    assert len(server.connections) <= 20, len(server.connections)


def test_connection_limit(mount, serve, plain_tree):
    server = serve(plain_tree)
    m = mount(server.url, "-o", "connections=2")
    assert trees.differences(plain_tree, m.path) == []
    assert len(server.connections) <= 4


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_proxy_from_the_environment(mount, serve, plain_tree, variable):
    server = serve(plain_tree)
    m = mount("http://mirror.invalid/", env={variable: server.url})
    assert trees.differences(plain_tree / "sizes", m / "sizes") == []
    assert {r.headers["host"] for r in server.asked()} == {"mirror.invalid"}


def test_no_proxy(mount, serve, plain_tree):
    server, proxy = serve(plain_tree), serve(plain_tree)
    m = mount(server.url, env={"http_proxy": proxy.url, "no_proxy": "127.0.0.1"})
    assert (m / "big").exists() and not proxy.asked()
