"""What preflight says of MariaDB: the inventory's settings, and those of the hosts' own files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .conflicts import (
    ALIKE,
    DECIDED,
    HOSTS_OWN,
    REFUSED,
    is_refused,
    problems_of,
    restart_needs,
)
from .options import meaning


def render(value: Any) -> str:
    """One value as an option file spells it: ON/OFF for booleans, the rest as it is."""
    return ("ON" if value else "OFF") if isinstance(value, bool) else str(value)


def untakeable(name: str, value: Any) -> str:
    """Why mariadb_settings_extra may not have a setting, "" where it may."""
    variable, said = meaning(name, render(value), DECIDED | set(REFUSED))
    if variable in DECIDED:
        return "is not yours to set: the primary is open and runs events, a replica does neither"
    if variable not in ALIKE and is_refused(variable, said):
        return f"cannot be {render(value)}: {REFUSED[variable][1]}"
    return ""


def takeable(extra: Any) -> dict[str, Any]:
    """Of mariadb_settings_extra what a plan takes; preflight tells the rest."""
    known = extra if isinstance(extra, Mapping) else {}
    return {name: value for name, value in known.items() if not untakeable(str(name), value)}


def extra_problems(hosts: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What mariadb_settings_extra may not have, for preflight."""
    return [
        {
            "what": f"{name} {why}",
            "place": f"mariadb_settings_extra of {host['name']} in the inventory",
            "remedy": "take it out",
        }
        for host in hosts
        if isinstance(host["mariadb_extra"], Mapping)
        for name, value in host["mariadb_extra"].items()
        if (why := untakeable(str(name), value))
    ]


def option_problems(
    hosts: list[Mapping[str, Any]], file: str, restarts_none: bool
) -> list[dict[str, str]]:
    """What MariaDB's own files say on each host that the fleet cannot live with, for preflight.

    And whether a server that was adopted has to be restarted, but for a run that restarts none.
    file is the fleet's option file. Read of a host are name, groups, mariadb_plan (the fleet's
    settings, name to value), restart_confirmed, and what the module survey found.
    """
    problems = []
    for host in hosts:
        told, name = ((host["survey"] or {}).get("database") or {}).get("options"), host["name"]
        if not told or not host["mariadb_plan"]:
            continue
        answers = set(host["survey"]["database"].get("answers", {})) - {"time_zone"}
        # A reporting node takes these from the primary.
        taken = dict.fromkeys(() if "mariadb_primary" in host["groups"] else answers)
        plan = {**HOSTS_OWN, **taken, **host["mariadb_plan"]}
        problems += [
            {"what": f"MariaDB of {name}: {what}", "place": place, "remedy": remedy}
            for what, place, remedy in problems_of(plan, told, told["running"], file)
        ]
        needs = restart_needs(host["mariadb_plan"], told["running"])
        if needs and told["adopted"] and not restarts_none and not host["restart_confirmed"]:
            problems.append(
                {
                    "what": f"MariaDB of {name}, which was adopted, has to be restarted once for "
                    f"{', '.join(needs)}",
                    "place": f"mariadb.service on {name}",
                    "remedy": "run with -e adopt_restart_confirmed=true, when it suits you",
                }
            )
    return problems
