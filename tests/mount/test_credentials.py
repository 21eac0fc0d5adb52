# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Credentials reach their host and nothing else: no log, no status, no other host."""
import base64
import concurrent.futures
import contextlib
import errno
import os
import subprocess
import threading

import pytest

import lying
import trees
from outcomes import error_of
from processes import wait_until

SECRET = "s3cr3t-v4lue"


def basic(user):
    return "Basic " + base64.b64encode(f"{user}:{SECRET}".encode()).decode()


def require(server, value, name="authorization"):
    """401 unless the header is there."""
    def lie(request, answer):
        if request.headers.get(name) != value:
            lying.status(401)(request, answer)
    server.lie("*", lie)


def forms(value=SECRET):
    return [value, base64.b64encode(value.encode()).decode().rstrip("="),
            base64.b64encode(b"u:" + value.encode()).decode().rstrip("=")]


def nowhere(m, lacunafs, *also):
    """The secret is in no output, log, store file name or content."""
    texts = [m.log(), str(m.status()), str(m.status("big")),
             lacunafs.run("status", m.path).stdout, lacunafs.run("status").stdout]
    texts += [p.read_bytes().decode("latin-1") for p in (m.store / "state").rglob("*") if p.is_file()]
    texts += [str(p) for p in m.store.rglob("*")] + list(also)
    texts += [open("/proc/self/mountinfo", encoding="latin-1").read()]
    for text in texts:
        for form in forms():
            assert form not in text


def test_header(mount, serve, tree, lacunafs):
    server = serve(tree)
    require(server, SECRET, "x-key")
    m = mount(server.url, "--header", f"X-Key: {SECRET}")
    assert trees.differences(tree / "sizes", m / "sizes") == []
    (m / "big").read_bytes()
    nowhere(m, lacunafs)


def test_url(mount, serve, tree, lacunafs):
    server = serve(tree)
    require(server, basic("u"))
    m = mount(server.url.replace("://", f"://u:{SECRET}@"))
    (m / "big").read_bytes()
    assert m.status()["source"].rstrip("/") == server.url.rstrip("/")
    nowhere(m, lacunafs)
    # and the store belongs to the URL without them
    m.umount()
    m = mount(server.url, point=m.path, store=m.store)
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


def test_netrc(mount, serve, tree, lacunafs):
    server = serve(tree)
    require(server, basic("u"))
    netrc = lacunafs.scratch / "home" / ".netrc"
    netrc.write_text(f"machine {server.host} login u password {SECRET}\n")
    netrc.chmod(0o600)
    m = mount(server.url)
    (m / "big").read_bytes()
    nowhere(m, lacunafs)
    m.umount()
    done = lacunafs.run("mount", server.url, m.path, "--store", lacunafs.scratch / "other",
                        "-o", "netrc=no,retries=0")
    assert done.returncode != 0 and "401" in done.stderr


@pytest.mark.sanitize
def test_token_file_is_read_again(mount, serve, tree, lacunafs):
    token = lacunafs.scratch / "token"
    token.write_text(SECRET + "\n")
    server = serve(tree)
    require(server, f"Bearer {SECRET}")
    m = mount(server.url, "--token-file", token, "-o", "retries=0")
    (m / "sizes" / "f4096").read_bytes()
    server.honest()
    require(server, "Bearer renewed")
    with pytest.raises(OSError):
        (m / "sizes" / "f4097").read_bytes()
    token.write_text("renewed\n")
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    nowhere(m, lacunafs)


def test_token_file_without_end_of_line(mount, serve, tree, lacunafs):
    token = lacunafs.scratch / "token"
    token.write_text(SECRET)
    server = serve(tree)
    require(server, f"Bearer {SECRET}")
    assert (mount(server.url, "--token-file", token) / "sizes" / "f1").read_bytes()


def test_token_file_is_gone(mount, serve, tree, lacunafs):
    token = lacunafs.scratch / "token"
    token.write_text(SECRET)
    m = mount(serve(tree).url, "--token-file", token, "-o", "retries=0")
    (m / "sizes" / "f1").read_bytes()
    token.unlink()
    with pytest.raises(OSError):
        (m / "big").read_bytes()
    assert "token" in m.log()


