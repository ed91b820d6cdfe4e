"""What the roles ask of the table in module_utils/fleet/systems.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet import systems


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


class FilterModule:
    """Filters of role preflight, and of every role that installs packages."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {"known_system": known_system, "system_packages": system_packages}
