# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The source tree itself: format, licence lines, man page; and a moment of each fuzz target."""
import os
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[1]
SOURCES = sorted(p for d in ("include", "fuse", "fetch", "tests", "examples")
                 for p in (TOP / d).rglob("*") if p.suffix in (".c", ".h"))
FUZZ_SECONDS = 10


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


def test_man_page():
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", TOP / "fuse" / "lacunafs.1"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_help_and_man_page_name_the_same_options(request):
    """Both ways."""
    program = TOP / request.config.getoption("build") / "fuse" / "lacunafs"
    named = set()
    for argv in (["--help"], *([verb, "--help"] for verb in ("mount", "umount", "status", "fill"))):
        text = subprocess.run([program, *argv], capture_output=True, text=True, check=True).stdout
        named |= set(re.findall(r"--[a-z][a-z-]+", text))
    page = (TOP / "fuse" / "lacunafs.1").read_text(encoding="utf-8").replace("\\-", "-")
    # mdoc: .Fl -store; man: --store
    documented = {"--" + m for m in re.findall(r"Fl -([a-z][a-z-]+)", page)} | \
        set(re.findall(r"--[a-z][a-z-]+", page))
    assert named - documented == set(), "not in the man page"
    assert documented - named - {"--help", "--version"} == set(), "not in --help"


def pytest_generate_tests(metafunc):
    if "target" in metafunc.fixturenames:
        build = metafunc.config.getoption("clang")
        found = sorted(p for p in (pathlib.Path(build) / "tests" / "fuzz").glob("*")
                       if p.is_file() and os.access(p, os.X_OK)) if build else []
        metafunc.parametrize("target", found, ids=lambda p: p.name)


def test_fuzz(target, tmp_path):
    """A moment; tests/fuzz says how to run one for longer."""
    seeds = TOP / "tests" / "fuzz" / "corpus" / target.name.removeprefix("fuzz_")
    argv = [target.resolve(), f"-max_total_time={FUZZ_SECONDS}", "-rss_limit_mb=2048", tmp_path]
    done = subprocess.run(argv + ([seeds] if seeds.is_dir() else []), capture_output=True, text=True,
                          errors="replace", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-8000:]
