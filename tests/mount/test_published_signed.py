# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Signed versions: what a mount with -o verify_key takes, and what it refuses."""
import hashlib
import os
import subprocess

import pytest

import dying
import lying
import published
import trees
import upgrading
from outcomes import soon


def key_make(directory, name):
    """(private, public) key files, as openssl makes them"""
    private, public = directory / f"{name}.key", directory / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


@pytest.fixture
def keys(scratch):
    return key_make(scratch, "one"), key_make(scratch, "two")


@pytest.fixture
def small(scratch):
    tree = scratch / "tree"
    trees.put(tree / "f", b"first\n")
    trees.put(tree / "d" / "g", b"g\n")
    return tree


def head_of(tree):
    return tree / ".lacuna" / "head"


def refused(lacunafs, scratch, url, *options):
    """The one line of a mount that fails, and leaves nothing behind."""
    point, store = scratch / "refused", scratch / "refused.store"
    point.mkdir(exist_ok=True)
    done = lacunafs.run("mount", url, point, "--store", store, "-o", ",".join(options))
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1, done.stderr
    assert not (store / "state" / "index" / "head").exists()
    return done.stderr


def test_openssl_agrees(lacunafs, small, scratch, keys):
    """The signature is of the four lines above it, to any other program."""
    published.publish(lacunafs, small, "--sign", keys[0][0])
    text = head_of(small).read_bytes()
    assert len(text) == 512
    above, _, below = text.partition(b"signature ")
    assert above.count(b"\n") == 4 and below[128:130] == b"\n\n"
    (scratch / "above").write_bytes(above)
    (scratch / "signature").write_bytes(bytes.fromhex(below[:128].decode()))
    for public, status in ((keys[0][1], 0), (keys[1][1], 1)):
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in",
                               scratch / "above", "-sigfile", scratch / "signature"], capture_output=True)
        assert done.returncode == status, done


@pytest.mark.sanitize
def test_signed(lacunafs, mount, small, scratch, keys, serve):
    """By HTTP, from a directory, pinned, with the key beside others; and again without the network."""
    (mine, public), (_, other) = keys
    index = published.publish(lacunafs, small, "--sign", mine)
    both, server = scratch / "both.pub", serve(small)
    both.write_bytes(b"a comment\n" + other.read_bytes() + public.read_bytes())
    m = mount(server.url, "-o", f"verify_key={public}")
    assert (m / "f").read_bytes() == b"first\n"
    m.umount()
    server.lie("/.lacuna/*", lying.status(503))
    m = m.again("-o", "offline", "-o", f"verify_key={both}")
    assert (m / "f").read_bytes() == b"first\n"
    m.umount()
    for url in (small, f"dir:{small}#sha256:{index.root}"):
        m = mount(url, "-o", f"verify_key={both}")
        assert (m / "d" / "g").read_bytes() == b"g\n"
        m.umount()


def test_a_key_is_read_once(lacunafs, mount, small, scratch, keys):
    """A program that takes over has it from the one before, and refuses what that would refuse."""
    (mine, public), (others, _) = keys
    published.publish(lacunafs, small, "--sign", mine)
    key = scratch / "key"
    key.write_bytes(public.read_bytes())
    m = mount(small, "-o", f"keeper=auto,listing_ttl=0,verify_key={key}")
    key.unlink()
    upgrading.upgraded(m, upgrading.newer(lacunafs, scratch))
    dying.die(m)
    assert m.status()["published"]["key"]
    trees.put(small / "new", b"new\n")
    published.publish(lacunafs, small, "--sign", others)
    assert "new" not in os.listdir(m.path)
    published.publish(lacunafs, small, "--sign", mine)
    soon(lambda: "new" in os.listdir(m.path))


def twisted(head, at, to):
    text = bytearray(head.read_bytes())
    text[at:at + len(to)] = to
    head.write_bytes(text)


def digit(head, at):
    twisted(head, at, b"0" if head.read_bytes()[at:at + 1] != b"0" else b"1")


def unsigned(head):
    text = head.read_bytes()
    head.write_bytes((text[:text.index(b"signature")] + b"\n").ljust(511) + b"\n")


def cut(head):
    text = head.read_bytes()
    head.write_bytes((text[:text.index(b"signature") + 100] + b"\n\n").ljust(511) + b"\n")


def later(head):
    """A serial number that nobody signed."""
    at = head.read_bytes().index(b"serial") + len(b"serial ")
    digit(head, at)


def of_another(head):
    digit(head, head.read_bytes().index(b"signature") + len(b"signature ") + 40)


SPOILED = [(unsigned, "is not signed, which -o verify_key asks for"), (cut, "not one line of 128 hex digits"),
           (later, "not of a key of -o verify_key"), (of_another, "not of a key of -o verify_key")]


@pytest.mark.parametrize("spoil, word", SPOILED)
def test_refused(lacunafs, small, scratch, keys, spoil, word):
    index = published.publish(lacunafs, small, "--sign", keys[0][0])
    for name in ("head", f"head-{index.root}"):
        spoil(small / ".lacuna" / name)
    option = f"verify_key={keys[0][1]}"
    for url in (small, f"{small}#sha256:{index.root}"):
        assert word in refused(lacunafs, scratch, url, option)


def test_refused_wrong_key_and_missing(lacunafs, small, scratch, keys):
    option = f"verify_key={keys[1][1]}"
    assert "is not published, but -o verify_key" in refused(lacunafs, scratch, small, option)
    index = published.publish(lacunafs, small)
    assert "is not signed" in refused(lacunafs, scratch, small, option)
    assert "or it is not signed" in refused(lacunafs, scratch, f"{small}#sha256:{index.root}", option)
    published.publish(lacunafs, small, "--sign", keys[0][0])
    assert "not of a key" in refused(lacunafs, scratch, small, option)
    assert "not of a key" in refused(lacunafs, scratch, f"{small}#sha256:{index.root}", option)


