"""Values of variables in effect on other hosts, and problems where they must not differ.

hostvars of other hosts have the inventory's variables and no defaults of roles, so the values in
effect are computed here. Hosts that --limit leaves out count as well: the others are set up to
connect to them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.preflight import agreement
from fleet.preflight.problems import Problem
from fleet.preflight.variables import role_options

ROLES = Path(__file__).parents[1] / "roles"


@functools.cache
def role_defaults() -> dict[str, Any]:
    """The defaults of all roles as they are written, with templates that are not resolved."""
    found: dict[str, Any] = {}
    loader = DataLoader()
    # Role fleet links to the defaults of all roles.
    for file in sorted(ROLES.glob("fleet/defaults/main/*.yml")):
        found |= loader.load_from_file(str(file), trusted_as_template=True)
    return found


def in_effect(host: str, hostvars: Mapping[str, Any], name: str) -> Any:
    """A variable's value in effect on another host.

    Raises AnsibleFilterError where it depends on facts of that host that are not known.
    """
    raw = getattr(hostvars, "raw_get", hostvars.__getitem__)
    variables = {**role_defaults(), **raw(host)}
    try:
        return Templar(variables=variables).template(variables[name])
    except AnsibleError as error:
        raise AnsibleFilterError(
            f"the value of {name} on {host} is not known here: {error}"
        ) from error


def agreement_problems(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> list[Problem]:
    """Problems of fleet-wide variables that are not the same for all of these hosts."""

    def known(host: str, name: str) -> Any:
        try:
            return in_effect(host, hostvars, name)
        except AnsibleFilterError as error:
            # It may depend on facts of a host that this run leaves out.
            raise LookupError(name) from error

    given = {host: hostvars[host] for host in hosts}
    return list(agreement.agreement_problems(given, known, role_options(str(ROLES))))


class FilterModule:
    """Filters of role preflight, and of others that need a variable of another host."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {"agreement_problems": agreement_problems, "in_effect": in_effect}
