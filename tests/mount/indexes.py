# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Index pages in the forms of several servers."""
import email.utils
import html
import json
import stat
import time
import urllib.parse

STYLES = ("json", "html", "python")


def index_json(entries):
    """entries: (name, stat result), as nginx's autoindex_format json has them."""
    rows = []
    for name, st in entries:
        row = {"name": name, "type": "directory" if stat.S_ISDIR(st.st_mode) else "file",
               "mtime": email.utils.formatdate(st.st_mtime, usegmt=True)}
        if stat.S_ISREG(st.st_mode):
            row["size"] = st.st_size
        rows.append(row)
    return "application/json", json.dumps(rows).encode()


def index_html(entries):
    """nginx's page, exact sizes."""
    out = ["<html>\r\n<head><title>Index of /</title></head>\r\n<body>\r\n<h1>Index of /</h1>"
           '<hr><pre><a href="../">../</a>\r\n']
    for name, st in entries:
        slash = "/" if stat.S_ISDIR(st.st_mode) else ""
        when = time.strftime("%d-%b-%Y %H:%M", time.gmtime(st.st_mtime))
        shown = name + slash if len(name) < 50 else name[:47] + "..>"
        size = "-" if slash else str(st.st_size)
        quoted = urllib.parse.quote(name.encode(errors="surrogateescape"))
        out.append(f'<a href="{quoted}{slash}">{html.escape(shown)}</a>'
                   f"{' ' * max(1, 51 - len(shown))}{when} {size:>19}\r\n")
    out.append("</pre><hr></body>\r\n</html>\r\n")
    return "text/html", "".join(out).encode(errors="surrogateescape")


def index_python(entries):
    """http.server's page: names only."""
    out = ["<!DOCTYPE HTML>\n<html>\n<head>\n<title>Directory listing for /</title>\n</head>\n"
           "<body>\n<h1>Directory listing for /</h1>\n<hr>\n<ul>\n"]
    for name, st in entries:
        slash = "/" if stat.S_ISDIR(st.st_mode) else ""
        quoted = urllib.parse.quote(name.encode(errors="surrogateescape"))
        out.append(f'<li><a href="{quoted}{slash}">{html.escape(name)}{slash}</a></li>\n')
    out.append("</ul>\n<hr>\n</body>\n</html>\n")
    return "text/html; charset=utf-8", "".join(out).encode(errors="surrogateescape")
