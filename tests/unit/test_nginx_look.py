"""nginx's files are read as nginx reads them, and rules that the router would not serve are found.

The results are compared with an nginx that runs as a process of the test's own.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
from fleet.adoption import web
from fleet.nginx import files as nginx
from fleet.nginx import look as nginx_look
from fleet.nginx.syntax import NginxError, read_configuration, whole_configuration

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin")
with_nginx = pytest.mark.skipif(
    NGINX is None or os.geteuid() != 0, reason="nginx is not installed, or we are not root"
)
BENCH = "/home/frappe/frappe-bench"
SITE = "erp.example.com"
TEMPLATES = Path(__file__).parents[2] / "roles/router/templates"
# What bench's own `setup nginx` writes, for one site by its name.
WRITTEN = """\
upstream frappe-bench-frappe { server 127.0.0.1:8000 fail_timeout=0; }
upstream frappe-bench-socketio-server { server 127.0.0.1:9000 fail_timeout=0; }
server {
	listen 80;
	listen [::]:80;
	server_name
		erp.example.com
		;
	root /home/frappe/frappe-bench/sites;
	proxy_buffer_size 128k;
	proxy_buffers 4 256k;
	proxy_busy_buffers_size 256k;
	add_header X-Frame-Options "SAMEORIGIN";
	add_header Strict-Transport-Security "max-age=63072000; includeSubDomains; preload";
	add_header X-Content-Type-Options nosniff;
	add_header X-XSS-Protection "1; mode=block";
	add_header Referrer-Policy "same-origin, strict-origin-when-cross-origin";
	location /assets {
		try_files $uri =404;
		add_header Cache-Control "max-age=31536000";
	}
	location ~ ^/protected/(.*) {
		internal;
		try_files /$host/$1 =404;
	}
	location /socket.io {
		proxy_http_version 1.1;
		proxy_set_header Upgrade $http_upgrade;
		proxy_set_header Connection "upgrade";
		proxy_set_header X-Frappe-Site-Name $host;
		proxy_set_header Origin $scheme://$http_host;
		proxy_set_header Host $host;
		proxy_pass http://frappe-bench-socketio-server;
	}
	location / {
		rewrite ^(.+)/$ $1 permanent;
		rewrite ^(.+)/index\\.html$ $1 permanent;
		rewrite ^(.+)\\.html$ $1 permanent;
		location ~* ^/files/.*.(htm|html|svg|xml) {
			add_header Content-disposition "attachment";
			try_files /$host/public/$uri @webserver;
		}
		try_files /$host/public/$uri @webserver;
	}
	location @webserver {
		proxy_http_version 1.1;
		proxy_set_header X-Forwarded-For $remote_addr;
		proxy_set_header X-Forwarded-Proto $scheme;
		proxy_set_header X-Frappe-Site-Name $host;
		proxy_set_header Host $host;
		proxy_set_header X-Use-X-Accel-Redirect True;
		proxy_read_timeout 120;
		proxy_redirect off;
		proxy_pass  http://frappe-bench-frappe;
	}
	error_page 502 /502.html;
	location /502.html {
		root /usr/local/lib/python3.11/dist-packages/bench/config/templates;
		internal;
	}
	sendfile on;
	keepalive_timeout 15;
	client_max_body_size 50m;
	client_body_buffer_size 16K;
	client_header_buffer_size 1k;
	gzip on;
	gzip_http_version 1.1;
	gzip_types
		text/css
		text/x-component
		;
}
"""
# The same without `dns_multitenant`: each site but one has a port.
PORTS = "server {" + WRITTEN.split("\nserver {")[1].replace("listen 80;", "listen 8001;").replace(
    "\tlisten [::]:80;\n", ""
).replace("erp.example.com", "two.example.com")


class Host:
    """nginx's files in a folder, and an nginx that is asked about them alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "conf.d").mkdir()
        self.put("nginx.conf", self.main())

    def main(self, http: str = "") -> str:
        """A main file as Debian's, with more in its http block."""
        return (
            f"pid {self.folder}/nginx.pid; error_log {self.folder}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off; {http}\n include conf.d/*.conf; }}\n"
        )

    def put(self, name: str, text: str) -> Path:
        """Write a file below nginx's folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """nginx on this folder; it is the real one."""
        assert NGINX
        where = [] if "-c" in command else ["-c", f"{self.folder}/nginx.conf"]
        done = subprocess.run(
            [NGINX, *command[1:], *where], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def look(self, **options: Any) -> dict[str, Any]:
        """The survey of this host's nginx."""
        own = f"{self.folder}/benchfleet.d"
        return nginx_look.look_at_nginx(BENCH, {SITE}, run=self.run, own=own, **options)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose bench has the file that bench writes."""
    monkeypatch.setattr(nginx_look, "PROGRAM", NGINX)
    host = Host(tmp_path)
    host.put("conf.d/frappe-bench.conf", WRITTEN)
    return host


def judged(
    look: dict[str, Any], **more: Any
) -> tuple[list[dict[str, Any]], list[Mapping[str, Any]]]:
    """Problems and notices of preflight for this nginx."""
    host: dict[str, Any] = {
        "name": "erp1",
        "sites": [{"name": SITE}],
        "certificate": "",
        "acme": {"email": ""},
        "networks": {"router_trusted_proxies": []},
        "router": {
            "router_max_upload": "50m",
            "router_read_timeout": 120,
            "router_connect_timeout": 2,
        },
        **more,
    }
    found = {"nginx": look, "bench": {"sites": {SITE: {"names": []}}}}
    return list(web.check_nginx(host, found, {})), list(web.nginx_notices(host, found))


# Words of a directive as they are written in a file; nginx answers each of them itself.
SPELLINGS = [
    "plain",
    '"with ; and } and { inside"',
    "'single; quotes'",
    '"a # no comment"',
    "a#b",
    "a}b",
    r'"say \"hi\""',
    r"'it\'s'",
    r"back\\slash",
    r"tab\tend",
    r'"line\nend"',
    r"dots\.stay",
    "quote\"in'side",
    '"two\n lines"',
    "${server_port}",
    "x${server_port}y",
    "semi\\;colon",
    "brace\\{d",
    '""',
]


@with_nginx
def test_words_are_read_as_nginx_reads_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host = Host(tmp_path)
    lines = "".join(
        f"location = /{n} {{ # }} ; {{\n return 200 {word}; }}" for n, word in enumerate(SPELLINGS)
    )
    text = f"server {{ listen 127.0.0.1:{port}; {lines} }}"
    host.put("conf.d/words.conf", text)
    assert NGINX
    main = str(tmp_path / "nginx.conf")
    with subprocess.Popen([NGINX, "-c", main, "-g", "daemon off;"]) as server:
        try:
            for _ in range(600):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            locations = read_configuration(text)[0].block[1:]  # type: ignore[index]
            for number, location in enumerate(locations):
                assert location.block
                url = f"http://127.0.0.1:{port}/{number}"
                with urllib.request.urlopen(url, timeout=60) as answer:
                    theirs = answer.read().decode()
                ours = location.block[0].words[2].replace("${server_port}", str(port))
                assert ours == theirs, SPELLINGS[number]
        finally:
            server.terminate()


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("if ($host = 'a') { return 404; }", True),
        ("if ( $host ~ \"a{2}\" ) { return 404; }", True),
        ("location ~ a{2} { return 404; }", False),
        ('location ~ "a{2}" { return 404; }', True),
        ("set $x 1", False),
        ("set $x 1;; set $y 2;", False),
        ("location / { return 404; }}", False),
        ("set $x 'no end;", False),
        ("location / { set $x '}'; }", True),
        ("return 404; # no end", True),
        ("{ return 404; }", False),
    ],
)  # fmt: skip
@with_nginx
def test_what_nginx_refuses_is_refused(tmp_path: Path, text: str, good: bool) -> None:
    host = Host(tmp_path)
    whole = f"server {{ listen 127.0.0.1:1; {text}\n }}"
    host.put("conf.d/a.conf", whole)
    assert (host.run(["nginx", "-t"])[0] == 0) is good
    try:
        read_configuration(whole)
        read = True
    except NginxError:
        read = False
    # A brace in a pattern without quotes is a block to both, of which nginx does not know the name.
    assert read is good or "~ a{2}" in text


def test_lua_between_braces_is_none_of_nginx_s() -> None:
    text = 'access_by_lua_block { if x then y = "}" end -- }\n z = [[}]] t = {a = {}} } deny all;'
    assert [str(d) for d in read_configuration(text)] == ["access_by_lua_block {  }", "deny all;"]


@with_nginx
def test_includes_are_followed_as_nginx_follows_them(host: Host, tmp_path: Path) -> None:
    hidden, deeper = "conf.d/.hidden.conf", "conf.d/more/deeper.conf"
    for name in (hidden, deeper):
        host.put(name, "nonsense here;")
    host.put("snippets/up load.conf", "client_max_body_size 77m;\n")
    host.put("sites-available/crm", "server { listen 8090; include snippets/*load.conf; }")
    (tmp_path / "conf.d/link.conf").symlink_to("../sites-available/crm")
    files = nginx.parts(host.run(["nginx", "-T"])[1])
    assert {Path(path).name for path in files} == {
        "nginx.conf",
        "frappe-bench.conf",
        "link.conf",
        "up load.conf",
    }
    (http,) = (d for d in whole_configuration(files) if d.name == "http")
    (crm,) = (d for d in http.block or () if "8090" in str(d))
    assert "client_max_body_size 77m;" in str(crm)
    assert crm.place == f"{tmp_path}/conf.d/link.conf:1"
    assert [d.line for d in crm.walk() if d.name == "client_max_body_size"] == [1]


@with_nginx
def test_what_bench_writes_goes_without_a_word(host: Host) -> None:
    look = host.look()
    assert [file["path"] for file in look["files"]] == [f"{host.folder}/conf.d/frappe-bench.conf"]
    assert (look["trouble"], look["missed"], look["doubled"]) == ("", "", [])
    assert judged(look) == ([], [])


# Rules that an operator writes into the bench's server, the kind of the problem, and its rules.
OWN = [
    (
        "auth_basic 'staff only'; auth_basic_user_file /etc/nginx/staff;",
        "adopt_nginx_access",
        ["auth_basic staff only", "auth_basic_user_file /etc/nginx/staff"],
    ),
    ("allow 10.0.0.0/8; deny all;", "adopt_nginx_access", ["allow 10.0.0.0/8", "deny all"]),
    ("satisfy any;", "adopt_nginx_access", ["satisfy any"]),
    ("limit_rate 100k;", "adopt_nginx_access", ["limit_rate 100k"]),
    (
        "location /wiki { proxy_pass http://127.0.0.1:8090; }",
        "adopt_nginx_rule",
        ["location /wiki"],
    ),
    ("location ~ '^/a{2}' { return 404; }", "adopt_nginx_rule", ["location ~ ^/a{2}"]),
    (
        "location = /robots.txt { return 200 'Disallow: /;'; }",
        "adopt_nginx_rule",
        ["location = /robots.txt"],
    ),
    ("rewrite ^/old$ /new permanent;", "adopt_nginx_rule", ["rewrite ^/old$ /new permanent"]),
    (
        "if ($http_user_agent ~* bot) { return 403; }",
        "adopt_nginx_rule",
        ["if ($http_user_agent ~* bot)"],
    ),
]


@with_nginx
@pytest.mark.parametrize(("line", "kind", "rules"), OWN)
def test_own_rules_are_named_and_their_remedy_keeps_them(
    host: Host, line: str, kind: str, rules: list[str]
) -> None:
    host.put("staff", "")
    host.put("conf.d/frappe-bench.conf", WRITTEN.replace("sendfile on;", f"sendfile on; {line}"))
    (found,), notices = judged(host.look())
    assert found["id"] == kind
    assert found["facts"]["rules"] == rules
    assert f"{host.folder}/conf.d/frappe-bench.conf:" in found["place"]
    assert notices == []
    # The remedy.
    host.put("benchfleet.d/own.conf", f"# Kept.\n{line}\n")
    assert judged(host.look()) == ([], [])
    host.put("conf.d/frappe-bench.conf", WRITTEN)
    (host.folder / "benchfleet.d/own.conf").unlink()
    assert judged(host.look()) == ([], [])


@with_nginx
@pytest.mark.parametrize(
    ("old", "new", "kind", "rule"),
    [
        ("_size 50m", "_size 200m", "router_max_upload", "client_max_body_size 200m -> 50m"),
        ("client_max_body_size 50m;", "", "router_max_upload", "client_max_body_size 1m -> 50m"),
        (
            "_timeout 120;",
            "_timeout 10m;",
            "router_read_timeout",
            "proxy_read_timeout 10m in location @webserver -> 120",
        ),
        ("sendfile on;", "add_header X-Own 'a; b';", "nginx_own_file", "add_header X-Own a; b"),
        (
            "sendfile on;",
            "set_real_ip_from 10.0.0.9;",
            "router_trusted_proxies",
            "set_real_ip_from 10.0.0.9",
        ),
        ("sendfile on;", "access_log /dev/null;", "nginx_own_file", "access_log /dev/null"),
        ("listen 80;", "listen 127.0.0.9:80;", "nginx_fixed", "127.0.0.9:80"),
        ("listen 80;", "listen 80 backlog=9;", "nginx_fixed", "backlog=9 of listen 80"),
        (
            "keepalive_timeout 15;",
            "keepalive_timeout 99;",
            "nginx_own_file",
            "keepalive_timeout 99",
        ),
        (
            "8000 fail",
            "8000; server 10.9.9.9:8000 fail",
            "nginx_fixed",
            "server 10.9.9.9:8000 fail_timeout=0",
        ),
        ("listen 80;", "listen 80 http2;", "nginx_http2", "http2"),
        ("proxy_redirect off;", "proxy_redirect off; expires 1y;", "nginx_fixed", "expires 1y"),
        (
            "sendfile on;",
            "proxy_set_header X-Real-IP $remote_addr;",
            "nginx_fixed",
            "proxy_set_header X-Real-IP $remote_addr",
        ),
        (
            "sendfile on;",
            "real_ip_header CF-Connecting-IP;",
            "nginx_fixed",
            "real_ip_header CF-Connecting-IP",
        ),
        (
            "sendfile on;",
            "add_header X-Frame-Options DENY;",
            "nginx_fixed",
            "add_header X-Frame-Options DENY",
        ),
    ],
)
def test_settings_that_change_are_named_with_what_keeps_them(
    host: Host, old: str, new: str, kind: str, rule: str
) -> None:
    host.put("conf.d/frappe-bench.conf", WRITTEN.replace(old, new))
    problems, (found,) = judged(host.look())
    assert problems == []
    assert kind == (found["facts"]["setting"] or found["id"])
    assert (found["id"] == "nginx_setting") is bool(found["facts"]["setting"])
    assert rule in found["facts"]["rules"]
    assert f"{host.folder}/conf.d/frappe-bench.conf:" in found["facts"]["rules"]


@with_nginx
@pytest.mark.parametrize("line", ["add_header X-Own 'a; b';", "access_log /dev/null;"])
def test_settings_in_a_file_of_one_s_own_are_no_longer_shown(host: Host, line: str) -> None:
    host.put("conf.d/frappe-bench.conf", WRITTEN.replace("sendfile on;", f"sendfile on; {line}"))
    assert len(judged(host.look())[1]) == 1
    host.put("benchfleet.d/own.conf", line)
    assert judged(host.look()) == ([], [])


@with_nginx
def test_settings_that_do_not_change_are_not_shown(host: Host) -> None:
    text = WRITTEN.replace("listen [::]:80;", "listen [::]:80 ipv6only=on;")
    text = text.replace('"upgrade";', '"upgrade"; proxy_read_timeout 7d; proxy_send_timeout 7d;')
    host.put("conf.d/frappe-bench.conf", text)
    assert judged(host.look()) == ([], [])


@with_nginx
def test_a_setting_of_ours_that_keeps_theirs_ends_the_notice(host: Host) -> None:
    text = WRITTEN.replace("_size 50m", "_size 1G").replace("_timeout 120;", "_timeout 3m;")
    text = text.replace(
        "sendfile on;", "set_real_ip_from 10.0.0.9; real_ip_header X-Forwarded-For;"
    )
    host.put("conf.d/frappe-bench.conf", text)
    assert len(judged(host.look())[1]) == 3
    kept = {
        "router": {
            "router_max_upload": "1024m",
            "router_read_timeout": 180,
            "router_connect_timeout": 2,
        },
        "networks": {"router_trusted_proxies": ["10.0.0.9"]},
    }
    assert judged(host.look(), **kept) == ([], [])


@with_nginx
def test_a_size_that_stands_above_the_server_counts(host: Host) -> None:
    host.put("conf.d/frappe-bench.conf", WRITTEN.replace("client_max_body_size 50m;", ""))
    host.put("nginx.conf", host.main("client_max_body_size 300m;"))
    (found,) = judged(host.look())[1]
    assert "client_max_body_size 300m -> 50m" in found["facts"]["rules"]
    host.put("nginx.conf", host.main())
    host.put("conf.d/frappe-bench.conf", WRITTEN + "proxy_cache_min_uses 3;")
    assert "proxy_cache_min_uses 3" in judged(host.look())[1][0]["facts"]["rules"]


@with_nginx
def test_sites_by_port_are_refused_until_they_have_a_file_of_their_own(host: Host) -> None:
    host.put("conf.d/frappe-bench.conf", WRITTEN + PORTS)
    look = host.look()
    (found,) = judged(look, sites=[{"name": SITE, "names": ["two.example.com"]}])[0]
    assert found["id"] == "adopt_nginx_port"
    assert found["facts"]["rules"] == ["port 8001 (two.example.com on 8001)"]
    # The remedy: a server of its own, in a file of its own.
    host.put("conf.d/frappe-bench.conf", WRITTEN)
    # Unchanged, they use upstreams of a file that goes.
    host.put("conf.d/ports.conf", PORTS)
    (found,), _ = judged(host.look())
    assert found["id"] == "adopt_nginx_files_needed"
    text = PORTS.replace("http://frappe-bench-frappe", "http://127.0.0.1:8000")
    text = text.replace("http://frappe-bench-socketio-server", "http://127.0.0.1:9000")
    host.put("conf.d/ports.conf", text)
    look = host.look()
    assert [Path(file["path"]).name for file in look["files"]] == ["frappe-bench.conf"]
    assert judged(look) == ([], [])


@with_nginx
@pytest.mark.parametrize(
    "line",
    [
        "listen 8080;",
        "listen [::1]:8080;",
        "listen unix:/run/x;",
        "listen 8001-8003;",
        "listen localhost:8081;",
    ],
)
def test_further_addresses_of_the_bench_do_not_vanish(host: Host, line: str) -> None:
    host.put("conf.d/frappe-bench.conf", WRITTEN.replace("listen 80;", f"listen 80; {line}"))
    assert [found["id"] for found in judged(host.look())[0]] == ["adopt_nginx_port"]
    host.put("conf.d/frappe-bench.conf", WRITTEN)
    assert judged(host.look()) == ([], [])


@with_nginx
def test_the_proxy_protocol_is_refused(host: Host) -> None:
    text = WRITTEN.replace("listen 80;", "listen 80 proxy_protocol;")
    host.put("conf.d/frappe-bench.conf", text.replace("listen [::]:80;", ""))
    assert judged(host.look())[0][0]["id"] == "adopt_nginx_proxy_protocol"


@with_nginx
def test_what_other_files_use_of_the_bench_s_is_found_by_nginx(host: Host) -> None:
    other = "server { listen 8090; location / { proxy_pass http://frappe-bench-frappe; } }\n"
    host.put("conf.d/other.conf", other)
    (found,), _ = judged(host.look())
    assert found["id"] == "adopt_nginx_files_needed"
    assert "frappe-bench-frappe" in found["facts"]["trouble"]
    assert f"{host.folder}/conf.d/other.conf:1" in found["facts"]["trouble"]
    # The remedy: what is used has a file of its own.
    first, rest = WRITTEN.split("\n", 1)
    host.put("conf.d/frappe-bench.conf", rest)
    host.put("conf.d/up.conf", first)
    assert judged(host.look()) == ([], [])


@with_nginx
@pytest.mark.parametrize(
    ("there", "own"),
    [
        ("limit_conn_zone $host zone=per_host_x:1m;", "limit_conn per_host_x 8;"),
        ("map $host $own_site { default x; }", "add_header X-Site $own_site;"),
        ("log_format own $host;", "access_log /dev/null own;"),
        (
            "upstream own { server 127.0.0.1:8090; }",
            "location /own { proxy_pass http://own; }",
        ),
    ],
)
def test_what_is_kept_uses_nothing_that_goes(host: Host, there: str, own: str) -> None:
    text = there + "\n" + WRITTEN.replace("sendfile on;", f"sendfile on; {own}")
    host.put("conf.d/frappe-bench.conf", text)
    host.put("benchfleet.d/own.conf", own)
    (found,), _ = judged(host.look())
    assert found["id"] == "adopt_nginx_files_needed"
    # nginx names the line that it cannot read, or the zone or variable that it cannot find.
    trouble = found["facts"]["trouble"]
    assert any(
        part in trouble for part in ("benchfleet.d/own.conf:1", '"per_host_x"', '"own_site"')
    )
    assert trouble.startswith("[emerg] ")
    # The remedy: what is used has a file of its own.
    host.put("conf.d/frappe-bench.conf", text.partition("\n")[2])
    host.put("conf.d/a-own.conf", there)
    assert judged(host.look()) == ([], [])


@with_nginx
def test_a_file_that_is_included_by_its_name_is_missed(host: Host) -> None:
    host.put("nginx.conf", host.main("include bench/erp.conf;"))
    host.put("bench/erp.conf", (host.folder / "conf.d/frappe-bench.conf").read_text())
    (host.folder / "conf.d/frappe-bench.conf").unlink()
    (found,), _ = judged(host.look())
    assert found["id"] == "adopt_nginx_files_needed"
    assert "bench/erp.conf" in found["facts"]["trouble"]
    host.put("nginx.conf", host.main("include bench/*.conf;"))
    assert judged(host.look()) == ([], [])


@with_nginx
def test_names_are_kept_in_the_way_that_fits_them(host: Host) -> None:
    text = WRITTEN.replace("erp.example.com\n", "erp.example.com www.example.com *.example.org\n")
    text += "server { listen 80; server_name old.example.com; return 301 http://new.example.com; }"
    host.put("conf.d/frappe-bench.conf", text)
    aliases, patterns, apart = judged(host.look())[0]
    assert [aliases["id"], aliases["facts"]["names"]] == [
        "adopt_unserved_names",
        ["www.example.com"],
    ]
    assert [patterns["id"], patterns["facts"]["names"]] == [
        "adopt_unserved_patterns",
        ["*.example.org"],
    ]
    assert [apart["id"], apart["facts"]["names"]] == ["adopt_unserved_servers", ["old.example.com"]]
    # Each remedy, followed.
    text, _, redirect = text.replace(" *.example.org", "").rpartition("server {")
    host.put("conf.d/frappe-bench.conf", text)
    host.put("conf.d/redirect.conf", f"server {{{redirect}")
    sites = [{"name": SITE, "names": ["www.example.com"]}]
    assert judged(host.look(), sites=sites) == ([], [])
    assert len(host.look()["files"]) == 1


@with_nginx
def test_a_server_of_something_else_in_the_bench_s_file_does_not_vanish(host: Host) -> None:
    wiki = 'server { listen 8090; return 200 "wiki; {}"; }'
    host.put("conf.d/frappe-bench.conf", WRITTEN + wiki)
    (found,) = judged(host.look())[0]
    assert found["id"] == "adopt_nginx_server"
    assert "8090" in found["facts"]["rules"][0]
    host.put("conf.d/frappe-bench.conf", WRITTEN)
    host.put("conf.d/wiki.conf", wiki)
    assert judged(host.look()) == ([], [])


@with_nginx
@pytest.mark.parametrize(
    "body",
    [
        "return 301 https://$host$request_uri;",
        "if ($host = erp.example.com) { return 301 https://$host$request_uri; } return 404;",
    ],
)
def test_a_redirect_to_https_is_the_router_s_too(host: Host, body: str) -> None:
    redirect = f"server {{ listen 80; server_name erp.example.com; {body} }}"
    host.put("conf.d/frappe-bench.conf", WRITTEN + redirect)
    assert judged(host.look()) == ([], [])
    redirect = redirect.replace("https://$host", "http://shop.example.com")
    host.put("conf.d/frappe-bench.conf", WRITTEN + redirect)
    assert len(judged(host.look())[0]) == 1


@with_nginx
def test_what_a_ca_asks_is_the_router_s_with_acme(host: Host) -> None:
    own = "location ^~ /.well-known/acme-challenge/ { root /var/www/html; }"
    host.put("conf.d/frappe-bench.conf", WRITTEN.replace("sendfile on;", f"sendfile on; {own}"))
    acme = {"acme": {"email": "admin@example.com"}}
    assert len(judged(host.look())[0]) == 1
    assert judged(host.look(), **acme) == ([], [])
    host.put("benchfleet.d/own.conf", own)
    assert judged(host.look()) == ([], [])
    (found,), _ = judged(host.look(), **acme)
    assert found["id"] == "adopt_nginx_doubled"


@with_nginx
def test_what_the_router_has_itself_is_not_doubled(host: Host) -> None:
    host.put("benchfleet.d/own.conf", "location = / { return 301 /app; } sendfile off;")
    (found,), _ = judged(host.look())
    assert found["id"] == "adopt_nginx_doubled"
    place = f"({host.folder}/benchfleet.d/own.conf:1)"
    assert found["facts"]["rules"] == [f"location = / {place}", f"sendfile off {place}"]


def in_the_router(host: Host, own: str) -> str:
    """What nginx says against a rule of one's own in a site's server as the router writes it."""
    variables = {
        "inventory_hostname": "erp1",
        "fleet_bench_dir": BENCH,
        "fleet_router_ports": {"http": 80, "https": 443},
        "router_max_upload": "50m",
        "router_connect_timeout": 2,
        "router_read_timeout": 120,
        "router_report_pool_calls": 8,
        "router_trusted_proxies": ["10.9.9.9"],
        "__router_split": True,
        "__router_guard": True,
    }
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.ChainableUndefined)
    environment.filters.update(refusal=lambda *_: "{}", page=lambda _: "")
    text = "\n".join(
        environment.from_string((TEMPLATES / name).read_text(encoding="utf-8")).render(variables)
        for name in ("public.conf.j2", "forward.conf.j2", "server.conf.j2")
    )
    # The module for Lua may not be here; what is included besides is the fleet's.
    text = re.sub(
        r"^.*(_by_lua_file|lua_socket|include /etc/nginx/benchfleet/).*\n", "", text, flags=re.M
    )
    text = text.replace(nginx_look.OWN, f"{host.folder}/benchfleet.d")
    http = (
        "limit_conn_zone $host zone=benchfleet_pool:64k; map $host $benchfleet_bench {default x;}"
        "map $host $benchfleet_database {default x;}"
        "map $host $benchfleet_connection {default x;}"
        "map $host $benchfleet_scheme {default x;}"
        "upstream benchfleet_primary { server 127.0.0.1:8000; }"
        "upstream benchfleet_pool { server 127.0.0.1:8090; }"
        "upstream benchfleet_socketio { server 127.0.0.1:9000; }"
    )
    host.put("nginx.conf", host.main(http))
    site = 'server_name erp.example.com; set $benchfleet_site "erp.example.com";'
    host.put("conf.d/frappe-bench.conf", f"server {{ {site}\n{text}\n}}")
    host.put("benchfleet.d/own.conf", own)
    code, _, errors = host.run(["nginx", "-t"])
    return "" if code == 0 else nginx.complaint(errors)


@with_nginx
@pytest.mark.parametrize("own", ["", *(line for line, _, _ in OWN)])
def test_what_is_kept_fits_into_the_router_s_server(host: Host, own: str) -> None:
    assert in_the_router(host, own) == ""


@with_nginx
@pytest.mark.parametrize(
    "own",
    [
        *(
            f"location {name} {{ return 404; }}"
            for name in sorted(nginx_look.ROUTER_LOCATIONS)
            if "acme" not in name
        ),
        "location ^~ /api/ { return 404; }",
        "client_max_body_size 1m;",
        "gzip off;",
        "root /srv;",
        "sendfile off;",
        "server_tokens on;",
        "proxy_connect_timeout 9s;",
        "real_ip_header X-Real-IP;",
    ],
)
def test_what_does_not_fit_is_refused_before(host: Host, own: str) -> None:
    assert "duplicate" in in_the_router(host, own)
    host.put("nginx.conf", host.main())
    host.put("conf.d/frappe-bench.conf", WRITTEN)
    (found,), _ = judged(host.look())
    assert found["id"] == "adopt_nginx_doubled"
    assert f"{host.folder}/benchfleet.d/own.conf:1" in found["facts"]["rules"][0]


def test_what_the_router_has_itself_is_known() -> None:
    text = (TEMPLATES / "server.conf.j2").read_text(encoding="utf-8")
    text_alone = re.sub(r"\{%.*?%\}", "", text)
    for name in re.findall(r"^\tlocation ([^@~{]\S*(?: \S+)?) \{", text_alone, re.MULTILINE):
        assert name.removeprefix("^~ ") in nginx_look.ROUTER_LOCATIONS
    once = re.findall(r"^\t(\w+) ", text_alone, re.MULTILINE)
    many = {"add_header", "include", "listen", "location", "set", "set_real_ip_from"}
    for name in {*once} - many:
        assert nginx_look.ROUTER_SETTINGS.fullmatch(name), name
    assert f"include {nginx_look.OWN}/*.conf;" in text


SHOWN = """\
# configuration file /etc/nginx/nginx.conf:
http { include /etc/nginx/conf.d/*.conf; }
# configuration file /etc/nginx/conf.d/erp.conf:
server {
  listen 443 ssl;
  server_name ERP.example.com
      www.example.com;   # server_name no.example.com;
  ssl_certificate /etc/le/full.pem;
  ssl_certificate_key "/etc/le/key.pem";
}
# configuration file /etc/nginx/conf.d/wiki.conf:
server { listen 8090; server_name wiki.example.com; }
# configuration file /etc/nginx/conf.d/benchfleet.conf:
# Made by Benchfleet; changes here are undone by its next run.
server { server_name erp.example.com; }
"""


def test_files_that_serve_the_bench_are_found() -> None:
    (file,) = nginx_look.serving_files(nginx.parts(SHOWN), BENCH, {SITE})
    assert file["path"] == "/etc/nginx/conf.d/erp.conf"
    assert file["names"] == ["erp.example.com", "www.example.com"]
    assert file["certificates"] == [("/etc/le/full.pem", "/etc/le/key.pem")]


@with_nginx
def test_servers_in_the_main_file_get_a_file_of_their_own(host: Host) -> None:
    (host.folder / "conf.d/frappe-bench.conf").unlink()
    host.put("nginx.conf", host.main(WRITTEN))
    look = host.look()
    assert look["missed"] == ""
    (file,) = look["files"]
    assert file["path"] == f"{host.folder}/nginx.conf"
    # As on a host, where that is its main file.
    file["path"] = "/etc/nginx/nginx.conf"
    (found,), _ = judged(look)
    assert found["id"] == "adopt_nginx_main_file"
    host.put("nginx.conf", host.main())
    host.put("conf.d/erp.conf", WRITTEN)
    assert judged(host.look()) == ([], [])


def test_a_broken_configuration_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx_look, "PROGRAM", "/bin/sh")
    found = nginx_look.look_at_nginx(BENCH, {SITE}, run=lambda _: (1, "", "[emerg] no\n"))
    (problem,) = judged(found)[0]
    assert problem["id"] == "adopt_nginx_broken"
    assert problem["facts"]["trouble"] == "[emerg] no"
    found = nginx_look.look_at_nginx(BENCH, {SITE}, run=lambda _: (0, "", ""))
    (problem,) = judged(found)[0]
    assert problem["id"] == "adopt_nginx_broken"
    assert "`nginx -T`" in problem["facts"]["trouble"]
