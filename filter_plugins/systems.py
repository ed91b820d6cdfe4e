"""Which systems the hosts run: filters on the table in module_utils/fleet/systems.py.

A host is preflight's (see preflight.py), of which this reads name, distribution, version, system
(its row of the table, {} for none), untried_system (fleet_untried_system) and survey.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet import systems

Host = Mapping[str, Any]


def known_system(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a host's system, {} for one that has none or is not known yet."""
    found: dict[str, Any] = systems.system_of(
        str(facts.get("distribution", "")), str(facts.get("distribution_version", ""))
    )
    return found


def system_packages(facts: Mapping[str, Any], purpose: str) -> list[str]:
    """The packages of a host's system for a purpose."""
    system = known_system(facts)
    if not system:
        name = f"{facts.get('distribution', 'unknown')} {facts.get('distribution_version', '')}"
        raise AnsibleFilterError(
            f"no packages are known for the system {name.strip()}; use {systems.known()}"
        )
    packages: list[str] = system["packages"][purpose]
    return packages


def system_problems(hosts: list[Host]) -> list[dict[str, str]]:
    """Hosts whose system is not in the table, or is there untried and was not asked for."""
    problems = []
    for host in hosts:
        if not host["survey"]:
            continue
        system = host["system"]
        what = remedy = ""
        if not system:
            what = f"{host['name']} runs {host['distribution']} {host['version']}"
            remedy = (
                f"use {systems.known()}. Known, but never tried: {systems.known(tried=False)}, "
                "with fleet_untried_system: true"
            )
        elif not system["tried"] and not host["untried_system"]:
            what = (
                f"{host['name']} runs {systems.title(system)}, on which Benchfleet was never tried"
            )
            remedy = (
                f"use {systems.known()}; or, on servers that nobody needs, see whether it works: "
                "fleet_untried_system: true for this host"
            )
        if what:
            place = f"operating system of {host['name']}"
            problems.append({"what": what, "place": place, "remedy": remedy})
    return problems


def system_warnings(hosts: list[Host]) -> list[str]:
    """Hosts that run an untried system because the inventory says so."""
    return [
        f"{host['name']} runs {systems.title(host['system'])}, on which Benchfleet was never tried "
        "(fleet_untried_system): what it does there comes from that system's documentation"
        for host in hosts
        if host["survey"] and host["system"] and not host["system"]["tried"]
    ]


class FilterModule:
    """Filters of role preflight, and of every role that installs packages."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {
            "known_system": known_system,
            "system_packages": system_packages,
            "system_problems": system_problems,
            "system_warnings": system_warnings,
        }
