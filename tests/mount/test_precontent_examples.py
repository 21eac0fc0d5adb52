# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The handlers in examples/ do what they say, against real mounts."""
import errno
import hashlib
import mmap
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading

import pytest

import processes
import trees

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
SIZE = (3 << 20) + 1234


class Handlers:
    """Examples of this build, ended at the end."""

    def __init__(self, program, build):
        self.program, self.built, self.running = program, pathlib.Path(build) / "examples", []

    def path(self, name):
        path = EXAMPLES / name if name.endswith(".py") else self.built / name
        if not path.exists():
            pytest.skip(f"{path} is not built")
        return path.resolve()

    def run(self, name, *args, timeout=60):
        return subprocess.run([self.path(name), *map(str, args)], capture_output=True, text=True,
                              timeout=timeout, env=self.program.env)

    def start(self, name, *args):
        """Attached, and its marks made, when this returns."""
        h = Running([self.path(name), *map(str, args)], self.program.env)
        self.running.append(h)
        return h

    def close(self):
        for h in self.running:
            h.end()


class Running:
    def __init__(self, argv, env):
        self.process = subprocess.Popen(argv, env=env, text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.said, self.queue = [], queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        first = self.queue.get(timeout=20)
        if first != "ready":
            self.process.kill()
            raise AssertionError(f"{argv}: {first!r}: {self.process.stderr.read()}")

    def listen(self):
        for line in self.process.stdout:
            self.queue.put(line.rstrip("\n"))
        self.queue.put(None)

    def lines(self):
        """What it has printed so far, after "ready"."""
        while not self.queue.empty():
            self.said.append(self.queue.get())
        return [line for line in self.said if line is not None]

    def end(self, number=signal.SIGTERM):
        if self.process.returncode is None:
            self.process.send_signal(number)
            self.process.wait(20)
        return self.process.returncode


@pytest.fixture
def handlers(request, lacunafs, variant):
    h = Handlers(lacunafs, request.config.getoption("build" if variant == "plain" else variant))
    yield h
    h.close()


@pytest.fixture
def original(scratch):
    """What is to be seen in the mount."""
    top = scratch / "original"
    for i, size in enumerate([0, 1, 4096, 65536, 65537, SIZE]):
        trees.put(top / f"f{size}", trees.noise(i, size), 1_500_000_000 + i)
    trees.put(top / "d" / "e" / "deep \u2603", b"deep\n" * 1000)
    (top / "link").symlink_to("d/e")
    (top / "f4096").chmod(0o640)
    (top / "empty").mkdir()
    return top


PAIRS = [("populate", "remote-fetch"), ("populate.py", "remote-fetch.py")]


def unlike(truth, mount):
    """What differs, told by a child: a read that waits for a handler holds up nobody here."""
    return processes.apart(lambda: trees.differences(
        truth, mount, attributes=("type", "size", "content", "mode", "links", "target")))


@pytest.fixture(params=PAIRS, ids=["c", "python"])
def stubs(request, handlers, original, scratch):
    """(directory of stubs, name of who fills them)"""
    made = scratch / "stubs"
    done = handlers.run(request.param[0], original, made)
    assert done.returncode == 0, done.stderr
    return made, request.param[1]


def test_populate(stubs, original):
    assert trees.differences(original, stubs[0], attributes=("type", "size", "mode", "target")) == []
    for path in original.rglob("f*"):
        stub = (stubs[0] / path.relative_to(original)).stat()
        assert stub.st_mtime_ns == path.stat().st_mtime_ns
        assert stub.st_blocks == 0, "it is a hole"


@pytest.mark.sanitize
def test_remote_fetch(mount, handlers, stubs, original):
    m = mount(stubs[0])
    handler = handlers.start(stubs[1], m.path, original)
    assert unlike(original, m.path) == []
    assert m.status(f"f{SIZE}")["present_bytes"] == SIZE
    # What is there needs nobody any more, now and in the next mount
    assert handler.end() == 0
    assert unlike(original, m.path) == []


def test_remote_fetch_brings_what_is_read(mount, handlers, stubs, original):
    m = mount(stubs[0], "-o", "chunk_size=64K")
    handlers.start(stubs[1], m.path, original)
    big = original / f"f{SIZE}"

    def page():
        fd = os.open(m / big.name, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(fd, 4096, 1 << 20)
    assert processes.apart(page) == big.read_bytes()[1 << 20:][:4096]
    assert 4096 <= m.status(big.name)["present_bytes"] <= 512 << 10


def test_remote_fetch_whole(mount, handlers, stubs, original):
    """One event a file."""
    m = mount(stubs[0], "-o", "chunk_size=4K")
    handlers.start(stubs[1], "--whole", m.path, original)
    first = processes.apart(lambda: (m / f"f{SIZE}").open("rb").read(1))
    assert first == (original / f"f{SIZE}").read_bytes()[:1]
    assert m.status(f"f{SIZE}")["present_bytes"] == SIZE
    assert unlike(original, m.path) == []
    # not of the empty one
    assert answered(m) == sum(1 for p in original.rglob("*") if p.is_file() and p.stat().st_size)


def answered(m):
    return sum(h["answered"] for h in m.status()["handlers"])


def test_remote_fetch_comes_back(mount, handlers, stubs, original):
    """Who reads while no handler is there waits for the next one, and never sees zeros."""
    m = mount(stubs[0])
    handlers.start(stubs[1], m.path, original).end(signal.SIGKILL)
    reader = subprocess.Popen(["cat", m / f"f{SIZE}"], stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        reader.wait(0.5)
    handlers.start(stubs[1], m.path, original)
    assert reader.communicate(timeout=30)[0] == (original / f"f{SIZE}").read_bytes()


def test_remote_fetch_of_what_has_changed(mount, handlers, stubs, original):
    m = mount(stubs[0])
    handlers.start(stubs[1], m.path, original)
    (original / "f65536").write_bytes(b"short")
    (original / "f4096").unlink()
    for name in ("f65536", "f4096"):
        with pytest.raises(OSError) as error:
            (m / name).read_bytes()
        assert error.value.errno == 5


@pytest.mark.parametrize("name", ["remote-fetch", "remote-fetch.py", "policy", "decrypt"])
def test_elsewhere(handlers, scratch, name):
    last = {"policy": [], "decrypt": [scratch, "0" * 32]}.get(name, [scratch])
    done = handlers.run(name, scratch, *last)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
    assert handlers.run(name).returncode in (1, 2)


def control_path(m):
    device = os.stat(m.path).st_dev
    return f"/run/lacunafs/{os.major(device)}:{os.minor(device)}"


def test_manual(mount, lacunafs, tree, scratch):
    """The handler in lacuna-precontent(7), as it stands there."""
    if os.geteuid() != 0:
        pytest.skip("expects the control socket where root's are")
    page = (EXAMPLES.parent / "lib" / "lacuna-precontent.7").read_text(encoding="utf-8")
    text = page.split(".Sh EXAMPLES")[1].split(".Bd -literal -offset indent\n")[1].split(".Ed")[0]
    m = mount(tree)
    (scratch / "handler.py").write_text(
        f"path = {control_path(m)!r}\n" + text.replace("\\en", "\\n"))
    handler = subprocess.Popen([sys.executable, scratch / "handler.py"])
    try:
        assert processes.wait_until(lambda: [h for h in m.status()["handlers"] if h["marks"]])
        assert processes.apart(lambda: trees.differences(tree, m.path)) == []
        assert answered(m) > 200
    finally:
        handler.kill()
        handler.wait()


@pytest.mark.sanitize
def test_manual_of_the_library(mount, lacunafs, request, variant, big_program, scratch):
    """The handler in liblacuna(3), built against the shared library as it is installed."""
    build = pathlib.Path(request.config.getoption("build" if variant == "plain" else variant))
    page = (EXAMPLES.parent / "lib" / "liblacuna.3").read_text(encoding="utf-8")
    text = page.split(".Sh EXAMPLES")[1].split(".Bd -literal -offset indent\n")[1].split(".Ed")[0]
    (scratch / "handler.c").write_text(text)
    extra = {"asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"]}
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Werror", *extra.get(variant, []),
                    f"-I{EXAMPLES.parent}/include", "-o", scratch / "handler",
                    scratch / "handler.c", f"-L{build.resolve()}/lib", "-llacuna",
                    f"-Wl,-rpath,{build.resolve()}/lib"], check=True)
    m = mount(big_program[0].parent)
    before = ["setarch", "-R"] if variant == "tsan" else []
    handler = subprocess.Popen([*before, scratch / "handler", m.path], env=lacunafs.env)
    try:
        assert processes.wait_until(lambda: [h for h in m.status()["handlers"] if h["marks"]])
        done = outcome(lambda: subprocess.run([m / "program"], check=True))
        assert done == "EPERM"
        assert outcome(lambda: (m / "program").open("rb").read(10)) is None
    finally:
        handler.kill()
        handler.wait()


