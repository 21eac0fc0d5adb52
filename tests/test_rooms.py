# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The rooms of fuse/ and fetch/: includes and calls run down the table below, and no files include
one another in a circle. CONTRIBUTING.md names files and functions that exist."""
import json
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[1]

# Room → the rooms that it uses, beside itself, and no others. A room is used by those above it only.
USES = {
    "fetch/base": [],
    "fetch/store/disk": ["fetch/base"],
    "fetch/store/object": ["fetch/base", "fetch/store/disk"],
    "fetch/store/file": ["fetch/base", "fetch/store/disk", "fetch/store/object"],
    "fetch/store/tree": ["fetch/base", "fetch/store/disk", "fetch/store/object"],
    "fetch/store": ["fetch/base", "fetch/store/disk", "fetch/store/object", "fetch/store/file",
                    "fetch/store/tree"],
    "fetch/check": ["fetch/base", "fetch/store/disk", "fetch/store/object"],
    "fetch/source/base": ["fetch/base"],
    "fetch/source/pages": ["fetch/base", "fetch/source/base"],
    "fetch/source/http": ["fetch/base", "fetch/source/base", "fetch/source/pages"],
    "fetch/source/dir": ["fetch/base", "fetch/source/base"],
    "fetch/source/wrap": ["fetch/base", "fetch/source/base"],
    "fetch/index": ["fetch/base"],
    "fetch/publish": ["fetch/base", "fetch/index"],
    "fetch/source/index": ["fetch/base", "fetch/source/base", "fetch/index"],
    "fetch/source": ["fetch/base", "fetch/source/base", "fetch/source/http",
                     "fetch/source/dir", "fetch/source/wrap", "fetch/source/index"],
    "fetch/fill": ["fetch/base", "fetch/source/base", "fetch/store/disk", "fetch/store/object",
                   "fetch/store/file"],
    "fetch/list": ["fetch/base", "fetch/source/base", "fetch/store/disk", "fetch/store/tree"],
    "fuse/base": ["fetch/base", "fetch/source/base", "fetch/check"],
    # all of the command line but `mount`, which starts a daemon, speaks to daemons only
    # (`verify` reads a store that no daemon has; `mount` checks SOURCE: source_open.h)
    "fuse/cli": ["fetch/base", "fetch/index", "fetch/publish", "fetch/source", "fetch/check",
                 "fuse/base", "fuse/keeper", "fuse/daemon"],
    "fuse/keeper": ["fuse/base"],
    "fuse/inode": ["fetch/base", "fetch/source/base", "fetch/store/disk", "fetch/store/object", "fetch/store/tree",
                   "fetch/fill", "fetch/list", "fuse/base"],
    "fuse/events": ["fetch/base", "fetch/source/wrap", "fetch/store/disk", "fuse/base",
                    "fuse/keeper", "fuse/inode"],
    "fuse/evict": ["fetch/base", "fetch/source/base", "fetch/store/disk", "fetch/store/object",
                   "fetch/store/tree", "fetch/fill", "fetch/list", "fuse/base", "fuse/inode",
                   "fuse/events"],
    "fuse/ops": ["fetch/base", "fetch/source/wrap", "fetch/store/disk", "fetch/store/object",
                 "fetch/store/file", "fetch/store/tree", "fetch/fill", "fetch/list", "fuse/base",
                 "fuse/inode", "fuse/events"],
    "fuse/control": ["fetch/base", "fetch/source/base", "fetch/source/wrap", "fetch/store/disk",
                     "fetch/store/object", "fetch/check", "fetch/fill", "fetch/list", "fuse/base",
                     "fuse/keeper", "fuse/inode", "fuse/events", "fuse/evict", "fuse/ops"],
    "fuse/daemon": ["fetch/base", "fetch/source/base", "fetch/source/wrap", "fetch/source",
                    "fetch/store/disk", "fetch/store/file", "fetch/store/tree", "fetch/store",
                    "fetch/fill", "fetch/list", "fuse/base", "fuse/keeper", "fuse/inode",
                    "fuse/events", "fuse/evict", "fuse/ops", "fuse/control"],
}


def room_of(path):
    return str(pathlib.PurePosixPath(path).parent)


def files(top):
    return sorted(str(p.relative_to(top)) for side in ("fuse", "fetch")
                  for p in (top / side).rglob("*.[ch]"))


def includes(top):
    """file → the files of fuse/ and fetch/ that it includes."""
    return {f: [i for i in re.findall(r'^#include "((?:fuse|fetch)/[^"]+)"',
                                      (top / f).read_text(encoding="utf-8"), re.M)]
            for f in files(top)}


def noun(path):
    """A .c file and its headers, the private one too, are one."""
    return re.sub(r"(_private)?\.[ch]$", "", path)


def circle(arrows):
    """One circle of the graph (node → nodes), as a list; None: there is none."""
    state, trail = {}, []

    def walk(node):
        state[node] = "open"
        trail.append(node)
        for to in sorted(arrows.get(node, ())):
            if state.get(to) == "open":
                return trail[trail.index(to):] + [to]
            if to not in state:
                found = walk(to)
                if found:
                    return found
        trail.pop()
        state[node] = "done"
        return None
    for node in sorted(arrows):
        if node not in state:
            found = walk(node)
            if found:
                return found
    return None


def nouns(graph):
    arrows = {}
    for path, used in graph.items():
        arrows.setdefault(noun(path), set()).update(noun(u) for u in used if noun(u) != noun(path))
    return arrows


def climbing(graph, room=room_of):
    """Arrows that the table does not have: (file, file used)."""
    return [(path, u) for path, used in sorted(graph.items()) for u in used
            if room(path) != room(u) and room(u) not in USES.get(room(path), ())]


def calls(build):
    """file → {file whose function or variable it uses: the names}."""
    owner, wanted = {}, {}
    commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    objects = {}
    for c in commands:
        source = (build / c["file"]).resolve()
        if source.is_relative_to(TOP) and (build / c["output"]).exists():
            path = str(source.relative_to(TOP))
            if path.startswith(("fuse/", "fetch/")) and "/fuzz/" not in c["output"]:
                objects[str(build / c["output"])] = path
    done = subprocess.run(["nm", "-gA", *objects], check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        place, rest = line.split(":", 1)
        words = rest.split()
        if words[-2] == "U":
            wanted.setdefault(words[-1], set()).add(objects[place])
        else:
            owner[words[-1]] = objects[place]
    used = {}
    for name, users in wanted.items():
        for user in users:
            if name in owner and owner[name] != user:
                used.setdefault(user, {}).setdefault(owner[name], []).append(name)
    return used


def test_every_folder_is_a_room():
    assert {room_of(f) for f in files(TOP)} == set(USES)


def test_table_has_no_circle():
    assert circle(USES) is None


def test_no_files_include_one_another():
    assert circle(nouns(includes(TOP))) is None


def test_includes_run_down():
    assert [f"{path} includes {used}" for path, used in climbing(includes(TOP))] == []


def test_calls_run_down(request):
    """A function that a lower header declares must not be defined above it either."""
    build = request.config.getoption("build")
    if not build:
        pytest.skip("needs --build")
    used = calls(pathlib.Path(build).resolve())
    assert len(used) > 100
    assert [f"{path} calls {', '.join(used[path][to])} of {to}"
            for path, to in climbing({p: list(u) for p, u in used.items()})] == []


def idle(*graphs):
    """Arrows of the table that no file of the graphs has: (room, room used)."""
    taken = {(room_of(path), room_of(u)) for graph in graphs for path, used in graph.items()
             for u in used}
    return [(room, used) for room, all_used in USES.items() for used in all_used
            if (room, used) not in taken]


def test_nothing_is_allowed_in_vain(request):
    build = request.config.getoption("build")
    if not build:
        pytest.skip("needs --build")
    assert [f"{room} does not use {used}" for room, used in
            idle(includes(TOP), calls(pathlib.Path(build).resolve()))] == []


def test_only_source_c_calls_a_source():
    """It checks the contract of each call (fetch/source/base/source.h)."""
    direct = re.compile(r"->ops->(list|stat|read|describe)\(")
    assert [f for f in files(TOP) if f != "fetch/source/base/source.c"
            and direct.search((TOP / f).read_text(encoding="utf-8"))] == []


def test_no_file_is_longer_than_a_reader_takes_in():
    sources = [p for top in ("fuse", "fetch", "lib", "include", "examples", "tests")
               for pattern in ("*.[ch]", "*.py") for p in (TOP / top).rglob(pattern)]
    assert len(sources) > 500
    assert [str(p.relative_to(TOP)) for p in sources
            if len(p.read_text(encoding="utf-8").splitlines()) > 400] == []


def architecture():
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    walks = text.split("\n# Architecture\n", 1)[-1] if "\n# Architecture\n" in text else ""
    assert walks.strip()
    return walks


def test_architecture_names_what_exists():
    """`file.c` and `function()` in the walks are there; a function is in the file named with it."""
    text = architecture()
    known = files(TOP)
    for path in set(re.findall(r"`([a-z_/0-9]+\.[ch])`", text)):
        assert any(f == path or f.endswith("/" + path) for f in known), path
    define = re.compile(r"^(?:static )?[A-Za-z][\w \*]*?\b(\w+)\(", re.M)
    defined = {f: set(define.findall((TOP / f).read_text(encoding="utf-8"))) for f in known}
    for name in set(re.findall(r"`([a-z_0-9]+)\(\)`", text)):
        assert any(name in names for names in defined.values()), name
    for name, path in re.findall(r"`([a-z_0-9]+)\(\)` \(`([a-z_/0-9]+\.c)`\)", text):
        assert name in defined[path], (name, path)
    for folder in set(re.findall(r"`((?:fuse|fetch)/[a-z/]*)`", text)):
        assert (TOP / folder).is_dir(), folder
