"""What nginx serves of the bench that the fleet's router will not; fleet/nginx finds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..mariadb import options
from ..preflight.problems import Host, Kind, Problem, Settings
from .host import Found, further_names, site_names
from .notices import Notice, NoticeKind

# Names in nginx's files that are no site.
NO_SITE = frozenset({"_", "localhost", "127.0.0.1", '""'})
RULES_PLACE = "{places} on {host}"
OWN_RULES = (
    "write the same into a file in /etc/nginx/benchfleet.d, for all sites (docs/adopt.md, Rules of"
    " your own)"
)
NGINX_PORT = Kind(
    "adopt_nginx_port",
    "users reach the bench at an address that the router does not have: {rules}",
    RULES_PLACE,
    "move that server to a file of its own, without port 80 and 443, and it stays"
    " (docs/adopt.md, Ports of your own). Or take it out",
)
NGINX_PROXY_PROTOCOL = Kind(
    "adopt_nginx_proxy_protocol",
    "nginx gets users' addresses by the PROXY protocol, which the router does not support: {rules}",
    RULES_PLACE,
    "let the proxy in front send X-Forwarded-For, set router_trusted_proxies to its address,"
    " and take proxy_protocol out",
)
NGINX_ACCESS = Kind(
    "adopt_nginx_access",
    "rules limit who may use the bench, and the router would let everybody in: {rules}",
    RULES_PLACE,
    f"to keep them, {OWN_RULES}. Or take them out",
)
NGINX_RULE = Kind(
    "adopt_nginx_rule",
    "your own locations and redirects would no longer work: {rules}",
    RULES_PLACE,
    f"to keep them, {OWN_RULES}. Or take them out",
)
NGINX_SERVER = Kind(
    "adopt_nginx_server",
    "a server that is not the bench's would no longer be served: {rules}",
    RULES_PLACE,
    "move it to a file of its own, as this file goes out of service",
)
# Rules that go out of service with nginx's file, by their kind in fleet/nginx/look.py.
STOPS = {
    "port": NGINX_PORT,
    "protocol": NGINX_PROXY_PROTOCOL,
    "access": NGINX_ACCESS,
    "rule": NGINX_RULE,
    "server": NGINX_SERVER,
}
# Settings of nginx that the router has by another name, and nginx's units of time.
ROUTER_SETTINGS = {
    "client_max_body_size": "router_max_upload",
    "proxy_read_timeout": "router_read_timeout",
    "proxy_send_timeout": "router_read_timeout",
    "proxy_connect_timeout": "router_connect_timeout",
}
ACME = "/.well-known/acme-challenge"
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

NGINX_BROKEN = Kind(
    "adopt_nginx_broken",
    "nginx of {host} refuses its own configuration: {trouble}",
    "`nginx -t` on {host}",
    "correct it first",
)
MAIN_FILE = Kind(
    "adopt_nginx_main_file",
    "the bench is served from nginx's main file",
    "{file} on {host}",
    "move its server blocks to a file in /etc/nginx/conf.d, which then goes out of service",
)
FILES_NEEDED = Kind(
    "adopt_nginx_files_needed",
    "nginx of {host} would not start without the bench's files: {trouble}",
    "{files}",
    "another file uses an upstream, a map or a log format of one of these files, or includes it by"
    " its name: move what is used to a file of its own, and include files by a pattern",
)
DOUBLED = Kind(
    "adopt_nginx_doubled",
    "the router has these itself, and nginx does not accept them twice: {rules}",
    "/etc/nginx/benchfleet.d on {host}",
    "take them out, there and in the bench's file: they cannot be kept. To redirect /, use the"
    " Website Settings of the site",
)
CERTIFICATE = "nginx of {host} serves the bench by https, but router_certificate is not set"
CERTIFICATE_UNSET = Kind(
    "adopt_certificate_unset",
    CERTIFICATE,
    "{files}",
    "set router_certificate: {certificate} and router_certificate_key: {key}",
)
CERTIFICATES_UNSET = Kind(
    "adopt_certificates_unset",
    CERTIFICATE,
    "{files}",
    "set router_certificate and router_certificate_key, and for each site with another certificate"
    " its certificate and certificate_key (fleet_sites). These are served now: {certificates}",
)


def check_nginx(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """The files that serve the bench serve nothing that the router will not."""
    name, nginx = host["name"], found["nginx"]
    if nginx["trouble"]:
        yield NGINX_BROKEN.found(host=name, trouble=nginx["trouble"])
    certificates: set[tuple[str, str]] = set()
    for file in nginx["files"]:
        certificates |= {(pair[0], pair[1]) for pair in file["certificates"]}
        if file["path"] == "/etc/nginx/nginx.conf":
            yield MAIN_FILE.found(host=name, file=file["path"])
        yield from name_problems(host, found, file)
        for stop_kind, kind in STOPS.items():
            stopping = [stop for stop in file["stops"] if stop["kind"] == stop_kind]
            # With fleet_acme the router answers the CA's requests.
            stopping = [s for s in stopping if not (host["acme"]["email"] and ACME in s["what"])]
            if stopping:
                yield kind.found(
                    host=name,
                    rules=[stop["what"] for stop in stopping],
                    places=[stop["place"] for stop in stopping],
                )
    if nginx["missed"]:
        files = [file["path"] for file in nginx["files"]]
        yield FILES_NEEDED.found(host=name, trouble=nginx["missed"], files=files)
    doubled = [what for what in nginx["doubled"] if host["acme"]["email"] or ACME not in what]
    if doubled:
        yield DOUBLED.found(host=name, rules=doubled)
    if certificates and not host["certificate"] and not host["acme"]["email"]:
        pairs = sorted(certificates)
        kind = CERTIFICATE_UNSET if len(pairs) == 1 else CERTIFICATES_UNSET
        yield kind.found(
            host=name,
            files=[file["path"] for file in nginx["files"] if file["certificates"]],
            certificate=pairs[0][0],
            key=pairs[0][1],
            certificates=[pair[0] for pair in pairs],
        )


UNSERVED = "host names that are no site would no longer be served: {names}"
UNSERVED_NAMES = Kind(
    "adopt_unserved_names",
    UNSERVED,
    "{file} on {host}",
    "list each in the names of its site (fleet_sites), or take it out there",
)
UNSERVED_PATTERNS = Kind(
    "adopt_unserved_patterns",
    UNSERVED,
    "{file} on {host}",
    "the router has whole names only: list those that users type in the names of their sites"
    " (fleet_sites), and take the pattern out of server_name",
)
UNSERVED_SERVERS = Kind(
    "adopt_unserved_servers",
    UNSERVED,
    "{file} on {host}",
    "move their server blocks to a file of their own, as this file goes out of service",
)


def name_problems(host: Host, found: Found, file: Mapping[str, Any]) -> Iterator[Problem]:
    """Host names in a file that the router will not have, each with what keeps it."""
    there = found["bench"]["sites"]
    served = {name.lower() for site, entry in there.items() for name in (site, *entry["names"])}
    known = {*site_names(host), *further_names(host), *served, *NO_SITE}
    strangers = [name for name in file["names"] if name not in known]
    apart = [name for name in strangers if name in file["apart"]]
    # Patterns, and names that begin with a dot.
    patterns = [n for n in strangers if n not in apart and re.search(r"[^a-z0-9._-]|^\.", n)]
    aliases = [name for name in strangers if name not in apart and name not in patterns]
    for kind, names in (
        (UNSERVED_NAMES, aliases),
        (UNSERVED_PATTERNS, patterns),
        (UNSERVED_SERVERS, apart),
    ):
        if names:
            yield kind.found(names=names, file=file["path"], host=host["name"])


def seconds(text: str) -> int | None:
    """A time as nginx writes it, such as 2m or 90s, in seconds; None for anything else."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    return int(found.group(1)) * SECONDS[found.group(2)] if found else None


