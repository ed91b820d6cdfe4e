"""A host that is being adopted: the host of fleet/preflight with these keys besides.

restart_confirmed            adopt_restart_confirmed
sudo_confirmed               adopt_sudo_confirmed
backup_dir                   adopt_backup_dir
bench_user, certificate      fleet_bench_user, router_certificate
router                       router_max_upload and the time-outs, by their names
web_workers, web_arguments   bench_web_workers, bench_web_arguments
environment                  names of bench_environment
background_workers           bench_background_workers
acme                         fleet_acme
mariadb_plan                 the server's settings of the fleet, name to value
survey.adoption              the result of look() in look.py, None where nothing is adopted
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..preflight.problems import Host

# The result of look() in look.py.
Found = Mapping[str, Any]


def looked_at(host: Host) -> Found | None:
    """The survey of a host that is being adopted, None for every other."""
    found: Found | None = (host["survey"] or {}).get("adoption")
    return found


def adopting(hosts: list[Host]) -> list[Host]:
    """Hosts that are about to be adopted; one with the fleet's mark already is."""
    return [h for h in hosts if looked_at(h) and h["survey"]["mark"]["state"] == "absent"]


def set_aside(host: Host) -> dict[str, list[str]]:
    """The host's own files that go out of service: {nginx: [path], supervisor: [path]}."""
    found = looked_at(host) or {"nginx": {"files": []}, "supervisor": []}
    return {
        "nginx": [file["path"] for file in found["nginx"]["files"]],
        "supervisor": [file["path"] for file in found["supervisor"] if not file["ours"]],
    }


def site_names(host: Host) -> list[str]:
    """Names of the sites in fleet_sites; an entry of a wrong form is reported elsewhere."""
    sites = host["sites"] if isinstance(host["sites"], list) else []
    return [str(s["name"]) for s in sites if isinstance(s, Mapping) and s.get("name")]


def further_names(host: Host) -> set[str]:
    """Further names of the sites in fleet_sites."""
    sites = host["sites"] if isinstance(host["sites"], list) else []
    lists = [s.get("names") for s in sites if isinstance(s, Mapping)]
    return {str(name) for names in lists if isinstance(names, list) for name in names}