KEY = "00112233445566778899aabbccddeeff"


def encrypt(path, name, content):
    iv = hashlib.sha256(name.encode()).hexdigest()[:32]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(subprocess.run(["openssl", "enc", "-aes-128-ctr", "-K", KEY, "-iv", iv],
                                    input=content, capture_output=True, check=True).stdout)


def test_decrypt(mount, handlers, scratch):
    secret, plain = scratch / "secret", scratch / "plain"
    for i, size in enumerate([1, 4096, 65537, SIZE]):
        content = trees.noise(i, size)
        trees.put(plain / "d" / f"f{size}", content)
        encrypt(secret / "d" / f"f{size}", f"d/f{size}", content)
        assert (secret / "d" / f"f{size}").read_bytes() != content
    m = mount(secret)
    handlers.start("decrypt", m.path, secret, KEY)

    def middle():
        with open(m / "d" / f"f{SIZE}", "rb") as f:
            f.seek(1_000_003)
            return f.read(10_000)
    assert processes.apart(middle) == (plain / "d" / f"f{SIZE}").read_bytes()[1_000_003:][:10_000]
    assert unlike(plain, m.path) == []


def outcome(call):
    """In a child: None, or the name of the errno."""
    def run():
        try:
            call()
        except OSError as error:
            return errno.errorcode[error.errno]
        return None
    return processes.apart(run)


