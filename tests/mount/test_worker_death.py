# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The worker dies, the keeper starts the next one, and no process that uses the mount sees an
error."""
import errno
import fcntl
import mmap
import os
import pathlib
import signal
import subprocess

import handlers
import lying
import processes
import pytest
import trees
from dying import PATIENT, Reader, die


@pytest.mark.sanitize
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_who_waits_is_answered(mount, serve, scratch, number):
    waiting_for_the_next_worker(mount, serve, scratch, number)


def test_who_waits_is_answered_after_a_fault(mount, serve, scratch):
    """Without a sanitizer, which would report it."""
    waiting_for_the_next_worker(mount, serve, scratch, signal.SIGSEGV)


def waiting_for_the_next_worker(mount, serve, scratch, number):
    root = scratch / "source"
    trees.put(root / "slow", b"s" * 300000)
    trees.put(root / "d" / "name", b"name")
    server = serve(root, index="python")
    m = mount(server.url, "-o", "keeper=auto", "-o", PATIENT)
    os.listdir(m.path)
    server.lie("/slow", lying.delay(2), methods=("GET",))
    server.lie("/d/", lying.delay(2))
    readers = [Reader(lambda: (m / "slow").read_bytes()) for _ in range(3)]
    readers.append(Reader(lambda: (m / "d" / "name").read_bytes()))
    assert processes.wait_until(lambda: server.asked("/slow", "GET"))
    for _ in range(3):
        die(m, number)
    assert {r.answer() for r in readers[:3]} == {b"s" * 300000}
    assert readers[3].answer() == b"name"
    assert m.status()["takeovers"] == 3


@pytest.mark.sanitize
def test_what_is_open_goes_on(mount, scratch):
    root = scratch / "source"
    for name in ("a", "b", "c"):
        trees.put(root / "d" / name, name.encode() * 200000)
    m = mount(root, "-o", "keeper=auto")
    held = open(m / "d" / "a", "rb")
    gone = open(m / "d" / "b", "rb")
    os.unlink(m / "d" / "b")
    written = open(m / "d" / "new", "w+b", buffering=0)
    written.write(b"1" * 5000)
    os.rename(m / "d" / "new", m / "d" / "newer")
    os.rename(m / "d", m / "e")
    fcntl.flock(held, fcntl.LOCK_EX)
    where = subprocess.Popen(["sh", "-c", "read x; cat c newer; pwd"], cwd=m / "e", text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for n in range(2):
        die(m)
        assert held.read(1000) == b"a" * 1000
        assert gone.read(1000) == b"b" * 1000
        assert not (m / "e" / "b").exists()
        written.write(b"2" * 5000)
        assert sorted(os.listdir(m / "e")) == ["a", "c", "newer"]
        with open(m / "e" / "a", "rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.fstat(written.fileno()).st_size == 10000 + 5000 * n
    with where:
        out, _ = where.communicate("\n")
    assert out == "c" * 200000 + "1" * 5000 + "2" * 10000 + f"{m / 'e'}\n"
    assert held.read() == b"a" * 198000 and gone.read() == b"b" * 198000
    for f in (held, gone, written):
        f.close()
    die(m)
    assert (m / "e" / "newer").read_bytes() == b"1" * 5000 + b"2" * 10000


@pytest.mark.sanitize
def test_names_change_in_a_directory_that_was_not_listed_again(mount, serve, scratch):
    """Its listing is loaded first: an unlinked remote name must not come back."""
    root = scratch / "source"
    for n in range(8):
        trees.put(root / "d" / f"f{n}", b"x" * n)
    server = serve(root, index="python")
    m = mount(server.url, "-o", "keeper=auto", "-o", PATIENT)
    assert len(os.listdir(m / "d")) == 8
    for n in range(8):
        os.stat(m / "d" / f"f{n}")
    directory = os.open(m / "d", os.O_RDONLY)
    die(m)
    os.unlink("f0", dir_fd=directory)
    die(m)
    os.rename("f1", "g1", src_dir_fd=directory, dst_dir_fd=directory)
    die(m)
    os.chmod("f2", 0o600, dir_fd=directory)
    die(m)
    os.link("f3", "g3", src_dir_fd=directory, dst_dir_fd=directory)
    die(m)
    os.mkdir("new", dir_fd=directory)
    die(m)
    os.rmdir("new", dir_fd=directory)
    expected = ["f2", "f3", "f4", "f5", "f6", "f7", "g1", "g3"]
    assert sorted(os.listdir(directory)) == expected
    os.close(directory)
    m.umount()
    m = m.again()
    assert sorted(os.listdir(m / "d")) == expected


def test_killing_the_keeper_ends_the_mount(mount, tree):
    m = mount(tree, "-o", "keeper=auto")
    worker = m.worker()
    os.kill(m.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: processes.executable(worker) is None)
    with pytest.raises(OSError) as e:
        os.listdir(m.path)
    assert e.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    m.abandon()


def test_a_kernel_that_cannot_send_again(mount, serve, scratch):
    """With it, a request that the dead worker had read would never end: the mount is dead."""
    library = scratch / "old_kernel.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library,
                    pathlib.Path(__file__).with_name("old_kernel.c")], check=True)
    trees.put(scratch / "source" / "slow", b"s" * 300000)
    server = serve(scratch / "source", index="python")
    m = mount(server.url, "-o", "keeper=auto", "-o", PATIENT, env={"LD_PRELOAD": str(library)})
    os.listdir(m.path)
    assert "the kernel is older than 6.9" in m.log()
    server.lie("/slow", lying.delay(20), methods=("GET",))
    reader = Reader(lambda: (m / "slow").read_bytes())
    assert processes.wait_until(lambda: server.asked("/slow", "GET"))
    m.kill_worker()
    assert processes.reap(m.pid, 60) == -signal.SIGKILL
    m.pid = None
    server.honest()
    for failed in (reader.answer, lambda: os.listdir(m.path)):
        with pytest.raises(OSError) as e:
            failed()
        assert e.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    subprocess.run(["umount", m.path], check=True)
    assert (m.again() / "slow").read_bytes() == b"s" * 300000


def test_too_little_address_space(mount, tree):
    """It is mounted without a keeper, and says so."""
    m = mount(tree, "-o", "keeper=auto", prefix=("prlimit", f"--as={1 << 31}"))
    status = m.status()
    assert status["pid"] == status["worker"] == m.pid
    assert "ulimit -v" in m.log()


def test_the_two_processes(mount, tree):
    """Their names; the worker is what the kernel ends where memory is short."""
    def of(pid, name):
        return pathlib.Path(f"/proc/{pid}/{name}").read_text().strip()

    m = mount(tree, "-o", "keeper=auto")
    for _ in range(3):
        worker = m.worker()
        status = m.status()
        assert (status["pid"], status["worker"]) == (m.pid, worker)
        assert (of(m.pid, "comm"), of(worker, "comm")) == ("lacunafs-keeper", "lacunafs")
        least, score = (int(of(pid, "oom_score_adj")) for pid in (m.pid, worker))
        assert least < score < least + 100 or score == 1000
        die(m)
    m.umount()
    m = m.again("-o", "keeper=no")
    status = m.status()
    assert status["pid"] == status["worker"] == m.pid
    assert of(m.pid, "comm") == "lacunafs"


def test_signals_reach_the_worker_that_comes(mount, tree):
    """SIGTERM for the keeper, also just after the worker was killed."""
    m = mount(tree, "-o", "keeper=auto")
    m.kill_worker()
    os.kill(m.pid, signal.SIGTERM)
    assert processes.reap(m.pid, 30) == 0
    m.pid = None
    assert not os.path.ismount(m.path)


@pytest.mark.sanitize
def test_a_directory_is_read_on(mount, serve, scratch):
    """Listed names, local ones and names that were listed before they became local."""
    root = scratch / "source"
    listed = [f"listed-{n:04}" for n in range(1500)]
    for name in listed:
        trees.put(root / "d" / name, b"")
    server = serve(root, index="python")
    m = mount(server.url, "-o", "keeper=auto")
    local = [f"local-{n:04}" for n in range(1500)]
    for name in local:
        (m / "d" / name).touch()
    for name in listed[::7]:
        os.chmod(m / "d" / name, 0o600)
    got = []
    with os.scandir(m / "d") as names:
        for n, entry in enumerate(names):
            got.append(entry.name)
            if n % 700 == 350:
                die(m)
    assert sorted(got) == sorted(listed + local)


@pytest.mark.sanitize
def test_handlers_stay_attached(mount, scratch):
    """Marks and connections outlive the worker; what it had asked is asked again."""
    root = scratch / "source"
    for name in ("f", "g", "h"):
        trees.put(root / name, name.encode() * 100000)
    m = mount(root, "-o", "keeper=auto", "-o", "handler_lost=wait")
    for name in ("f", "g", "h"):
        os.stat(m / name)
    handler = handlers.Handler(m, name="n")
    assert handler.mark(handlers.MOUNT) == 0
    gone = handlers.Handler(m, name="gone")
    assert gone.mark(handlers.FILE, m / "h") == 0
    gone.close()
    reader = Reader(lambda: (m / "f").read_bytes())
    events = [handler.next()]
    for _ in range(3):
        die(m)
        events.append(handler.next())
    assert {e.path for e in events} == {"f"} and len({e.id for e in events}) == 4
    for event in events:  # for all but the last it is of no use any more, and no error
        event.bring(b"F" * 100000)
        handler.answer(event, handlers.ALLOW)
    assert reader.answer() == b"F" * 100000
    told = {h["name"]: h["state"] for h in m.status()["handlers"]}
    assert told == {"n": "attached", "gone": "lost"}
    assert handler.mark(handlers.MOUNT, flags=handlers.REMOVE) == 0
    die(m)
    assert (m / "g").read_bytes() == b"g" * 100000
    back = handlers.Handler(m, name="gone")
    assert back.hello["inherited"] is True
    reader = Reader(lambda: (m / "h").read_bytes())
    back.answer(back.next(), handlers.FETCH)
    assert reader.answer() == b"h" * 100000
    back.detach(), handler.detach()
    die(m)
    assert m.status()["handlers"] == []


@pytest.mark.sanitize
def test_passthrough_and_programs_go_on(mount, scratch):
    """A file that is open or mapped stays in passthrough; a program that runs, runs on, and nobody
    may write to it."""
    if os.geteuid() != 0:
        pytest.skip("passthrough needs root")
    root = scratch / "source"
    trees.put(root / "data", b"d" * (1 << 20))
    program = root / "sleep"
    program.write_bytes(pathlib.Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    m = mount(root, "-o", "keeper=auto")
    for name in ("data", "sleep"):
        (m / name).read_bytes()
    held = os.open(m / "data", os.O_RDONLY)
    passes = m.status("data")["passthrough"] if "passthrough" in m.status("data") else None
    born = os.open(m / "born", os.O_RDWR | os.O_CREAT)
    os.ftruncate(born, 1 << 20)
    mapped = mmap.mmap(born, 1 << 20)
    runs = subprocess.Popen([m / "sleep", "60"])
    try:
        for n in range(3):
            die(m)
            assert os.pread(held, 4, 4096) == b"dddd"
            other = os.open(m / "data", os.O_RDONLY)  # in the same mode
            assert os.pread(other, 4, 0) == b"dddd"
            os.close(other)
            mapped[n] = 65 + n
            assert os.pread(born, 3, 0)[:n + 1] == b"ABC"[:n + 1]
            assert runs.poll() is None
            with pytest.raises(OSError) as e:
                os.open(m / "sleep", os.O_WRONLY)
            assert e.value.errno == errno.ETXTBSY
            done = m.program.run("evict", m / "data", m / "sleep")
            assert done.returncode == 1
        if passes is not None:
            assert m.status("data")["passthrough"] == passes
    finally:
        runs.kill(), runs.wait(), mapped.close()
        os.close(held), os.close(born)
    assert m.program.run("evict", m / "data").returncode == 0
    assert (m / "data").read_bytes() == b"d" * (1 << 20)
    assert (m / "born").read_bytes()[:4] == b"ABC\0"
