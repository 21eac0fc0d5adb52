# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What the kernel has of a file, in its page cache or mapped, is what the file has now."""
import ctypes
import errno
import mmap
import os
import pathlib
import subprocess
import threading
import time

import pytest

import lying
import processes
import trees

PAGE = 4096
PAGES = 256
OLD, NEW = 1_600_000_000, 1_700_000_000
MODES = ["passthrough=auto", "passthrough=no"]


def version(n, pages=PAGES):
    """Each page says which version and place it is of."""
    return b"".join(f"version {n} page {k}\n".encode().ljust(PAGE, b".") for k in range(pages))


@pytest.fixture
def source(scratch):
    root = scratch / "source"
    trees.put(root / "f", version(1), OLD)
    return root


@pytest.mark.sanitize
@pytest.mark.parametrize("options", [*MODES, "listing_ttl=0"])
@pytest.mark.parametrize("pages", [PAGES, PAGES // 2, PAGES * 2])
def test_one_version_after_an_eviction(mount, serve, source, options, pages):
    """A part was read, and is in the page cache when the rest comes from another version."""
    m = mount(serve(source).url, "-o", f"{options},readahead=0")
    with open(m / "f", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), 16 * PAGE, 0) == version(1)[:16 * PAGE]
    assert m.program.run("evict", m / "f").returncode == 0
    trees.put(source / "f", version(2, pages), NEW)

    def taken():
        try:
            return (m / "f").read_bytes() == version(2, pages)
        except OSError:
            return False  # another size than the one that was listed: once
    if pages == PAGES:
        assert taken()
    assert processes.wait_until(taken)
    assert m.program.run("refresh", m / "f").returncode == 0
    assert (m / "f").read_bytes() == version(2, pages)


@pytest.mark.sanitize
@pytest.mark.parametrize("size", [PAGE, 100_000, 300_000])
def test_stores_of_a_mapping_are_seen(mount, serve, source, size):
    """The mapping outlives its descriptor, and the daemon."""
    m = mount(serve(source).url, "-o", "rw")
    with open(m / "made", "w+b") as f:
        f.truncate(size)
        view = mmap.mmap(f.fileno(), size)
    time.sleep(0.1)  # the RELEASE is on its way
    for n in range(4):
        with open(m / "made", "rb", buffering=0) as f:
            for text in (b"one %d" % n, b"two %d" % n):
                view[:len(text)] = text
                view[size - len(text):] = text
                assert os.pread(f.fileno(), len(text), 0) == text
                assert os.pread(f.fileno(), len(text), size - len(text)) == text
        if n == 1:
            m.kill()
            m = m.again()
    view.close()


@pytest.mark.parametrize("options", ["rw", "rw,passthrough=no"])
@pytest.mark.parametrize("verb", ["evict", "refresh"])
def test_descriptor_of_a_killed_daemon(mount, serve, source, verb, options):
    """Its reader goes on in passthrough; what it reads is not given up by the next daemon."""
    m = mount(serve(source).url, "-o", "rw,listing_ttl=never")
    if not m.status()["passthrough"]["usable"]:
        pytest.skip("no passthrough here")
    (m / "f").read_bytes()
    time.sleep(0.1)  # the RELEASE is on its way
    with open(m / "f", "rb", buffering=0) as held:
        assert m.status("f")["mode"] == "passthrough"
        m.kill()
        m = m.again("-o", options)
        if verb == "refresh":
            trees.put(source / "f", version(2), NEW)
        done = m.program.run(verb, m / "f")
        assert done.returncode == 1 and done.stderr.endswith("f: mapped\n")
        assert os.pread(held.fileno(), len(version(1)), 0) == version(1)
    # the kernel lets go of a file a little after it was closed
    assert processes.wait_until(lambda: m.program.run(verb, m / "f").returncode == 0)
    assert (m / "f").read_bytes() == version(2 if verb == "refresh" else 1)


@pytest.mark.parametrize("kept", [False, True])
def test_evict_keeps_the_last_copy(mount, serve, source, kept):
    server = serve(source)
    m = mount(server.url, "-o", "rw,listing_ttl=never,retries=0,connect_timeout=300ms")
    (m / "f").read_bytes()
    if kept:
        os.chmod(m / "f", 0o600)
    trees.put(source / "f", version(2), NEW)
    for reason in ("another version", "does not confirm"):
        done = m.program.run("evict", m / "f")
        assert done.returncode == 1 and "kept" in done.stderr and reason in done.stderr
        assert m.status("f")["content"] == "complete"
        server.stop()
    with open(m / "f", "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert f.read() == version(1)
    server.start()


def test_refresh_gives_up_nothing_before_the_new_version_is_there(mount, serve, source):
    server = serve(source)
    m = mount(server.url, "-o", "rw,listing_ttl=never,retries=0")
    (m / "f").read_bytes()
    trees.put(source / "f", version(2), NEW)
    for lie in (lying.status(500), lying.header("ETag", '"third"')):
        server.lie("/f", lie, methods=("GET",))
        done = m.program.run("refresh", m / "f")
        assert done.returncode == 1 and "does not serve it" in done.stderr
        assert (m / "f").read_bytes() == version(1)
        server.honest()
    assert m.program.run("refresh", m / "f").returncode == 0
    assert (m / "f").read_bytes() == version(2)


@pytest.fixture
def slowly(scratch):
    """The environment of a daemon that takes a second to give back bytes."""
    library = scratch / "slow_punch.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library,
                    pathlib.Path(__file__).with_name("slow_punch.c")], check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.mark.parametrize("change", [lambda p: os.chmod(p, 0o600),
                                    lambda p: os.rename(p, f"{p}.moved"),
                                    lambda p: os.link(p, f"{p}.moved")],
                         ids=["chmod", "rename", "link"])
def test_changed_while_it_is_refreshed(mount, serve, scratch, slowly, change):
    """The change is one of the new version, not of an empty file that follows the old one."""
    root = scratch / "source"
    trees.put(root / "f", b"1" * 50_000, OLD)
    m = mount(serve(root).url, "-o", "rw,listing_ttl=never", env=slowly)
    (m / "f").read_bytes()
    time.sleep(0.1)  # the RELEASE is on its way
    trees.put(root / "f", b"2" * 60_000, NEW)
    refreshing = m.program.start("refresh", m / "f", stderr=subprocess.PIPE)
    time.sleep(0.5)
    begun = time.monotonic()
    change(m / "f")
    assert time.monotonic() - begun > 0.2, "it came too late to be in the way"
    assert refreshing.wait(20) == 0, refreshing.stderr.read()
    name = "f" if os.path.exists(m / "f") else "f.moved"
    assert os.stat(m / name).st_size == 60_000
    assert (m / name).read_bytes() == b"2" * 60_000


def test_what_is_held_is_listed(mount, serve, source):
    """Something of an older version is here than the one that was listed: once it was opened, who
    looks it up anew is told so, and does not have to open it twice."""
    m = mount(serve(source).url, "-o", "rw,listing_ttl=50ms,readahead=0")
    with open(m / "f", "rb", buffering=0) as f:
        assert f.read(PAGE) == version(1)[:PAGE]
        trees.put(source / "f", version(2, PAGES // 2), NEW)
        (source / "g").touch()
        assert processes.wait_until(lambda: (m / "g").exists())
    for _ in range(2):
        m.umount()
        m = m.again("-o", "rw,listing_ttl=never")
        told = os.stat(m / "f")
        with open(m / "f", "rb", buffering=0) as f:
            assert f.read(PAGE) == version(1)[:PAGE]
    assert (told.st_size, told.st_mtime) == (len(version(1)), OLD)


@pytest.mark.parametrize("size", [60_000, 40_000])
def test_append_to_a_version_that_was_just_taken(mount, serve, scratch, slowly, size):
    """Its end is not the one that the kernel knew when it began to open the file."""
    root = scratch / "source"
    trees.put(root / "f", b"1" * 50_000, OLD)
    m = mount(serve(root).url, "-o", "rw,listing_ttl=never", env=slowly)
    (m / "f").read_bytes()
    time.sleep(0.1)  # the RELEASE is on its way
    trees.put(root / "f", b"2" * size, NEW)
    refreshing = m.program.start("refresh", m / "f", stderr=subprocess.PIPE)
    time.sleep(0.5)
    begun = time.monotonic()
    f = os.open(m / "f", os.O_WRONLY | os.O_APPEND)  # open() would ask for the size
    assert time.monotonic() - begun > 0.2, "it came too late to be in the way"
    assert os.write(f, b"end") == 3
    os.close(f)
    assert refreshing.wait(20) == 0, refreshing.stderr.read()
    assert (m / "f").read_bytes() == b"2" * size + b"end"


@pytest.fixture
def pwritev2():
    libc = ctypes.CDLL(None, use_errno=True)

    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]

    def call(fd, data, offset, flags):
        vector = Vector(data, len(data))
        done = libc.pwritev2(fd, ctypes.byref(vector), 1, ctypes.c_long(offset), flags)
        return done if done >= 0 else -ctypes.get_errno()
    return call


@pytest.mark.parametrize("own", [False, True])
def test_not_every_write_appends(mount, serve, source, pwritev2, own):
    """RWF_NOAPPEND, in the middle, of a descriptor that appends else. In passthrough the kernel
    (6.18) appends all the same."""
    m = mount(serve(source).url, "-o", "rw,passthrough=no")
    if own:
        (m / "f").read_bytes()
    with open(m / "f", "ab", buffering=0) as f:
        done = pwritev2(f.fileno(), b"here", 5000, 0x20)
        if done == -errno.EOPNOTSUPP:
            pytest.skip("a kernel without RWF_NOAPPEND")
        assert done == 4
        f.write(b"end")
    assert (m / "f").read_bytes() == version(1)[:5000] + b"here" + version(1)[5004:] + b"end"


@pytest.mark.parametrize("read_before", [False, True])
def test_what_was_written_beside_a_look(mount, serve, scratch, source, read_before):
    """A look that was under way tells of the file as it was before, and is overtaken."""
    library = scratch / "slow_look.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library,
                    pathlib.Path(__file__).with_name("slow_look.c")], check=True)
    slow = scratch / "slow"
    m = mount(serve(source).url, "-o", "rw,listing_ttl=never,passthrough=no",
              env={"LD_PRELOAD": str(library), "SLOW_LOOK": str(slow)})
    if read_before:
        (m / "f").read_bytes()
    with open(m / "f", "r+b", buffering=0) as f:
        for end in (len(version(1)), len(version(1)) + 12_000):
            os.pwrite(f.fileno(), b"changed", 5000)  # it is ours, and looked at anew
            slow.touch()
            look = threading.Thread(target=os.stat, args=(m / "f",))
            look.start()
            time.sleep(0.1)
            slow.unlink()
            assert os.pwrite(f.fileno(), b"more" * 3000, end) == 12_000
            assert look.is_alive(), "it came too late to be overtaken"
            look.join()
            assert os.pread(f.fileno(), 20_000, end) == b"more" * 3000
            assert os.fstat(f.fileno()).st_size == end + 12_000


