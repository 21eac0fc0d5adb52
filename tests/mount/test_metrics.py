# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The metrics: what a strict reader of OpenMetrics makes of them, how they move with what is done,
and who may ask for them in which way."""
import json
import math
import os
import pathlib
import re
import socket
import stat
import subprocess

import pytest

import lying
import processes
import trees
from origin import free_port

TOP = pathlib.Path(__file__).resolve().parents[2]
CHUNK = trees.CHUNK
TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SUFFIXES = {"counter": ["_total"], "gauge": [""], "info": ["_info"],
            "histogram": ["_bucket", "_count", "_sum"]}


def number(text):
    assert re.fullmatch(r"[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|Inf)", text), text
    return float(text)


def labels(text):
    found = {}
    rest = text
    while rest:
        m = re.match(rf'({NAME})="((?:[^"\\\n]|\\[n"\\])*)"(,|$)', rest)
        assert m and m[1] not in found, text
        found[m[1]] = m[2]
        rest = rest[m.end():]
    return found


def check_histogram(name, samples):
    """Of one set of labels: bounds rise, counts do not fall, the last is +Inf and the count."""
    groups = {}
    for (sample, key), value in samples.items():
        rest = tuple(kv for kv in key if kv[0] != "le")
        groups.setdefault(rest, {}).setdefault(sample[len(name):], []).append((dict(key), value))
    for group in groups.values():
        assert set(group) == set(SUFFIXES["histogram"])
        bounds = [number(k["le"]) for k, _ in group["_bucket"]]
        counts = [v for _, v in group["_bucket"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf
        assert counts == sorted(counts) and counts[-1] == group["_count"][0][1]
        assert group["_sum"][0][1] >= 0


def parse(text):
    """(sample, labels) → value; the families. Strict: order, names, types, units, the end."""
    assert text.endswith("\n# EOF\n") and text.count("# EOF") == 1
    families, values, now, seen = {}, {}, None, set()
    for line in text[:-len("# EOF\n")].splitlines():
        m = re.fullmatch(rf"# (TYPE|UNIT|HELP) ({NAME}) (.+)", line)
        if m:
            kind, name, rest = m.groups()
            if name != now:
                assert name not in families, f"{name}: in two places"
                families[name], now = {"samples": {}}, name
            assert kind not in families[name] and not families[name]["samples"], line
            families[name][kind] = rest
            continue
        m = re.fullmatch(rf"({NAME})(?:\{{(.+)\}})? (\S+)", line)
        assert m and now, line
        sample, key, value = m[1], tuple(sorted(labels(m[2] or "").items())), number(m[3])
        f = families[now]
        assert sample.startswith(now) and sample[len(now):] in SUFFIXES[f["TYPE"]], line
        assert (sample, key) not in seen, line
        seen.add((sample, key))
        f["samples"][sample, key] = value
        values[sample, key] = value
        if f["TYPE"] in ("counter", "histogram"):
            assert value >= 0 and not math.isnan(value), line
    for name, f in families.items():
        assert f["TYPE"] in SUFFIXES and f["HELP"] and f["samples"], name
        if "UNIT" in f:
            assert name.endswith("_" + f["UNIT"]), name
        for unit in ("bytes", "seconds"):
            assert not name.endswith("_" + unit) or f.get("UNIT") == unit, name
        if f["TYPE"] == "histogram":
            check_histogram(name, f["samples"])
    return values, families


def metrics(m):
    done = m.program.run("metrics", m.path)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)[0]


def value(values, name, **key):
    return values.get((name, tuple(sorted(key.items()))), 0)


class Moves:
    """What moved between two looks."""

    def __init__(self, m):
        self.m, self.before = m, metrics(m)

    def look(self):
        after = metrics(self.m)
        self.before, moved = after, {k: v - self.before.get(k, 0) for k, v in after.items()}
        return moved


def requests(moved):
    return {dict(key)["op"]: n for (name, key), n in moved.items()
            if name == "lacunafs_requests_total" and n}


@pytest.mark.sanitize
def test_counts_move_as_expected(mount, serve, tree):
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0,passthrough=no,listing_ttl=never")
    os.stat(m / "big")
    moves = Moves(m)
    fd = os.open(m / "big", os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # the kernel reads nothing ahead
    moved = moves.look()
    assert requests(moved)["open"] == 1
    assert value(moved, "lacunafs_open_files") == 1
    # a miss, then a hit of the same chunk
    assert os.pread(fd, 4096, 0) == (tree / "big").read_bytes()[:4096]
    moved = moves.look()
    assert requests(moved) == {"read": 1}
    assert value(moved, "lacunafs_reads_total", result="miss") == 1
    assert value(moved, "lacunafs_reads_total", result="hit") == 0
    assert value(moved, "lacunafs_served_bytes_total") == 4096
    assert value(moved, "lacunafs_source_bytes_total") == CHUNK
    assert value(moved, "lacunafs_source_requests_total", kind="data") == 1
    assert value(moved, "lacunafs_chunks_total", how="fetched") == 1
    assert value(moved, "lacunafs_waits_total", kind="data") == 1
    assert value(moved, "lacunafs_request_duration_seconds_count", op="read") == 1
    os.pread(fd, 4096, 8192)
    moved = moves.look()
    assert value(moved, "lacunafs_reads_total", result="hit") == 1
    assert value(moved, "lacunafs_reads_total", result="miss") == 0
    assert value(moved, "lacunafs_source_bytes_total") == 0
    assert value(moved, "lacunafs_served_bytes_total") == 4096
    os.close(fd)
    processes.wait_until(lambda: value(metrics(m), "lacunafs_open_files") == 0)
    moves.look()
    # an error by its name; eviction; local writes and reads
    with pytest.raises(OSError):
        os.rmdir(m / "many")
    moved = moves.look()
    assert value(moved, "lacunafs_request_errors_total", errno="ENOTEMPTY") == 1
    assert requests(moved)["rmdir"] == 1
    assert m.program.run("evict", m / "big").returncode == 0
    moved = moves.look()
    assert value(moved, "lacunafs_evicted_files_total") == 1
    assert value(moved, "lacunafs_evicted_bytes_total") >= CHUNK
    (m / "born").write_bytes(b"x" * 10000)
    moved = moves.look()
    assert value(moved, "lacunafs_written_bytes_total") == 10000
    assert requests(moved)["create"] == 1
    fd = os.open(m / "born", os.O_RDONLY | os.O_DIRECT)
    assert os.preadv(fd, [memoryview(bytearray(65536))], 0) == 10000
    os.close(fd)
    assert value(moves.look(), "lacunafs_served_bytes_total") == 10000


@pytest.mark.sanitize
def test_durations_and_failures(mount, serve, tree):
    """A request that waits has its whole time; one that times out is an error."""
    server = serve(tree)
    m = mount(server.url, "-o", "readahead=0,passthrough=no,retries=0,wait_timeout=1s")
    os.stat(m / "big")
    moves = Moves(m)
    server.lie("/big", lying.stall())
    with pytest.raises(OSError):
        (m / "big").read_bytes()
    moved = moves.look()
    n = value(moved, "lacunafs_request_errors_total", errno="EIO")
    assert n >= 1
    assert value(moved, "lacunafs_wait_timeouts_total", kind="data") >= 1
    assert value(moved, "lacunafs_request_duration_seconds_count", op="read") >= n
    # the kernel's second try is refused at once
    assert value(moved, "lacunafs_request_duration_seconds_sum", op="read") >= 0.99
    assert value(moved, "lacunafs_request_duration_seconds_bucket", op="read",
                 le="0.262144") == n - 1
    assert value(moved, "lacunafs_source_errors_total", kind="data") >= 1
    assert value(moved, "lacunafs_waiting") == 0
    server.honest()


def test_failures_by_class(mount, serve, tree):
    """Each kind of failure counts in its class, and at the mirror where it happened."""
    kinds = {"server": lying.status(503), "denied": lying.status(401), "missing": lying.status(404),
             "content": lying.page, "unreachable": lying.drop, "timeout": lying.stall(0)}
    names = dict(zip(kinds, sorted(p.name for p in (tree / "sizes").iterdir()
                                   if p.stat().st_size > 1000)))
    server = serve(tree)
    for kind, name in names.items():
        server.lie(f"/sizes/{name}", kinds[kind])
    m = mount(server.url, "-o", "retries=0,stall_timeout=300ms")
    os.listdir(m / "sizes")
    before = metrics(m)
    for kind, name in names.items():
        with pytest.raises(OSError):
            (m / "sizes" / name).read_bytes()
    # as a walk goes on, the next files are requested, too: perhaps more than one each
    for now in (metrics(m), before):
        for kind in (*kinds, "changed"):
            count = value(now, "lacunafs_source_failures_total", mirror="1", **{"class": kind})
            assert (count >= 1) == (now is not before and kind in kinds), kind
    assert all(m.status()["network"]["failures"][kind] >= 1 for kind in kinds)
    m.umount()
    server.stop()
    m = mount(server.url, "--mirror", serve(tree).url, "-o", "retries=0")
    assert (m / "big").read_bytes() == (tree / "big").read_bytes()
    now = metrics(m)
    assert value(now, "lacunafs_mirror_up", mirror="1") == 0
    assert value(now, "lacunafs_mirror_up", mirror="2") == 1
    first, second = (x["failures"] for x in m.status()["mirrors"])
    assert first["unreachable"] >= 1 and not any(second.values())
    assert not any(m.status()["network"]["failures"].values())  # the second one served all


def ask(address, request):
    """The whole answer to these bytes."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(20)
        s.connect(address)
        s.sendall(request)
        answer = b""
        while data := s.recv(65536):
            answer += data
    return answer


