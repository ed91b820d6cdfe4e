"""Filters of role router: calls that nginx may send to a reporting bench, addresses, texts."""

from __future__ import annotations

import html
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
# Where Frappe answers a whitelisted method by path; v1 and v2 exist from Frappe 15 on.
API_PREFIX = "/api/(?:v[12]/)?method/"


def report_patterns(methods: Iterable[str], light: Iterable[str] = ()) -> list[dict[str, str]]:
    """Regular expressions, for maps of nginx, that match calls of reports.

    methods: dotted names of whitelisted methods; light: those of them that are light. Returns
    {method, path, kind} for each, sorted and without doubles: ``method`` matches the name itself,
    ``path`` nginx's normalised $uri; ``kind`` is light or heavy. Both match the whole text and are
    case-sensitive (a plain key of a map is not). Raises AnsibleFilterError with the value that is
    not a dotted name.
    """
    small = set(light)
    patterns = []
    for method in sorted({str(name) for name in methods}):
        if not METHOD.fullmatch(method):
            raise AnsibleFilterError(
                f"{method!r} is not the dotted name of a method, such as"
                " frappe.desk.query_report.run: correct it in the inventory"
            )
        escaped = method.replace(".", r"\.")
        # \z, because $ would also match before a newline at the end.
        patterns.append(
            {
                "method": rf"^{escaped}\z",
                "path": rf"^{API_PREFIX}{escaped}\z",
                "kind": "light" if method in small else "heavy",
            }
        )
    return patterns


def certificate_pairs(sites: Any, certificate: str, key: str) -> list[dict[str, str]]:
    """The certificates that the inventory names, in its order: {of, site, certificate, key} each.

    ``sites`` is fleet_sites; ``certificate`` and ``key`` are router_certificate and
    router_certificate_key, for which the site is "". ``of`` names the setting. A missing half of a
    pair is "".
    """
    entries = sites if isinstance(sites, list) else []
    pairs = [{"of": "router_certificate", "site": "", "certificate": certificate, "key": key}]
    pairs += [
        {
            "of": f"certificate of {entry.get('name')} in fleet_sites",
            "site": str(entry.get("name")),
            "certificate": str(entry.get("certificate") or ""),
            "key": str(entry.get("certificate_key") or ""),
        }
        for entry in entries
        if isinstance(entry, Mapping)
    ]
    return [pair for pair in pairs if pair["certificate"] or pair["key"]]


def further_names(sites: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The sites of fleet_sites with their further names: {site: names}."""
    return {site["name"]: list(site.get("names") or []) for site in sites}


def socket_address(host: str, port: int) -> str:
    """An address and port for nginx: ``10.0.0.2:80``, ``[fd00::2]:80``.

    Raises AnsibleFilterError when ``host`` is not an address or ``port`` not a port.
    """
    address = bracketed(host)
    if not 0 < int(port) < 65536:
        raise AnsibleFilterError(f"{port} is not a TCP port: correct it in the inventory")
    return f"{address}:{int(port)}"


def bracketed(host: str) -> str:
    """An address in the form that is used before a port: ``10.0.0.2``, ``[fd00::2]``.

    Raises AnsibleFilterError when ``host`` is not an address.
    """
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError as error:
        raise AnsibleFilterError(f"fleet_lan_ip: {host!r} is not an address ({error})") from error
    return f"[{address.compressed}]" if address.version == 6 else address.compressed


def nodes_with_workers(
    hosts: Iterable[str],
    fleet_hosts: Mapping[str, Mapping[str, str]],
    workers: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The reporting benches in the form that nodes.lua reads: {host, address, workers} each."""
    return [
        {
            "host": host,
            "address": bracketed(fleet_hosts[host]["lan_ip"]),
            "workers": int(workers[host]),
        }
        for host in hosts
    ]


def answering_nodes(
    hosts: Iterable[str], fleet_hosts: Mapping[str, Mapping[str, str]], port: int
) -> list[dict[str, str]]:
    """The reporting benches by the addresses in nginx's log: {address, host, kind} each."""
    return [
        {
            "address": socket_address(fleet_hosts[host]["lan_ip"], port),
            "host": host,
            "kind": "node",
        }
        for host in hosts
    ]


def check_quotable(*texts: str) -> None:
    """Raise AnsibleFilterError for a text that nginx would not take literally between quotes."""
    for text in texts:
        if re.search(r"['$\\]", text):
            raise AnsibleFilterError(
                f"{text!r} cannot be in nginx's configuration: it has one of ' $ \\"
            )


def refusal(message: str, kind: str) -> str:
    """A refusal in the form that Frappe's desk shows, for a quoted text of nginx.

    ``message`` is for the user, ``kind`` is the name of an exception. Raises AnsibleFilterError for
    a text that nginx would not take literally.
    """
    check_quotable(message, kind)
    shown = json.dumps([json.dumps({"message": message, "title": "Report", "indicator": "red"})])
    body = {
        "exc_type": kind,
        "exception": f"{kind}: {message}",
        "_server_messages": shown,
        "errors": [{"type": kind, "message": message}],
    }
    # nginx turns two backslashes into one.
    return json.dumps(body).replace("\\", "\\\\")


def page(message: str) -> str:
    """A plain page with a message for a browser, for a quoted text of nginx.

    Raises AnsibleFilterError for a text that nginx would not take literally.
    """
    check_quotable(message)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>Please wait</title><p>{html.escape(message.strip())}</p></html>"
    )


def with_web_workers(workers: Mapping[str, Any]) -> list[str]:
    """The hosts that answer calls, sorted: all but those whose ``bench_web_workers`` is 0.

    ``workers`` is {host: bench_web_workers}. Raises AnsibleFilterError when one is not a number.
    """
    chosen = []
    for host, number in sorted(workers.items()):
        try:
            if int(number) > 0:
                chosen.append(host)
        except (TypeError, ValueError) as error:
            raise AnsibleFilterError(
                f"bench_web_workers of {host}: {number!r} is not a number of processes: correct"
                " it in the inventory"
            ) from error
    return chosen


class FilterModule:
    """Filters of role router."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {
            "answering_nodes": answering_nodes,
            "bracketed": bracketed,
            "further_names": further_names,
            "certificate_pairs": certificate_pairs,
            "nodes_with_workers": nodes_with_workers,
            "refusal": refusal,
            "page": page,
            "report_patterns": report_patterns,
            "socket_address": socket_address,
            "with_web_workers": with_web_workers,
        }
