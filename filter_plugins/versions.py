"""Which releases a fleet is made of: what is recorded on its hosts wins over what is new here.

A host here is preflight's (see preflight.py), of which this reads
    name
    asked_versions           the tools' variables as the inventory has them, "" when unset
    survey                   with mark (format, versions) and tools, what the module survey found
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

Host = Mapping[str, Any]
Problem = dict[str, str]

# The tools whose releases are pinned, and the variables that ask for one. Benches differ by what
# the bench CLI generates, so all hosts of a fleet have the same.
VARIABLES = {
    "bench_cli": "bench_cli_version",
    "uv": "bench_uv_version",
    "node": "bench_node_version",
    "yarn": "bench_yarn_version",
}


def release_versions(roles_dir: str) -> dict[str, str]:
    """What this Benchfleet gives a new fleet: the defaults of role bench, {tool: release}."""
    text = Path(roles_dir, "bench/defaults/main.yml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    return {tool: str(defaults[variable]) for tool, variable in VARIABLES.items()}


def recorded(host: Host | None) -> dict[str, str]:
    """A host's releases: as its mark has them, else as they are installed there."""
    survey = (host or {}).get("survey") or {}
    noted = survey.get("mark", {}).get("versions") or {}
    there = survey.get("tools") or {}
    return {tool: str(noted.get(tool) or there.get(tool) or "") for tool in VARIABLES}


def versions_in_force(host: Host, primary: Host, release: Mapping[str, str]) -> dict[str, str]:
    """The releases that a host is to have, {tool: release}.

    What the inventory asks for wins; then what is recorded on the primary, or installed there
    where a fleet is older than the records; a new fleet has those of ``release``.
    """
    known = recorded(primary)
    return {
        tool: str(host["asked_versions"].get(tool) or known[tool] or release[tool])
        for tool in VARIABLES
    }


def version_problems(hosts: list[Host], settings: Mapping[str, Any]) -> list[Problem]:
    """Hosts of a fleet that only a newer Benchfleet knows, and hosts that would differ."""
    problems = []
    newer = {
        host["name"]: mark["format"]
        for host in hosts
        if (mark := (host["survey"] or {}).get("mark", {})).get("state") == "present"
        and mark["fleet_id"] == settings["fleet_id"]
        and mark["format"] > int(settings["format"])
    }
    if newer:
        problems.append(
            {
                "what": f"{', '.join(newer)} {'has' if len(newer) == 1 else 'have'} fleet format "
                f"{max(newer.values())}, and this Benchfleet knows formats up to "
                f"{settings['format']}",
                "place": f"fleet.json in fleet_config_dir on {', '.join(newer)}",
                "remedy": "a newer Benchfleet was here: use that one, or a newer one still",
            }
        )
    for tool, variable in VARIABLES.items():
        asked: dict[str, list[str]] = {}
        for host in hosts:
            asked.setdefault(str(host["asked_versions"].get(tool) or ""), []).append(host["name"])
        if len(asked) > 1:
            words = "; ".join(f"{text or 'none'} for {', '.join(n)}" for text, n in asked.items())
            problems.append(
                {
                    "what": f"{variable} is not the same for all hosts: {words}",
                    "place": f"{variable} in the inventory",
                    "remedy": "set it once, for all hosts (group_vars/all.yml), or nowhere",
                }
            )
    return problems


class FilterModule:
    """Filters of roles preflight and fleet, and of playbooks/status.yml."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {
            "release_versions": release_versions,
            "version_problems": version_problems,
            "versions_in_force": versions_in_force,
        }
