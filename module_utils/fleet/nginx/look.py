"""What nginx of a bench made by hand serves, and which of its rules the router would not serve.

Reads only; nginx itself lists the files that it reads (``nginx -T``) and tests whether it would
start without them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .files import PROGRAM, Run, complaint, parts, run_here, stands_without
from .syntax import (
    Directive,
    NginxError,
    listen_address,
    read_configuration,
    whole_configuration,
)

# A rule that goes out of service: kind, text, place, and the directive that a kept copy has.
Stop = tuple[str, str, str, str]

# Operators' own rules for every site's server: the fleet never changes them.
OWN = "/etc/nginx/benchfleet.d"
WEB_PORTS = ("80", "443")
# Written by `bench setup nginx`; the router has the same, or better.
USUAL = frozenset(
    {
        "sendfile on;",
        "keepalive_timeout 15;",
        "client_body_buffer_size 16K;",
        "client_header_buffer_size 1k;",
        "proxy_buffer_size 128k;",
        "proxy_buffers 4 256k;",
        "proxy_busy_buffers_size 256k;",
        "proxy_http_version 1.1;",
        "proxy_redirect off;",
        "ssl_session_timeout 5m;",
        "ssl_session_cache shared:SSL:10m;",
        "ssl_session_tickets off;",
        "ssl_stapling on;",
        "ssl_stapling_verify on;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_ciphers EECDH+AESGCM:EDH+AESGCM;",
        "ssl_ecdh_curve secp384r1;",
        "ssl_prefer_server_ciphers on;",
        "ssl on;",
        "add_header X-Frame-Options SAMEORIGIN;",
        "add_header Strict-Transport-Security max-age=63072000; includeSubDomains; preload;",
        "add_header X-Content-Type-Options nosniff;",
        "add_header X-XSS-Protection 1; mode=block;",
        "add_header Referrer-Policy same-origin, strict-origin-when-cross-origin;",
        "add_header Cache-Control max-age=31536000;",
        "add_header Content-disposition attachment;",
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Connection upgrade;",
        "proxy_set_header Origin $scheme://$http_host;",
        "proxy_set_header Host $host;",
        "proxy_set_header Host $http_host;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header X-Use-X-Accel-Redirect True;",
        "error_page 502 /502.html;",
        "real_ip_header X-Forwarded-For;",
        "real_ip_recursive on;",
        "internal;",
    }
)
# Known by name alone, as their values differ from bench to bench; and gzip, which the router has.
USUAL_NAMES = re.compile(
    r"server_name|listen|root|try_files|gzip(_.*)?|ssl_certificate(_key)?|proxy_pass|upstream|map|"
    r"log_format|limit_(conn|req)_zone|include"
)
USUAL_LOCATIONS = frozenset(
    {
        "/",
        "@webserver",
        "/assets",
        "^~ /assets",
        "/assets/",
        "/socket.io",
        "^~ /socket.io",
        "/502.html",
        "~ ^/protected/(.*)",
        "~* ^/files/.*.(htm|html|svg|xml)",
        "/files",
    }
)
USUAL_REWRITES = re.compile(r"rewrite \^\(\.\+\)(/|/index\\\.html|\\\.html)\$ \$1 permanent;")
TO_HTTPS = re.compile(r"return 30[178] https://\$(host|http_host|server_name)\$request_uri;")
# An upstream's server on this host.
HERE = re.compile(r"127\.|localhost\b|\[::1\]|unix:")
# Rules on who may come in; the router would let everybody in.
ACCESS = re.compile(r"auth_|allow$|deny$|satisfy|ssl_(verify_client|client_certificate)|limit_")
# Rules that answer instead of the bench, or send users elsewhere.
RULES = ("location", "if", "return", "rewrite")
# Settings that the router has under names of its own; and those that it writes into its locations
# or servers itself, where a file of the operator's has no effect.
NAMED = re.compile(r"client_max_body_size|proxy_(read|send|connect)_timeout|set_real_ip_from")
FIXED = re.compile(
    r"proxy_(set_header|hide_header|buffer_size|buffers|busy_buffers_size|http_version|redirect)|"
    r"error_page"
)
FIXED_HEADERS = frozenset(
    {"x-frame-options", "x-content-type-options", "referrer-policy", "strict-transport-security"}
)
# In the router's own file for every site: nginx refuses a second one beside it.
ROUTER_LOCATIONS = frozenset(
    {"/", "= /", "/api/", "/assets/", "/socket.io", "/.well-known/acme-challenge/"}
)
ROUTER_SETTINGS = re.compile(
    r"client_(max_body_size|body_buffer_size)|ssl_(protocols|session_\w+)|server_tokens|root|sendfile|"
    r"gzip(_\w+)?|proxy_(connect_timeout|next_upstream)|lua_socket_log_errors|real_ip_\w+|"
    r"uninitialized_variable_warn|(log|rewrite)_by_lua_file"
)


def look_at_nginx(
    bench: str,
    sites: Collection[str],
    ports: Iterable[int] = (),
    run: Run = run_here,
    own: str = OWN,
) -> dict[str, Any]:
    """Files by which nginx serves the bench or one of its sites: {trouble, files, missed, doubled}.

    A file is {path, names, certificates, stops}: the host names in it, the pairs of certificate and
    key, and the rules that the router would not serve, {kind, what, place} each (see stops).
    trouble: why nginx refuses its configuration, or "". missed: why nginx would not start without
    these files, or "". doubled: rules of an operator's own files that the router has, too.
    """
    found: dict[str, Any] = {"trouble": "", "files": [], "missed": "", "doubled": []}
    if not os.path.exists(PROGRAM):
        return found
    code, out, err = run([PROGRAM, "-T"])
    if code != 0:
        return {**found, "trouble": complaint(err)[-500:] or "no answer"}
    files = parts(out)
    if not files:
        return {**found, "trouble": "`nginx -T` shows no file"}
    try:
        kept = [
            directive
            for path in sorted(Path(own).glob("*.conf"))
            for directive in read_configuration(path.read_text(errors="replace"), str(path))
        ]
        found["doubled"] = doubled(kept)
        found["files"] = serving_files(files, bench, sites, ports, set(map(str, kept)))
        gone = [file["path"] for file in found["files"]]
        # A main file that goes is a problem of its own, known by its path.
        if gone and next(iter(files)) not in gone:
            found["missed"] = stands_without(run, files, gone, f"{own}/*.conf")
    except (NginxError, OSError) as error:
        found["trouble"] = f"its files cannot be read: {error}"
    return found


def doubled(kept: Iterable[Directive]) -> list[str]:
    """The directives, with their places, that nginx would refuse beside the router's own."""
    return [
        f"{' '.join(d.words)} ({d.place})"
        for d in kept
        if ROUTER_SETTINGS.fullmatch(d.name)
        # For nginx, a location with ^~ is the same location.
        or (d.name == "location" and " ".join(d.words[1:]).removeprefix("^~ ") in ROUTER_LOCATIONS)
    ]


