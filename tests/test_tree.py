# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The source tree itself: format, licence lines, what includes what; and a moment of each fuzz
target."""
import json
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[1]
SOURCES = sorted(p for d in ("include", "fuse", "fetch", "lib", "tests", "examples")
                 for p in (TOP / d).rglob("*") if p.suffix in (".c", ".h"))


def format_version():
    try:
        done = subprocess.run(["clang-format", "--version"], capture_output=True, text=True)
        return int(re.search(r"version (\d+)", done.stdout)[1])
    except (OSError, TypeError):
        return 0


# Each release formats a little differently: the tree's is that of Debian 12.
if format_version() == 14:
    def test_format():
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *SOURCES],
                              capture_output=True, text=True)
        wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if "error:" in line})
        assert not wrong, "clang-format -i " + " ".join(wrong)


def test_lines_fit():
    """Comments, too, which clang-format leaves as they are."""
    long = [f"{path.relative_to(TOP)}:{n}" for path in SOURCES
            for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if len(line.expandtabs(8)) > 100]
    assert long == []


def test_licence_lines():
    scripts = [p for p in (TOP / "tests").rglob("*.py")] + \
        [TOP / n for n in ("quickstart", "check", ".ci/run", "tests/setup")]
    for path in [*SOURCES, *scripts]:
        head = "\n".join(path.read_text(encoding="utf-8").splitlines()[:3])
        assert "SPDX-License-Identifier: LGPL-2.1-or-later" in head, path
        assert "Copyright the lacunafs authors" in head, path


def test_file_lengths():
    """A file of more than 700 lines holds more than one noun."""
    assert [p for p in SOURCES if len(p.read_text(encoding="utf-8").splitlines()) > 700] == []


def test_fuse_headers_stay_in_fuse():
    """Only fuse/ includes libfuse's headers, only one file curl's."""
    curl = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        inside = path.relative_to(TOP).parts[0]
        if re.search(r'#include\s*[<"]fuse[_.]', text):
            assert inside == "fuse" or "fuse" in str(path.relative_to(TOP)), path
        if "curl/curl.h" in text:
            curl.append(path.name)
    assert len(curl) <= 1, curl


def test_replies_are_counted():
    """All but reply.h reply through it."""
    direct = [f"{p.name}: {name}" for p in sorted((TOP / "fuse").rglob("*.[ch]"))
              if p.name != "reply.h"
              for name in re.findall(r"\bfuse_reply_\w+\(", p.read_text(encoding="utf-8"))]
    assert direct == []


PAGES = [TOP / "fuse" / "cli" / "lacunafs.1", TOP / "lib" / "lacuna-precontent.7",
         TOP / "lib" / "liblacuna.3"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_man_page(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout
    shown = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=80", page], check=True,
                           capture_output=True, text=True).stdout
    plain = re.sub(".\b", "", shown)
    assert [line for line in plain.splitlines() if len(line) > 80] == []


def test_lacuna_functions():
    """The header, what the library exports and its manual name the same functions."""
    header = (TOP / "include" / "lacuna" / "precontent.h").read_text(encoding="utf-8")
    exported = (TOP / "lib" / "liblacuna.map").read_text(encoding="utf-8")
    manual = (TOP / "lib" / "liblacuna.3").read_text(encoding="utf-8")
    declared = set(re.findall(r"^[a-z].*?\*?\b(lacuna_[a-z_]+)\(", header, re.M))
    assert len(declared) == 11
    assert set(re.findall(r"\b(lacuna_[a-z_]+);", exported)) == declared
    assert set(re.findall(r"^\.Nm (lacuna_[a-z_]+)", manual, re.M)) == declared
    assert set(re.findall(r"^\.F[no] (lacuna_[a-z_]+)", manual.split(".Sh DESCRIPTION")[0],
                          re.M)) == declared


def test_lacuna_layouts(tmp_path):
    """Offsets, sizes and numbers in lacuna-precontent(7) are the header's."""
    page = (TOP / "lib" / "lacuna-precontent.7").read_text(encoding="utf-8")
    source = ["#include <stddef.h>", "#include \"lacuna/precontent.h\""]
    tables = re.findall(r"^offset  size  struct (\w+)\n(.*?)^\.Ed", page, re.M | re.S)
    assert len(tables) == 5
    for struct, rows in tables:
        fields = re.findall(r"^ +(\d+) +(\d+|…)  (\w+)", rows, re.M)
        for offset, size, field in fields:
            source.append(f"_Static_assert(offsetof(struct {struct}, {field}) == {offset}, \"\");")
            if size != "…":
                source.append(f"_Static_assert(sizeof(((struct {struct} *)0)->{field}) == {size},"
                              f" \"{field}\");")
        end = sum(int(n) for n in fields[-1][:2] if n != "…")
        source.append(f"_Static_assert(sizeof(struct {struct}) == {end}, \"{struct}\");")
    numbers = {"MARK_": r"\b([1-8]) (MOUNT|CHILDREN|FILE|ADD|REMOVE|IGNORE|FLUSH)\b",
               "": r"\b([1-7]) (EVENT|ANSWER|MARK|RESULT|DETACH|ALLOW|FETCH|DENY|READ|WRITE|"
                   r"TRUNCATE|EXEC|FAULT|FILL|ALLOCATE)\b"}
    for prefix, pattern in numbers.items():
        found = set(re.findall(pattern, page))
        assert len(found) == (7 if prefix else 15)
        source += [f"_Static_assert(LACUNA_{prefix}{name} == {n}, \"{name}\");" for n, name in found]
    (tmp_path / "layout.c").write_text("\n".join(source) + "\n")
    done = subprocess.run(["gcc", "-fsyntax-only", f"-I{TOP}/include", tmp_path / "layout.c"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_installs_nothing_of_libfuse(tmp_path):
    """libfuse is linked in: a distribution's headers and library are not to be hidden by it."""
    cache = TOP / "subprojects" / "packagecache"
    if not cache.is_dir():
        pytest.skip("built with the system's libfuse")
    copy = tmp_path / "copy"
    skip = shutil.ignore_patterns("build*", "fuse-*[0-9]", ".git", ".cache", "__pycache__")
    shutil.copytree(TOP, copy, ignore=skip)
    done = subprocess.run(["meson", "setup", "build", "--prefix=/usr", "--libdir=lib",
                           "--force-fallback-for=fuse3"], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    shown = subprocess.run(["meson", "introspect", "--installed", "build"], cwd=copy,
                           capture_output=True, text=True, check=True)
    installed = list(json.loads(shown.stdout).values())
    assert "/usr/bin/lacunafs" in installed and "/usr/include/lacuna/control.h" in installed
    assert not [p for p in installed if "fuse3" in p or "/fuse" in p], installed


def fuzz_targets():
    text = (TOP / "tests" / "fuzz" / "meson.build").read_text(encoding="utf-8")
    return re.findall(r"^  '([a-z0-9_]+)':", text, re.M)


@pytest.fixture(scope="module")
def fuzzed(request):
    """What tests/fuzz/run said of all selected targets, one per processor at a time."""
    names = [item.callspec.params["name"] for item in request.session.items
             if item.getparent(pytest.Module) is request.node and item.originalname == "test_fuzz"]
    seconds = str(request.config.getoption("fuzz_seconds"))
    done = subprocess.run([TOP / "tests" / "fuzz" / "run", seconds, *names], capture_output=True,
                          text=True, errors="replace")
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", fuzz_targets())
def test_fuzz(fuzzed, name):
    """A moment; tests/fuzz/run says how to run one for longer."""
    assert re.search(rf"^{name}: passed: .*DONE", fuzzed, re.M), fuzzed[-8000:]


# A lock is left locked, a function is called without the lock that it requires, and a member is read
# without the role that stands for its lock.
UNSAFE = """
#include "fetch/base/lock.h"
extern struct mutex counter_locked;
struct counter { struct mutex lock; int count GUARDED_BY(counter_locked); };
void add_locked(struct counter *c) REQUIRES(c->lock);
void leave(struct counter *c);
void add(struct counter *c);
int peek(struct counter *c);
void leave(struct counter *c) { mutex_lock(&c->lock); add_locked(c); }
void add(struct counter *c) { add_locked(c); }
int peek(struct counter *c) { return c->count; }
"""


def clang_errors(words, cwd=TOP, text=None):
    done = subprocess.run(["clang", "-fsyntax-only", "-Wthread-safety", "-Werror=thread-safety", *words],
                          input=text, cwd=cwd, capture_output=True, text=True)
    found = re.findall(r"error: (.*) \[-Werror,-Wthread-safety", done.stderr)
    assert found or done.returncode == 0, done.stderr
    return found, done.stderr


def test_thread_safety(request):
    """Clang's analysis of the attributes of fetch/base/lock.h."""
    found, stderr = clang_errors(["-D_GNU_SOURCE", "-I.", "-xc", "-"], text=UNSAFE)
    assert found == ["mutex 'c->lock' is still held at the end of function",
                     "calling function 'add_locked' requires holding mutex 'c->lock' exclusively",
                     "reading variable 'count' requires holding mutex 'counter_locked'"], stderr
    build = pathlib.Path(request.config.getoption("build")).resolve()
    units = [u for u in json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
             if (build / u["file"]).resolve().relative_to(TOP).parts[0] in ("fuse", "fetch")]
    assert len(units) > 150
    for unit in units:
        words = [w for w in shlex.split(unit["command"]) if re.match("-[IDU]|-std=", w)]
        found, stderr = clang_errors([*words, unit["file"]], unit["directory"])
        assert not found, stderr


RAW_LOCK = re.compile(r"pthread_(mutex|rwlock|cond|spin)|\bG(Mutex|RWLock|RecMutex|Cond)\b|\bg_mutex_")


def test_locks_have_ranks():
    """fetch/base/lock.h alone uses pthread's locks."""
    own = TOP / "fetch" / "base"
    raw = [str(p) for p in SOURCES if p.relative_to(TOP).parts[0] in ("fuse", "fetch")
           and p not in (own / "lock.h", own / "lock.c") and RAW_LOCK.search(p.read_text(encoding="utf-8"))]
    assert not raw