def split(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(x.split(": ", 1) for x in lines[1:]), body


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.sanitize
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_served_over_http(mount, tree, scratch, kind):
    path = f"{scratch}/metrics.sock"
    address = path if kind == "unix" else ("127.0.0.1", free_port())
    where = f"unix:{path}" if kind == "unix" else "127.0.0.1:%d" % address[1]
    m = mount(tree, "-o", f"metrics={where}")
    status, fields, body = split(ask(address, GET))
    assert status == 200 and fields["Content-Type"] == TYPE
    assert int(fields["Content-Length"]) == len(body)
    served = parse(body.decode())[1]
    assert set(served) == set(parse(m.program.run("metrics", m.path).stdout)[1])
    # byte by byte; HEAD; the old version; a query
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as s:
        s.connect(address)
        for byte in GET:
            s.send(bytes([byte]))
        assert s.recv(12) == b"HTTP/1.1 200"
    status, fields, body = split(ask(address, GET.replace(b"GET", b"HEAD")))
    assert status == 200 and int(fields["Content-Length"]) > 1000 and body == b""
    assert split(ask(address, b"GET /metrics?a=b HTTP/1.0\r\n\r\n"))[0] == 200
    for request, expected in ((b"GET / HTTP/1.1\r\n\r\n", 404), (b"\0\r\n\r\n", 400),
                              (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
                              (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
                              (b"GET /metrics HTTP/2\r\n\r\n", 400),
                              (b"GET  HTTP/1.1\r\n\r\n", 400), (b"\r\n\r\n", 400),
                              (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 4096, 431)):
        status, fields, body = split(ask(address, request))
        assert status == expected, request
        assert (fields.get("Allow") == "GET, HEAD") == (status == 405)
    # more peers than places, that say nothing: they end, and others are answered then
    silent = [socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
              for _ in range(20)]
    for s in silent:
        s.connect(address)
    assert split(ask(address, GET))[0] == 200
    for s in silent:
        s.close()
    m.umount()
    with pytest.raises(OSError):
        ask(address, GET)
    assert not os.path.exists(path)


def test_socket_is_private(mount, tree, scratch, nobody):
    path = scratch / "metrics.sock"
    m = mount(tree, "-o", f"metrics=unix:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    code = ("import socket, sys; s = socket.socket(socket.AF_UNIX); "
            f"sys.exit(s.connect_ex({str(path)!r}))")
    done = subprocess.run(["setpriv", f"--reuid={nobody}", "--clear-groups", "/usr/bin/python3", "-c", code])
    assert done.returncode == 13  # EACCES
    done = m.program.run("metrics", m.path, user=nobody)
    assert done.returncode == 1 and done.stdout == ""


def test_address_in_use(mount, lacunafs, tree, scratch):
    """A dead daemon's socket is replaced; one that is served, and any other file, is not."""
    path = scratch / "metrics.sock"
    m = mount(tree, "-o", f"metrics=unix:{path}")
    other = scratch / "other"
    other.mkdir()
    done = lacunafs.run("mount", tree, other, "--store", scratch / "s9", "-o",
                        f"metrics=unix:{path}")
    assert done.returncode == 1 and "Address already in use" in done.stderr
    assert split(ask(str(path), GET))[0] == 200
    m.kill()
    assert path.exists()
    m = m.again()
    assert split(ask(str(path), GET))[0] == 200
    file = scratch / "file"
    file.write_text("mine")
    done = lacunafs.run("mount", tree, other, "--store", scratch / "s9", "-o",
                        f"metrics=unix:{file}")
    assert done.returncode == 1 and file.read_text() == "mine"


def test_socket_of_a_busy_server(lacunafs, tree, scratch):
    """Its queue is full: the mount fails at once, as in the test before, and does not wait."""
    path = str(scratch / "busy.sock")
    (scratch / "m").mkdir()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen(0)
        client.connect(path)
        done = lacunafs.run("mount", tree, scratch / "m", "--store", scratch / "s9", "-o",
                            f"metrics=unix:{path}", timeout=60)
    assert done.returncode == 1 and "Address already in use" in done.stderr


@pytest.mark.parametrize("where", ["", "unix:", "unix:relative", "unix:/" + "x" * 108, "1234",
                                   "0.0.0.0:99", "192.168.1.1:99", "127.0.0.1", "127.0.0.1:0",
                                   "127.0.0.1:65536", "[::]:99", "localhost:99"])
def test_wrong_addresses(lacunafs, tree, scratch, where):
    (scratch / "m").mkdir()
    done = lacunafs.run("mount", tree, scratch / "m", "-o", f"metrics={where}")
    assert done.returncode == 2 and "expects unix:PATH" in done.stderr


def test_dashboard_names_what_is_exported(mount, serve, tree):
    """And the manual names everything."""
    m = mount(serve(tree).url, "--mirror", tree, "-o", "passthrough=no")
    (m / "sizes" / "f4097").read_bytes()
    values, families = parse(m.program.run("metrics", m.path).stdout)
    exported = {sample for sample, _ in values} | {"lacunafs_request_errors_total"}
    dashboard = json.loads((TOP / "examples" / "grafana.json").read_text(encoding="utf-8"))
    text = json.dumps([p["targets"] for p in dashboard["panels"]] + [dashboard["templating"]])
    used = set(re.findall(r"\blacunafs_\w+", text))
    assert len(used) > 15 and used <= exported, used - exported
    page = (TOP / "fuse" / "cli" / "lacunafs.1").read_text(encoding="utf-8")
    section = re.search(r"^\.Ss Cm metrics\n(.*?)(?=^\.S[sh])", page, re.M | re.S)[1]
    named = {f"lacunafs_{n}" for n in re.findall(r"^\.It Li (\w+)", section, re.M)}
    assert named == set(families)