SETTINGS_OF = "settings of nginx for the bench change on {host}: {rules}. "
NGINX_FIXED = NoticeKind("nginx_fixed", f"{SETTINGS_OF}The router has its own, without a setting")
NGINX_SETTING = NoticeKind("nginx_setting", f"{SETTINGS_OF}{{setting}} keeps yours")
NGINX_HTTP2 = NoticeKind(
    "nginx_http2",
    f"{SETTINGS_OF}`http2 on;` in a file in /etc/nginx/benchfleet.d keeps it, with nginx 1.25 or"
    " later",
)
NGINX_OWN_FILE = NoticeKind(
    "nginx_own_file", f"{SETTINGS_OF}A file in /etc/nginx/benchfleet.d keeps them (docs/adopt.md)"
)


def nginx_notices(host: Host, found: Found) -> Iterator[Notice]:
    """Settings of nginx that become the router's, by what keeps them."""
    router = host["router"]
    changes: dict[tuple[NoticeKind, str], list[str]] = {}
    for file in found["nginx"]["files"]:
        for stop in file["stops"]:
            what = stop["what"].rstrip(";")
            name, _, value = what.partition(" ")
            value, setting = value.partition(" in location ")[0], ROUTER_SETTINGS.get(name)
            if stop["kind"] == "fixed":
                keep = NGINX_FIXED, ""
            elif stop["kind"] != "setting":
                continue
            elif setting:
                ours = router[setting]
                same = (
                    options.normal(value) == options.normal(ours)
                    if name == "client_max_body_size"
                    else seconds(value) == seconds(str(ours))
                )
                if same:
                    continue
                keep, what = (NGINX_SETTING, setting), f"{what} -> {ours}"
            elif name == "set_real_ip_from":
                if value in map(str, host["networks"]["router_trusted_proxies"]):
                    continue
                keep = NGINX_SETTING, "router_trusted_proxies"
            else:
                keep = (NGINX_HTTP2 if name == "http2" else NGINX_OWN_FILE), ""
            changes.setdefault(keep, []).append(f"{what} ({stop['place']})")
    for (kind, setting), lines in changes.items():
        yield kind.found(host=host["name"], rules="; ".join(lines), setting=setting)