def test_policy(mount, handlers, tree):
    """Each operation is decided, and logged, whether the bytes are there or not."""
    m = mount(tree)
    h = handlers.start("policy", m.path, "65534:*:*:EPERM", "*:read:many/00*:EBUSY",
                       "*:write:big:ENOSPC", "*:truncate:big:EDQUOT", "*:*:sizes/f4097:ETXTBSY",
                       "*:read:many/1*:allow", "*:read:many/*:EIO")
    big, deep = m / "big", m / "a/b/c/d/deep"

    def read(path):
        return lambda: path.read_bytes()

    def write():
        with open(big, "r+b", buffering=0) as f:
            f.seek(5000)
            f.write(b"x" * 5000)

    def mapped():
        with open(deep, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ,
                                              flags=mmap.MAP_PRIVATE) as mapping:
            assert bytes(mapping) == b"deep\n"
    expected = [(read(m / "many/001.txt"), "EBUSY"), (read(m / "many/100.txt"), None),
                (read(m / "many/050.txt"), "EIO"), (write, "ENOSPC"),
                (lambda: os.truncate(big, 5000), "EDQUOT"), (read(m / "sizes/f4097"), "ETXTBSY"),
                (read(big), None), (read(big), None), (mapped, None)]
    assert [outcome(call) for call, _ in expected] == [result for _, result in expected]
    said = processes.wait_until(lambda: [line for line in h.lines() if "deep" in line]) and h.lines()

    def lines(path):
        return {" ".join(w for w in line.split() if not w.startswith("pid="))
                for line in said if line.endswith(" " + path)}
    assert lines("many/001.txt") == {"EBUSY uid=0 read 0+4096 many/001.txt"}
    assert {"ENOSPC uid=0 write 4096+8192 big", "EDQUOT uid=0 truncate 4096+4096 big"} <= lines("big")
    assert any(line.startswith("allow uid=0 fault 0+") for line in lines("a/b/c/d/deep"))
    both = [line for line in said if " read " in line and line.endswith(" big")]
    assert len(both) >= 2, "the second time it was present"


def test_policy_arguments(handlers, scratch):
    for rule in ("", "*", "*:read:x", "*:read:x:ENOENT", "x:read:y:EIO", "*:open:x:EIO",
                 "*:read:x:EIO:y"):
        assert handlers.run("policy", scratch, rule).returncode == 2


@pytest.fixture
def program(handlers, scratch):
    """A tree with a file and a program of mmap-validate's pattern."""
    top = scratch / "pattern"
    top.mkdir()
    for args in (("write", top / "data", SIZE), ("program", top / "program")):
        done = handlers.run("mmap-validate", *args)
        assert done.returncode == 0, done.stderr
    return top


@pytest.mark.parametrize("fill", ["remote-fetch", "remote-fetch.py"])
@pytest.mark.parametrize("verb, name", [("read", "data"), ("mmap", "data"), ("exec", "program")])
def test_mmap_validate(mount, handlers, program, scratch, fill, verb, name):
    assert handlers.run("populate", program, scratch / "stubs").returncode == 0
    m = mount(scratch / "stubs", "-o", "chunk_size=4K")
    handlers.start(fill, m.path, program)
    done = handlers.run("mmap-validate", verb, m / name)
    assert done.returncode == 0 and not done.stdout, done
    # and again, of what is there
    assert handlers.run("mmap-validate", verb, m / name).returncode == 0


def test_mmap_validate_finds_zeros(handlers, program, scratch):
    """What it is for: the stubs themselves."""
    assert handlers.run("populate", program, scratch / "stubs").returncode == 0
    for verb in ("read", "mmap"):
        done = handlers.run("mmap-validate", verb, scratch / "stubs" / "data")
        assert done.returncode == 1
        assert len(done.stdout.splitlines()) == -(-SIZE // 4096)
    with open(program / "program", "r+b") as f:
        at = f.read().index((2654435761 * 5 % 2**32).to_bytes(4, "little") * 1024)
        f.seek(at)
        f.write(bytes(4096))
    done = handlers.run("mmap-validate", "exec", program / "program")
    assert done.returncode == 1 and done.stdout.startswith("page 4, byte 0: 00000000")


def test_mmap_validate_writes(mount, handlers, program):
    """The pattern written through a mount."""
    m = mount(program)
    assert handlers.run("mmap-validate", "write", m / "new", SIZE).returncode == 0
    assert handlers.run("mmap-validate", "write", m / "data", SIZE + 5000).returncode == 0
    for verb in ("read", "mmap"):
        for name in ("new", "data"):
            assert handlers.run("mmap-validate", verb, m / name).returncode == 0
