"""What nginx serves of the bench, beside what the fleet's router will; looked at in fleet/nginx."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..mariadb import options
from ..preflight.problems import Host, Problem, Settings, problem
from .host import Found, further_names, site_names

# Names in nginx's files that are nobody's site.
NO_SITE = frozenset({"_", "localhost", "127.0.0.1", '""'})
# What goes out of service with nginx's file, by its kind: what it is, and how it is kept.
STOPS = {
    "port": (
        "users reach the bench by an address that the router does not have",
        "move it to a server of its own, in a file of its own without port 80 and 443: that goes "
        "on (docs/adopt.md, Ports of your own). Or take it out",
    ),
    "protocol": (
        "nginx is told of its users by the PROXY protocol, which the router does not take",
        "let the proxy in front send X-Forwarded-For, set router_trusted_proxies to its address, "
        "and take proxy_protocol out",
    ),
    "access": (
        "who may come in is limited, and the router would let everybody in",
        "to keep it, write the same into a file in /etc/nginx/benchfleet.d, for all sites "
        "(docs/adopt.md, Rules of your own). Or take it out",
    ),
    "rule": (
        "locations and redirects of your own would end",
        "to keep them, write the same into a file in /etc/nginx/benchfleet.d, for all sites "
        "(docs/adopt.md, Rules of your own). Or take them out",
    ),
    "server": (
        "a server that has nothing of the bench would end",
        "move it to a file of its own: this one goes out of service",
    ),
}
# nginx's settings that the router has by another name, and its unit of time.
ROUTER_SETTINGS = {
    "client_max_body_size": "router_max_upload",
    "proxy_read_timeout": "router_read_timeout",
    "proxy_send_timeout": "router_read_timeout",
    "proxy_connect_timeout": "router_connect_timeout",
}
ACME = "/.well-known/acme-challenge"
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def check_nginx(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """The files that serve the bench serve nothing that the router will not."""
    name, nginx = host["name"], found["nginx"]
    if nginx["trouble"]:
        yield problem(
            f"nginx of {name} refuses its own configuration: {nginx['trouble']}",
            f"`nginx -t` on {name}",
            "correct it first",
        )
    certificates: set[tuple[str, str]] = set()
    for file in nginx["files"]:
        certificates |= {(pair[0], pair[1]) for pair in file["certificates"]}
        place = f"{file['path']} on {name}"
        if file["path"] == "/etc/nginx/nginx.conf":
            yield problem(
                "the bench is served from nginx's main file",
                place,
                "move its server blocks to a file in /etc/nginx/conf.d: that goes out of service",
            )
        yield from stranger_problems(host, found, file)
        for kind, (what, remedy) in STOPS.items():
            stopping = [stop for stop in file["stops"] if stop["kind"] == kind]
            # Then the router answers what the CA asks.
            stopping = [s for s in stopping if not (host["acme"]["email"] and ACME in s["what"])]
            if stopping:
                yield problem(
                    f"{what}: {', '.join(stop['what'] for stop in stopping)}",
                    f"{', '.join(stop['place'] for stop in stopping)} on {name}",
                    remedy,
                )
    if nginx["missed"]:
        yield problem(
            f"nginx of {name} would not start without the bench's files: {nginx['missed']}",
            ", ".join(file["path"] for file in nginx["files"]),
            "another file uses what stands in one of these (an upstream, a map, a log format), or "
            "names it: move what is used to a file of its own, and name no single file",
        )
    doubled = [what for what in nginx["doubled"] if host["acme"]["email"] or ACME not in what]
    if doubled:
        yield problem(
            f"the router has these itself, and nginx takes them once: {', '.join(doubled)}",
            f"/etc/nginx/benchfleet.d on {name}",
            "take them out, there and in the bench's file: they cannot be kept. Sites redirect / "
            "by their own Website Settings",
        )
    if certificates and not host["certificate"] and not host["acme"]["email"]:
        pairs = sorted(certificates)
        yield problem(
            f"nginx of {name} serves the bench by https, and router_certificate is not set",
            ", ".join(file["path"] for file in nginx["files"] if file["certificates"]),
            f"set router_certificate: {pairs[0][0]} and router_certificate_key: {pairs[0][1]}"
            if len(pairs) == 1
            else "set router_certificate and router_certificate_key, and for a site with another "
            "certificate than that its certificate and certificate_key (fleet_sites). There are: "
            + ", ".join(pair[0] for pair in pairs),
        )


def stranger_problems(host: Host, found: Found, file: Mapping[str, Any]) -> Iterator[Problem]:
    """Host names in a file that the router will not know: how each of them goes on."""
    place = f"{file['path']} on {host['name']}"
    there = found["bench"]["sites"]
    served = {name.lower() for site, entry in there.items() for name in (site, *entry["names"])}
    known = {*site_names(host), *further_names(host), *served, *NO_SITE}
    strangers = [name for name in file["names"] if name not in known]
    apart = [name for name in strangers if name in file["apart"]]
    # Patterns, and what begins with a dot: the router knows whole names only.
    patterns = [n for n in strangers if n not in apart and re.search(r"[^a-z0-9._-]|^\.", n)]
    aliases = [name for name in strangers if name not in apart and name not in patterns]
    for names, remedy in (
        (aliases, "list each in the names of its site (fleet_sites), or take it out there"),
        (
            patterns,
            "the router knows whole names only: list those that users type in the names of their "
            "sites (fleet_sites), and take the pattern out of server_name",
        ),
        (apart, "move their server blocks to a file of their own: this one goes out of service"),
    ):
        if names:
            yield problem(
                f"host names that are no site would no longer be served: {', '.join(names)}",
                place,
                remedy,
            )


def seconds(text: str) -> int | None:
    """A time as nginx writes it, as 2m or 90s, in seconds; None for what is none."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    return int(found.group(1)) * SECONDS[found.group(2)] if found else None


def nginx_words(host: Host, found: Found) -> Iterator[str]:
    """What users or the operator may notice of nginx's settings that become the router's."""
    router = host["router"]
    changes: dict[str, list[str]] = {}
    for file in found["nginx"]["files"]:
        for stop in file["stops"]:
            what = stop["what"].rstrip(";")
            name, _, value = what.partition(" ")
            value, setting = value.partition(" in location ")[0], ROUTER_SETTINGS.get(name)
            if stop["kind"] == "fixed":
                keep = "The router has its own, without a setting"
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
                keep, what = f"{setting} keeps yours", f"{what} -> {ours}"
            elif name == "set_real_ip_from":
                if value in map(str, host["networks"]["router_trusted_proxies"]):
                    continue
                keep = "router_trusted_proxies keeps it"
            elif name == "http2":
                keep = (
                    "`http2 on;` in a file in /etc/nginx/benchfleet.d keeps it, with nginx 1.25 or "
                    "later"
                )
            else:
                keep = "A file in /etc/nginx/benchfleet.d keeps them (docs/adopt.md)"
            changes.setdefault(keep, []).append(f"{what} ({stop['place']})")
    for keep, lines in changes.items():
        yield f"nginx of {host['name']}, for the bench: {'; '.join(lines)}. {keep}"