CREDENTIALS = {
    "header": (("--header", f"X-Key: {SECRET}"), "x-key"),
    "authorization header": (("--header", f"Authorization: Bearer {SECRET}"), "authorization"),
    "cookie header": (("--header", f"Cookie: id={SECRET}"), "cookie"),
    "token": (("--token-file", "token"), "authorization"),
    "url": ((), "authorization"),
}


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.1"])
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_redirect_to_another_host(mount, serve, tree, lacunafs, kind, host):
    """Another host or another port gets the request, not the credentials."""
    options, name = CREDENTIALS[kind]
    (lacunafs.scratch / "token").write_text(SECRET)
    options = [str(lacunafs.scratch / o) if o == "token" else o for o in options]
    server, other = serve(tree), serve(tree, host=host)
    server.lie("/big", lying.redirect(f"http://{host}:{other.port}{{path}}"))
    url = server.url.replace("://", f"://u:{SECRET}@") if kind == "url" else server.url
    m = mount(url, *options)
    (m / "big").read_bytes()
    assert other.asked("/big"), "the redirect was not followed"
    assert any(SECRET in r.headers.get(name, "") or r.headers.get(name) == basic("u")
               for r in server.asked("/big"))
    for r in other.asked():
        assert name not in r.headers, r.headers
        for form in forms():
            assert form not in str(r.headers)


def test_redirect_on_the_same_host_keeps_them(mount, serve, tree):
    server = serve(tree)
    require(server, SECRET, "x-key")
    server.lie("/big", lying.redirect("/sizes/f65536"), times=1)
    server.pages["/moved"] = server.pages.get("/moved", ("application/octet-stream", b""))
    m = mount(server.url, "--header", f"X-Key: {SECRET}", "-o", "retries=0")
    try:
        (m / "big").read_bytes()
    except OSError:
        pass
    assert [r.status for r in server.asked("/sizes/f65536")] != [401]
    assert server.asked("/sizes/f65536")


def test_wrong_credentials(mount, serve, tree, lacunafs):
    server = serve(tree)
    m = mount(server.url.replace("://", f"://u:{SECRET}@"), "-o", "retries=0")
    os.listdir(m.path)
    require(server, "something else")
    done = subprocess.run(["cat", m / "big"], capture_output=True, text=True)
    assert done.returncode != 0 and "Permission denied" in done.stderr
    assert "401" in m.log()
    nowhere(m, lacunafs, done.stderr)


def test_errors_of_mount_do_not_show_them(lacunafs, serve, tree, scratch):
    (scratch / "m").mkdir()
    for url in (f"http://u:{SECRET}@127.0.0.1:99999/", f"ftp://u:{SECRET}@127.0.0.1/",
                f"http://u:{SECRET}@/", f"https://u:{SECRET}@bad host/"):
        done = lacunafs.run("mount", url, scratch / "m", "--store", scratch / "s")
        assert done.returncode != 0
        assert SECRET not in done.stderr + done.stdout
        assert len(done.stderr.splitlines()) == 1


def test_query_file(mount, serve, tree, lacunafs):
    """A token in the query: each request of the source has it, and no message."""
    server = serve(tree)
    token = lacunafs.scratch / "query"
    token.write_text(f"token={SECRET}\n")

    def refuse(request, answer):
        if request.query != f"token={SECRET}":
            lying.status(403)(request, answer)
    server.lie("*", refuse)
    m = mount(server.url, "--query-file", token, "-o", "retries=0,wait_timeout=5s")
    (m / "big").read_bytes()
    server.lie("/sizes/f4096", lying.status(404))
    with pytest.raises(OSError):
        (m / "sizes" / "f4096").read_bytes()
    nowhere(m, lacunafs)
    done = lacunafs.run("mount", server.url + "?token=" + SECRET, lacunafs.scratch / "home")
    assert done.returncode == 2 and "--query-file" in done.stderr and SECRET not in done.stderr


def test_client_certificate(mount, serve, tree, lacunafs, tls):
    ca, chain, key = tls
    server = serve(tree, tls=(chain, key), client_ca=ca)
    point = lacunafs.scratch / "m"
    point.mkdir()
    done = lacunafs.run("mount", server.url, point, "--store", lacunafs.scratch / "s",
                        "--ca-file", ca, "-o", "retries=0")
    assert done.returncode == 1
    m = mount(server.url, "--ca-file", ca, "--cert", chain, "--key", key)
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