def serving_files(
    files: Mapping[str, str],
    bench: str,
    sites: Collection[str],
    ports: Iterable[int] = (),
    kept: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Files of nginx, but for the fleet's, that serve the bench on a port of the router.

    Such a file has a server that listens on a port of the web, with a path of the bench in it or
    the name of a site. Other files stay, whatever they serve. The result is as in look_at_nginx.
    """
    web, main = {*WEB_PORTS, *map(str, ports)}, next(iter(files))
    whole = whole_configuration(files)
    http = [inner for outer in whole if outer.name == "http" for inner in outer.block or ()]
    servers = [d for d in http if d.name == "server" and "Made by Benchfleet" not in files[d.path]]
    # The bench's own servers, also those that listen only on other ports.
    own = [server for server in servers if serves(server, bench, {*sites})]
    found = []
    for path in dict.fromkeys(server.path for server in own if listens(server) & web):
        mine = [server for server in own if server.path == path]
        others = [server for server in servers if server.path == path and server not in mine]
        stopping = [s for server in mine for s in stops(server, http, web)]
        stopping += file_stops(path, others, http)
        found.append(
            {
                "path": path,
                "names": sorted({name for server in mine + others for name in names_of(server)}),
                # Of servers that are not the bench's: they can move to a file of their own.
                "apart": sorted({name for server in others for name in names_of(server)}),
                "certificates": sorted({pair for s in mine for pair in certificates(s, main)}),
                "stops": [
                    {"kind": kind, "what": what, "place": place}
                    for kind, what, place, text in dict.fromkeys(stopping)
                    if text not in kept
                ],
            }
        )
    return found


def file_stops(path: str, others: Iterable[Directive], http: Iterable[Directive]) -> Iterator[Stop]:
    """Rules that go out of service with a file, beside the bench's servers; others: its servers."""
    for server in others:
        if not names_of(server):
            yield stop("server", f"a server for {description(server)}", server)
    beside = [d for d in http if d.path == path and d.name != "server"]
    for directive in beside:
        if not USUAL_NAMES.fullmatch(directive.name):
            yield stop("setting", str(directive), directive)
    for directive in (d for d in beside if d.name == "upstream"):
        for inner in directive.block or ():
            if inner.name == "server" and not HERE.match(inner.words[1]):
                yield stop("fixed", f"{inner} of {' '.join(directive.words)}", inner)


def values(server: Directive, name: str) -> list[str]:
    """All values of a server's directives of one name."""
    return [word for d in server.block or () if d.name == name for word in d.words[1:]]


def certificates(server: Directive, main: str) -> Iterator[tuple[str, str]]:
    """The pairs of certificate and key of a server; relative paths are those beside main."""
    named = (values(server, name) for name in ("ssl_certificate", "ssl_certificate_key"))
    paths = ([os.path.join(os.path.dirname(main), w) for w in ws if "$" not in w] for ws in named)
    yield from zip(*paths, strict=False)


def names_of(server: Directive) -> list[str]:
    """Host names of a server, in lower case."""
    return [name.lower() for name in values(server, "server_name") if name]


def listens(server: Directive) -> set[str]:
    """Ports and sockets of a server; without a listen line, port 80."""
    lines = [d.words[1:] for d in server.block or () if d.name == "listen"]
    found = set()
    for host, port in map(listen_address, lines):
        first, _, last = port.partition("-")
        numbers = range(int(first), int(last) + 1) if last else ()
        found |= set(map(str, numbers)) or {port or host}
    return found or {"80"}


def description(server: Directive) -> str:
    """A short description of a server: its names and ports."""
    ports = ", ".join(sorted(listens(server)))
    return f"{' '.join(names_of(server)) or 'any name'} on {ports}"


def serves(server: Directive, bench: str, sites: set[str]) -> bool:
    """Whether a server is one of the bench's: by a path in it, or by the name of a site."""
    if sites & {*names_of(server)}:
        return True
    return any(
        f"{word}/".startswith(f"{bench}/")
        for directive in server.walk()
        for word in directive.words[1:]
    )


def stop(kind: str, what: str, directive: Directive) -> Stop:
    """A rule that goes out of service, from its directive."""
    return kind, what, directive.place, str(directive)


def is_redirect_to_https(server: Directive) -> bool:
    """Whether a server only redirects to https, as the router does."""
    rest = [d for d in server.block or () if d.name not in ("listen", "server_name", "root")]
    plain = [
        d
        for d in rest
        if str(d) == "return 404;"
        or TO_HTTPS.fullmatch(str(d))
        or (
            d.name == "if"
            and d.block
            and re.match(r"\(\$host = \S+?\)?$", " ".join(d.words[1:3]) + " " + d.words[-1])
            and all(re.match(r"return 30[178] https://", str(inner)) for inner in d.block)
        )
    ]
    return bool(plain) and plain == rest


def stops(server: Directive, http: Iterable[Directive], web: Collection[str]) -> Iterator[Stop]:
    """Rules of one of the bench's servers that the router would not serve.

    kind is port (an address of its own), protocol (PROXY), access (who may come in), rule (a
    location or a redirect), server (one that is not the bench's), setting (a value that a setting
    of ours, or a file of the operator's, can keep), or fixed (a value that becomes the router's).
    """
    block = server.block or ()
    for directive in block:
        if directive.name == "listen":
            yield from listen_stops(directive, description(server), web)
    if is_redirect_to_https(server):
        return
    if not any(d.name == "client_max_body_size" for d in block):
        above = [d for d in http if d.name == "client_max_body_size"]
        # nginx's default.
        usual = Directive(("client_max_body_size", "1m"), None, server.path, server.line)
        size = above[-1] if above else usual
        yield stop("setting", str(size), size)
    for directive in block:
        yield from block_stops(directive, ())


def listen_stops(directive: Directive, who: str, web: Collection[str]) -> Iterator[Stop]:
    """Parts of a listen line that the router does not have."""
    host, port = listen_address(directive.words[1:])
    if port not in web:
        yield stop("port", f"{host if not port else f'port {port}'} ({who})", directive)
    elif host not in ("0.0.0.0", "[::]"):
        yield stop("fixed", f"listen {host}:{port}, this address alone", directive)
    for option in directive.words[2:]:
        if option == "proxy_protocol":
            yield stop("protocol", f"listen {' '.join(directive.words[1:])}", directive)
        elif option == "http2":
            yield "setting", "http2", directive.place, "http2 on;"
        # The router listens on IPv4 and IPv6, each by itself.
        elif option in ("quic", "deferred") or ("=" in option and "ipv6only" not in option):
            yield stop("fixed", f"{option} of listen {' '.join(directive.words[1:])}", directive)


def block_stops(directive: Directive, inside: tuple[str, ...]) -> Iterator[Stop]:
    """Rules of a directive, in a server or in a location of it, that go out of service."""
    text, place = str(directive), f" in location {inside[-1]}" if inside else ""
    name = " ".join(directive.words[1:])
    if text in USUAL or USUAL_REWRITES.fullmatch(text) or USUAL_NAMES.fullmatch(directive.name):
        return
    if directive.name == "proxy_set_header" and directive.words[1] == "X-Frappe-Site-Name":
        return
    if directive.name == "location" and name in USUAL_LOCATIONS:
        for inner in directive.block or ():
            yield from block_stops(inner, (*inside, name))
    elif ACCESS.match(directive.name):
        yield stop("access", f"{' '.join(directive.words)}{place}", directive)
    elif directive.name in RULES:
        yield stop("rule", f"{' '.join(directive.words)}{place}", directive)
    # Time-outs of realtime do not matter: it sends something every few seconds.
    elif not (NAMED.fullmatch(directive.name) and inside and "/socket.io" in inside[-1]):
        kind = "fixed" if is_fixed(directive, inside) else "setting"
        yield stop(kind, f"{' '.join(directive.words)}{place}", directive)


def is_fixed(directive: Directive, inside: tuple[str, ...]) -> bool:
    """Whether a setting becomes the router's, whatever the operator's own files set."""
    if NAMED.fullmatch(directive.name):
        return False
    if directive.name == "add_header" and directive.words[1].lower() in FIXED_HEADERS:
        return True
    return bool(
        inside or FIXED.fullmatch(directive.name) or ROUTER_SETTINGS.fullmatch(directive.name)
    )
