"""Which calls nginx may send to a reporting bench, and how it writes addresses: pure functions."""

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
    """Regular expressions, for nginx maps, of the calls that are reports.

    Input: dotted names of whitelisted methods, and which of them are light. Output: one {method,
    path, kind} for each, sorted, without doubles; ``method`` matches the name itself, ``path``
    nginx's normalised $uri; ``kind`` is light or heavy. Both match the whole text, upper
    and lower case apart (a plain key of an nginx map would not). Raises AnsibleFilterError that
    names a value that is no dotted name.
    """
    small = set(light)
    patterns = []
    for method in sorted({str(name) for name in methods}):
        if not METHOD.fullmatch(method):
            raise AnsibleFilterError(
                f"{method!r} is not the dotted name of a method such as"
                " frappe.desk.query_report.run; correct it in the inventory"
            )
        escaped = method.replace(".", r"\.")
        # \z, for $ would also match before a newline at the end.
        patterns.append(
            {
                "method": rf"^{escaped}\z",
                "path": rf"^{API_PREFIX}{escaped}\z",
                "kind": "light" if method in small else "heavy",
            }
        )
    return patterns


def certificate_pairs(sites: Any, certificate: str, key: str) -> list[dict[str, str]]:
    """The certificates that the inventory names: {of, site, certificate, key} each, in its order.

    ``sites`` is fleet_sites, the others router_certificate and router_certificate_key; ``of`` says
    where they are written, and the site is "" for these two. A pair of which one half is missing
    has "" for it.
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
    """The sites of fleet_sites, each with the names that the inventory gives it besides."""
    return {site["name"]: list(site.get("names") or []) for site in sites}


def socket_address(host: str, port: int) -> str:
    """An address and port as nginx writes them: ``10.0.0.2:80``, ``[fd00::2]:80``.

    Raises AnsibleFilterError when ``host`` is no address or ``port`` no port.
    """
    address = bracketed(host)
    if not 0 < int(port) < 65536:
        raise AnsibleFilterError(f"{port} is not a TCP port; correct it in the inventory")
    return f"{address}:{int(port)}"


def bracketed(host: str) -> str:
    """An address as it stands before a port: ``10.0.0.2``, ``[fd00::2]``.

    Raises AnsibleFilterError when ``host`` is no address.
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
    """The reporting benches as nodes.lua wants to know them: {host, address, workers}."""
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
    """The reporting benches as nginx's log of an answer names them: {address, host, kind}."""
    return [
        {
            "address": socket_address(fleet_hosts[host]["lan_ip"], port),
            "host": host,
            "kind": "node",
        }
        for host in hosts
    ]


def check_quotable(*texts: str) -> None:
    """Raise AnsibleFilterError where nginx would take words between quotes for more than words."""
    for words in texts:
        if re.search(r"['$\\]", words):
            raise AnsibleFilterError(f"{words!r} cannot stand in nginx's configuration")


def refusal(words: str, kind: str) -> str:
    """A refusal in the form in which Frappe's desk shows it, to stand between quotes in nginx.

    ``words`` are for the user, ``kind`` is the name of an exception. Raises AnsibleFilterError for
    words that nginx would take for more than words.
    """
    check_quotable(words, kind)
    shown = json.dumps([json.dumps({"message": words, "title": "Report", "indicator": "red"})])
    body = {
        "exc_type": kind,
        "exception": f"{kind}: {words}",
        "_server_messages": shown,
        "errors": [{"type": kind, "message": words}],
    }
    # nginx takes one backslash of two away.
    return json.dumps(body).replace("\\", "\\\\")


def page(words: str) -> str:
    """A plain page with words for a browser, to stand between quotes in nginx.

    Raises AnsibleFilterError for words that nginx would take for more than words.
    """
    check_quotable(words)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>Please wait</title><p>{html.escape(words.strip())}</p></html>"
    )


def with_web_workers(workers: Mapping[str, Any]) -> list[str]:
    """The hosts that answer calls, sorted: all but those whose ``bench_web_workers`` is 0.

    ``workers`` is {host: bench_web_workers}. Raises AnsibleFilterError when one is no number.
    """
    chosen = []
    for host, number in sorted(workers.items()):
        try:
            if int(number) > 0:
                chosen.append(host)
        except (TypeError, ValueError) as error:
            raise AnsibleFilterError(
                f"bench_web_workers of {host}: {number!r} is not a number of processes; correct"
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