@pytest.mark.parametrize("options", MODES)
def test_sizes_beside_a_stalled_look_up(mount, serve, source, options):
    """A look-up that waits for the source holds its directory in the kernel, and keeps back whoever
    is to forget a name there; sizes and pages of other files are told all the same."""
    server = serve(source)
    page = "<html><body><h1>Index of /slow/</h1><ul>%s</ul></body></html>"

    def listing(names):
        return "text/html", (page % "".join(f'<li><a href="{n}">{n}</a></li>' for n in names)).encode()
    server.pages["/slow/"] = listing(["x0", "x1"])
    (source / "slow").mkdir()
    trees.put(source / "slow" / "x1", b"x", OLD)
    server.lie("/slow/x1", lying.delay(60))
    m = mount(server.url, "-o", f"rw,listing_ttl=500ms,wait_timeout=8s,stall_timeout=60s,{options}")
    assert (m / "f").read_bytes() == version(1)
    assert m.program.run("evict", m / "f").returncode == 0
    os.listdir(m / "slow")
    waiting = threading.Thread(target=lambda: os.path.exists(m / "slow" / "x1"))
    waiting.start()
    assert processes.wait_until(lambda: server.asked("/slow/x1"))
    server.pages["/slow/"] = listing(["x1", "x2"])
    time.sleep(0.6)
    asking = threading.Thread(target=lambda: os.stat(m / "slow"))
    asking.start()
    assert processes.wait_until(lambda: stuck(m.worker()))
    for n, pages in ((2, 2 * PAGES), (3, PAGES // 4)):
        trees.put(source / "f", version(n, pages), NEW + n)
        time.sleep(0.6)
        if n == 2:
            assert (m / "f").read_bytes() == version(n, pages)
        else:
            assert m.program.run("refresh", m / "f").returncode == 0
            assert os.stat(m / "f").st_size == pages * PAGE
            assert (m / "f").read_bytes() == version(n, pages)
    assert waiting.is_alive(), "the look-up has ended too early to be in the way"
    waiting.join()
    asking.join()


def stuck(pid):
    """Has it been trying to make the kernel forget a name?"""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            where = pathlib.Path(f"/proc/{pid}/task/{thread}/wchan").read_text()
        except OSError:
            continue
        if "inval_entry" in where or "rwsem" in where:
            return True
    return False


def overwrite(path):
    path.write_bytes(b"L" * os.stat(path).st_size)


def overwrite_in_place(path):
    with open(path, "r+b", buffering=0) as f:
        f.write(b"L" * os.stat(path).st_size)


@pytest.mark.sanitize
@pytest.mark.parametrize("size", [60_000, 300_000])
@pytest.mark.parametrize("change", [overwrite, overwrite_in_place,
                                    lambda path: os.truncate(path, 0)],
                         ids=["anew", "in place", "cut"])
@pytest.mark.parametrize("flags", [0, os.O_DIRECT], ids=["cached", "direct"])
def test_read_that_is_overtaken(mount, serve, scratch, size, change, flags):
    """What a reader waits for is replaced by another process: it reads what is there then."""
    root = scratch / "source"
    trees.put(root / "f", b"R" * size, OLD)
    server = serve(root)
    server.lie("/f", lying.delay(1), methods=("GET",))
    m = mount(server.url, "-o", "rw,readahead=0")
    read = []

    def reader():
        fd = os.open(m / "f", os.O_RDONLY | flags)
        buffer = mmap.mmap(-1, PAGE)
        try:
            read.append(buffer[:os.preadv(fd, [buffer], 2 * PAGE)])
        except OSError as e:
            read.append(e)
        os.close(fd)
    thread = threading.Thread(target=reader)
    thread.start()
    assert processes.wait_until(lambda: server.asked("/f", "GET"))
    change(m / "f")
    left = (m / "f").read_bytes()
    thread.join()
    assert read[0] in (b"R" * PAGE, b"L" * PAGE, b""), read[0]
    assert left == b"L" * len(left)


@pytest.mark.sanitize
@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("first", [16, PAGES])
def test_one_version_of_what_the_store_does_not_keep(mount, serve, source, first, options):
    """A directory became a file, and what was read of it has the file's name in the store: what
    is read of the file then is forgotten when it is closed, and comes anew."""
    trees.put(source / "x" / "inner", b"of the directory")
    m = mount(serve(source).url, "-o", f"{options},readahead=0")
    assert (m / "x" / "inner").read_bytes() == b"of the directory"
    os.rename(source / "x", source.parent / "gone")
    trees.put(source / "x", version(1), OLD)
    assert m.program.run("refresh", m.path).returncode == 0
    assert processes.wait_until(lambda: (m / "x").is_file())
    with open(m / "x", "rb", buffering=0) as f:
        assert os.pread(f.fileno(), first * PAGE, 0) == version(1)[:first * PAGE]
    assert (m.store / "tree" / "x").is_dir()
    # its content is let go of with the handle, which the kernel does behind our back
    assert processes.wait_until(lambda: m.status("x")["handles"] == 0)
    trees.put(source / "x", version(2), NEW)
    assert (m / "x").read_bytes() == version(2)
