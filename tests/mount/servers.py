# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Real web servers, each with a configuration of its own on an ephemeral port of loopback.

Readiness: each goes to the background itself once it listens (http.server: prints a line)
Stopping:  by the pid it wrote; the test process adopts orphans (processes.py)
"""
import os
import pathlib
import re
import shutil
import subprocess

import processes
from origin import free_port


def certificate(directory, names="IP:127.0.0.1,DNS:localhost"):
    """A CA and a certificate for `names`: (ca, chain, key)."""
    d = pathlib.Path(directory)
    d.mkdir(exist_ok=True)
    ca, key, request, chain, extra = (d / n for n in ("ca.pem", "key.pem", "r.csr", "c.pem", "e"))
    run = lambda *argv: subprocess.run(argv, check=True, capture_output=True)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", d / "ca.key", "-out", ca, "-days", "30", "-subj", "/CN=lacunafs test CA")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    extra.write_text(f"subjectAltName={names}\n")
    run("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", d / "ca.key",
        "-CAcreateserial", "-days", "30", "-extfile", extra, "-out", chain)
    return ca, chain, key


class Web:
    """`root` is what it serves; `scratch` an empty directory of its own."""
    scheme = "http"

    def __init__(self, root, scratch, **options):
        self.root, self.scratch, self.options = root, pathlib.Path(scratch), options
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.pid, self.port = None, free_port()
        self.start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    @property
    def pidfile(self):
        return self.scratch / "pid"

    def start(self):
        self.configure()
        argv = [str(a) for a in self.argv()]
        env = dict(os.environ, HOME=str(self.scratch), XDG_CONFIG_HOME=str(self.scratch),
                   XDG_DATA_HOME=str(self.scratch), PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        with open(self.scratch / "output", "ab") as out:
            status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    env=env, timeout=30).returncode
        assert status == 0, f"{argv}: {(self.scratch / 'output').read_text()}"
        processes.wait_until(lambda: self.pidfile.exists() and self.pidfile.read_text().strip())
        self.pid = int(self.pidfile.read_text())

    def stop(self):
        if self.pid:
            processes.end(self.pid)
            self.pid = None
            self.pidfile.unlink(missing_ok=True)

    def configure(self):
        pass


class Nginx(Web):
    """options: format html|json, exact on|off, tls=(chain, key)."""

    def configure(self):
        tls = self.options.get("tls")
        self.scheme = "https" if tls else "http"
        secure = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
        self.write(f"""
  log_format one '$request_method $status $bytes_sent "$http_range" $server_protocol $request_uri';
  access_log {self.scratch}/access.log one;
  default_type application/octet-stream; sendfile on; keepalive_requests 100000;
  server {{
    listen 127.0.0.1:{self.port} {'ssl http2' if tls else ''};
    {secure}
    root {self.root};
    index .no-such-index;
    autoindex on; autoindex_format {self.options.get('format', 'html')};
    autoindex_exact_size {self.options.get('exact', 'on')};
    {self.options.get('extra', '')}
  }}
""")

    def write(self, http):
        """The configuration, around what stands in its block `http`."""
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "".join(f"{kind}_temp_path {self.scratch}/{kind};" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.scratch / "conf").write_text(f"""
{user} worker_processes 1; pid {self.pidfile}; error_log {self.scratch}/error.log;
events {{ worker_connections 1024; }}
http {{
  {temporary}
{http}}}
""")

    def argv(self):
        return ["nginx", "-c", self.scratch / "conf", "-p", self.scratch,
                "-e", self.scratch / "error.log"]

    def log(self):
        """(method, status, bytes, range, protocol, path) of every request so far."""
        found = []
        for line in (self.scratch / "access.log").read_text(errors="surrogateescape").splitlines():
            m = re.fullmatch(r'(\S+) (\d+) (\d+) "(.*?)" (\S+) (.*)', line)
            found.append((m[1], int(m[2]), int(m[3]), m[4], m[5], m[6]))
        return found


class Cache(Nginx):
    """nginx as a cache of `options["origin"]`, a URL: everything for ever, but the head of a published
    tree, which it asks for each time. README's configuration."""

    def configure(self):
        self.scheme = "http"
        self.write(f"""
  access_log off;
  proxy_cache_path {self.scratch}/cache keys_zone=lacuna:1m max_size=1g inactive=30d;
  server {{
    listen 127.0.0.1:{self.port};
    location / {{
      proxy_pass {self.options['origin']};
      proxy_cache lacuna; proxy_cache_valid 200 365d;
      proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h;
      proxy_ignore_client_abort on;
    }}
    location = /.lacuna/head {{ proxy_pass {self.options['origin']}; }}
  }}
""")


class Apache(Web):
    """options: index, the IndexOptions line."""

    def configure(self):
        modules = "/usr/lib/apache2/modules"
        load = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n"
                       for name in ("mpm_event", "authz_core", "autoindex", "dir", "mime"))
        user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
        (self.scratch / "mime.types").write_text("text/html html\n")
        (self.scratch / "conf").write_text(f"""
ServerRoot {self.scratch}
ServerName localhost
Listen 127.0.0.1:{self.port}
PidFile {self.pidfile}
ErrorLog {self.scratch}/error.log
Mutex posixsem
{load}{user}TypesConfig {self.scratch}/mime.types
DocumentRoot {self.root}
DirectoryIndex disabled
<Directory {self.root}>
  Options Indexes FollowSymLinks
  IndexOptions {self.options.get('index', 'FancyIndexing NameWidth=*')}
  IndexIgnore .??* *~
  Require all granted
</Directory>
""")

    def argv(self):
        return ["apache2", "-f", self.scratch / "conf", "-d", self.scratch, "-k", "start"]


class Lighttpd(Web):
    def configure(self):
        (self.scratch / "conf").write_text(f"""
server.modules = ( "mod_dirlisting" )
server.document-root = "{self.root}"
server.bind = "127.0.0.1"
server.port = {self.port}
server.pid-file = "{self.pidfile}"
server.errorlog = "{self.scratch}/error.log"
server.stream-response-body = 1
dir-listing.activate = "enable"
dir-listing.encoding = "utf-8"
""")

    def argv(self):
        return ["lighttpd", "-f", self.scratch / "conf"]


class Caddy(Web):
    """HTML, and JSON for a client that accepts it. options: extra, lines of the site."""

    def configure(self):
        (self.scratch / "Caddyfile").write_text(f"""{{
	admin off
	auto_https off
}}
http://127.0.0.1:{self.port} {{
	root * {self.root}
	{self.options.get('extra', '')}
	file_server browse
}}
""")

    def argv(self):
        return ["caddy", "start", "--config", self.scratch / "Caddyfile", "--adapter", "caddyfile",
                "--pidfile", self.pidfile]


class PythonHttp(Web):
    """http.server: no sizes in the index, no ranges."""

    def start(self):
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-u", "-m", "http.server", "--bind", "127.0.0.1",
             "--directory", str(self.root), str(self.port)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert b"Serving HTTP" in self.process.stdout.readline()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def missing(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None
