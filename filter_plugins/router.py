"""Which calls nginx may send to a reporting bench, and how it writes addresses: pure functions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
# Where Frappe answers a whitelisted method by path; v1 and v2 exist from Frappe 15 on.
API_PREFIX = "/api/(?:v[12]/)?method/"


def report_patterns(methods: Iterable[str]) -> list[dict[str, str]]:
    """Regular expressions, for nginx maps, of the calls that are reports.

    Input: dotted names of whitelisted methods. Output: one {method, path} for each, sorted, without
    doubles; ``method`` matches the name itself, ``path`` nginx's normalised $uri. Both match the
    whole text, upper and lower case apart (a plain key of an nginx map would not). Raises
    AnsibleFilterError that names a value that is no dotted name.
    """
    patterns = []
    for method in sorted({str(name) for name in methods}):
        if not METHOD.fullmatch(method):
            raise AnsibleFilterError(
                f"router_report_methods: {method!r} is not the dotted name of a method such as"
                " frappe.desk.query_report.run; correct it in the inventory"
            )
        escaped = method.replace(".", r"\.")
        # \z, for $ would also match before a newline at the end.
        patterns.append({"method": rf"^{escaped}\z", "path": rf"^{API_PREFIX}{escaped}\z"})
    return patterns


def socket_address(host: str, port: int) -> str:
    """An address and port as nginx writes them: ``10.0.0.2:8000``, ``[fd00::2]:8000``.

    Raises AnsibleFilterError when ``host`` is no address or ``port`` no port.
    """
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError as error:
        raise AnsibleFilterError(f"fleet_lan_ip: {host!r} is not an address ({error})") from error
    if not 0 < int(port) < 65536:
        raise AnsibleFilterError(f"fleet_web_port: {port} is not a TCP port")
    text = address.compressed
    return f"[{text}]:{int(port)}" if address.version == 6 else f"{text}:{int(port)}"


def with_web_workers(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[str]:
    """The hosts that answer calls, sorted: all but those whose ``bench_web_workers`` is 0.

    A host without the variable has the default of role bench, which is more than 0: the variables
    of other hosts hold no role's defaults. Raises AnsibleFilterError when the value is no number.
    """
    chosen = []
    for host in sorted(hosts):
        own = hostvars[host]
        workers = own.get("bench_web_workers", 1)
        try:
            if int(workers) > 0:
                chosen.append(host)
        except (TypeError, ValueError) as error:
            raise AnsibleFilterError(
                f"bench_web_workers of {host}: {workers!r} is not a number of processes; correct"
                " it in the inventory"
            ) from error
    return chosen


class FilterModule:
    """Filters of role router."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {
            "report_patterns": report_patterns,
            "socket_address": socket_address,
            "with_web_workers": with_web_workers,
        }