def test_an_older_signature_on_a_newer_head(lacunafs, small, scratch, keys):
    published.publish(lacunafs, small, "--sign", keys[0][0])
    head = head_of(small)
    old = head.read_bytes()
    trees.put(small / "f", b"second\n")
    published.publish(lacunafs, small, "--sign", keys[0][0])
    twisted(head, head.read_bytes().index(b"signature"), old[old.index(b"signature"):][:138])
    assert "not of a key" in refused(lacunafs, scratch, small, f"verify_key={keys[0][1]}")


def test_under_a_live_mount(lacunafs, mount, small, keys, serve):
    """Each new version is checked; the one before stays in use, and a signed one ends that."""
    (mine, public), (other, _) = keys
    published.publish(lacunafs, small, "--sign", mine)
    m = mount(serve(small).url, "-o", f"verify_key={public},listing_ttl=0")
    for sign, word in (((), "is not signed, which"), (("--sign", other), "not of a key of -o verify_key")):
        trees.put(small / f"new{len(sign)}", b"new\n")
        done = lacunafs.run("publish", *sign, small)
        assert done.returncode == 0 and ("this one is not" in done.stderr) == (not sign)
        soon(lambda: os.listdir(m.path) is not None and word in m.log())
        assert sorted(os.listdir(m.path)) == ["d", "f"]
    published.publish(lacunafs, small, "--sign", mine)
    soon(lambda: (m / "new2").exists())


def test_signed_again(lacunafs, small, keys):
    """The same tree: by the same key it stays, by another one it is a new head of the same index."""
    (mine, _), (other, _) = keys
    head, seen = head_of(small), []
    for sign in (mine, mine, other, other):
        published.publish(lacunafs, small, "--sign", sign)
        seen.append(head.read_bytes())
    assert seen[0] == seen[1] != seen[2] == seen[3] and len(os.listdir(small / ".lacuna")) == 3


def test_same_root_published_again(lacunafs, mount, small, keys, serve):
    """A head of the same root and a higher serial: a serial between the two is older from then on."""
    first = published.publish(lacunafs, small)
    m = mount(serve(small).url, "-o", "listing_ttl=0")
    first.write(root=first.root, serial=int(first.serial) + 100)
    wanted = head_of(small).read_bytes()
    kept = m.store / "state" / "index" / "head"
    soon(lambda: os.listdir(m.path) and kept.read_bytes() == wanted)
    trees.put(small / "between", b"")
    published.publish(lacunafs, small)
    index = published.Index(small)
    index.write(serial=int(first.serial) - 50)
    soon(lambda: os.listdir(m.path) and "an older version than the one in use" in m.log())
    assert not (m / "between").exists()


def test_unsigned_store_is_not_trusted(lacunafs, mount, small, keys, serve):
    """What was fetched without a key is fetched again."""
    published.publish(lacunafs, small)
    m = mount(serve(small).url)
    m.umount()
    assert "is not signed" in refused_again(m, f"verify_key={keys[0][1]}")
    published.publish(lacunafs, small, "--sign", keys[0][0])
    m = m.again("-o", f"verify_key={keys[0][1]}")
    assert (m / "f").read_bytes() == b"first\n"


def refused_again(m, option):
    done = m.program.run("mount", m.source, m.path, "--store", m.store, "-o", option)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_key_files(lacunafs, small, scratch, keys):
    """What is no key, in one line that names the file."""
    (mine, public), _ = keys
    rsa, junk = scratch / "rsa.key", scratch / "junk"
    subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-out", rsa], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", rsa, "-pubout", "-out", scratch / "rsa.pub"], check=True)
    junk.write_bytes(public.read_bytes() + b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    for file, word in ((public, "Ed25519 private key"), (rsa, "Ed25519 private key"),
                       ("/nowhere", "No such file"), (junk, "Ed25519 private key")):
        done = lacunafs.run("publish", "--sign", file, small)
        assert done.returncode == 1 and f"{file}: " in done.stderr and word in done.stderr
        assert done.stderr.count("\n") == 1 and not (small / ".lacuna").exists()
    for file, word in ((mine, "expects Ed25519 public keys"), (scratch / "rsa.pub", "that is not Ed25519"),
                       ("/nowhere", "No such file"), (junk, "expects Ed25519 public keys"),
                       ("/dev/null", "expects Ed25519 public keys")):
        said = refused(lacunafs, scratch, small, f"verify_key={file}")
        assert f"{file}: " in said and word in said
    for more in ("index=no", "verify=no"):
        assert "excludes" in refused(lacunafs, scratch, small, f"verify_key={public}", more)


def test_name_of_a_key(lacunafs, mount, small, keys):
    """status: the version in use, and who signed it."""
    index = published.publish(lacunafs, small, "--sign", keys[0][0])
    m = mount(small, "-o", f"verify_key={keys[0][1]}")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-in", keys[0][1], "-outform", "DER"], check=True,
                         capture_output=True).stdout
    shown = m.status()["published"]
    assert shown["signed"] and not shown["pinned"] and shown["checked"] and shown["files"] == 2
    text = m.program.run("status", m.path).stdout
    assert shown["root"] in text and shown["key"] in text
    assert shown["root"] == f"sha256:{index.root}" and shown["serial"] == int(index.serial)
    assert shown["key"] == f"sha256:{hashlib.sha256(der).hexdigest()}"
