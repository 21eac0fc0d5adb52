# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Index pages, and what the tests of them share."""
import pytest

QUICK = "retries=0,connect_timeout=1s,stall_timeout=1s,wait_timeout=5s"


def refused(call):
    """The errno of a call that fails."""
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


@pytest.fixture
def many(scratch):
    top = scratch / "many"
    (top / "d").mkdir(parents=True)
    for n in range(300):
        (top / "d" / f"file{n:03}").write_bytes(b"12345")
    return top


def page_without_slashes(rows):
    return "text/html", ("<html><title>Index of /</title><table><tr><th>Name</th><th>Size</th></tr>" + "".join(
        f'<tr><td><a href="{name}">{name}</a></td><td>17-Nov-2025 12:34</td><td>{size}</td></tr>'
        for name, size in rows) + "</table></html>").encode()


def rows(count):
    return "".join(f'<a href="{n:06x}">x</a> 01-Jan-2026 00:00 5\n' for n in range(count))


def page_of(body):
    return "text/html", f"<html><title>Index of /</title><pre>{body}</pre></html>".encode()