def test_certificate_that_cannot_be_used(lacunafs, tls, scratch):
    ca, chain, key = tls
    locked = scratch / "locked.pem"
    subprocess.run(["openssl", "pkey", "-in", key, "-aes128", "-passout", "pass:x", "-out", locked],
                   check=True)
    point = scratch / "m"
    point.mkdir()
    for options, word in ((("--cert", chain, "--key", locked), "encrypted"),
                          (("--cert", chain), "private key"), (("--key", key), "no certificate")):
        done = lacunafs.run("mount", "https://127.0.0.1:1/", point, "--store", scratch / "s",
                            "-o", "retries=0", *options)
        assert done.returncode != 0 and word in done.stderr, done.stderr


@pytest.mark.parametrize("user", ["url", "netrc"])
def test_digest(mount, serve, tree, lacunafs, user):
    """The server asks in the one way in which the secret itself is not sent."""
    server = serve(tree)

    def refuse(request, answer):
        if not request.headers.get("authorization", "").startswith('Digest username="u"'):
            lying.status(401, WWW_Authenticate='Digest realm="x", nonce="1", qop="auth"')(
                request, answer)
    server.lie("*", refuse)
    url = server.url
    if user == "url":
        url = url.replace("://", f"://u:{SECRET}@")
    else:
        netrc = lacunafs.scratch / "home" / ".netrc"
        netrc.write_text(f"machine {server.host} login u password {SECRET}\n")
    m = mount(url, "-o", "auth=digest")
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    nowhere(m, lacunafs, *(r.headers.get("authorization", "") for r in server.asked()))


def test_cookie_of_a_redirect(mount, serve, tree):
    server = serve(tree)

    def gate(request, answer):
        if "k=1" not in request.headers.get("cookie", ""):
            lying.redirect("{path}")(request, answer)
            answer.headers["Set-Cookie"] = "k=1; Path=/"
    server.lie("*", gate)
    m = mount(server.url)
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()


@pytest.mark.sanitize
def test_renewed_once_for_all(mount, serve, tree, lacunafs):
    """50 readers whose token has expired: the file is read again, and each request is sent once
    more."""
    token = lacunafs.scratch / "token"
    token.write_text("first")
    server = serve(tree)
    names = sorted(os.listdir(tree / "many"))[:50]
    together = threading.Barrier(9)

    def expired(request, answer):
        if request.headers.get("authorization") == "Bearer first":
            # renewed while it is under way: nobody knows the new token when the answer comes
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(10)
            lying.status(401 if request.path.endswith(("1.txt", "3.txt")) else 403)(request, answer)

    m = mount(server.url, "--token-file", token, "-o", "retries=0,readahead=0,connections=8")
    os.listdir(m / "many")
    server.lie("/many/*", expired)
    server.forget()
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        contents = [pool.submit((m / "many" / n).read_bytes) for n in names]
        assert wait_until(lambda: together.n_waiting == 8)
        token.write_text("second")
        together.wait()
        for n, content in zip(names, contents):
            assert content.result() == (tree / "many" / n).read_bytes()
    sent = [(r.path, r.headers["authorization"].split()[1]) for r in server.asked()]
    assert [token for _, token in sent].count("first") == 8
    assert all(sent.count((f"/many/{n}", "second")) == 1 for n in names)
    assert m.log().count("its content is new") == 1
    # the kernel reads a page that failed again, so readers alone would not show a failure
    assert m.status()["network"]["errors"] == 0


def test_denied_is_denied(mount, serve, tree, lacunafs):
    """The same token is not sent again, and a new one only once."""
    token = lacunafs.scratch / "token"
    token.write_text("first")
    server = serve(tree)
    m = mount(server.url, "--token-file", token, "-o", "readahead=0")
    os.listdir(m.path)

    def deny(request, answer):
        if request.headers["authorization"] == "Bearer second":
            token.write_text("third")
        lying.status(403)(request, answer)
    server.lie("/big", deny)
    assert error_of((m / "big").read_bytes) == errno.EACCES
    before = len(server.asked("/big"))  # the kernel reads a page that failed again
    token.write_text("second")
    server.forget()
    assert error_of((m / "big").read_bytes) == errno.EACCES
    assert len(server.asked("/big")) == before + 1


def test_netrc_is_replaced(mount, serve, tree, lacunafs):
    server = serve(tree)
    netrc = lacunafs.scratch / "home" / ".netrc"

    def write(user):
        new = netrc.with_suffix(".new")
        new.write_text(f"machine {server.host} login {user} password {SECRET}\n")
        new.rename(netrc)
    write("u")
    require(server, basic("u"))
    m = mount(server.url)
    os.listdir(m / "sizes")
    server.honest()
    require(server, basic("v"))
    assert error_of((m / "sizes" / "f4097").read_bytes) == errno.EACCES
    write("v")
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
