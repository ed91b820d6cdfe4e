"""Problems of MariaDB's settings for preflight: the inventory's, and those of the hosts' files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..preflight.problems import Kind, Problem
from .conflicts import (
    ALIKE,
    DECIDED,
    HOSTS_OWN,
    REFUSED,
    conflicts_of,
    is_refused,
    restart_needs,
)
from .options import meaning

SETTING_REFUSED = Kind(
    "mariadb_setting_refused",
    "{name} {reason}",
    "mariadb_settings_extra of {host} in the inventory",
    "take it out",
)
OPTION_CONFLICT = Kind(
    "mariadb_option_conflict", "MariaDB of {host}: {found}", "{file}", "{remedy}"
)
RESTART_NEEDED = Kind(
    "mariadb_restart_needed",
    "MariaDB of {host}, which was adopted, has to be restarted once for {settings}",
    "mariadb.service on {host}",
    "run with `-e adopt_restart_confirmed=true` at a time when a restart disturbs nobody",
)


def render(value: Any) -> str:
    """One value as in an option file: ON or OFF for a boolean, others as they are."""
    return ("ON" if value else "OFF") if isinstance(value, bool) else str(value)


def untakeable(name: str, value: Any) -> str:
    """Why mariadb_settings_extra may not have a setting; "" where it may."""
    variable, said = meaning(name, render(value), DECIDED | set(REFUSED))
    if variable in DECIDED:
        return "cannot be set: the fleet sets it for the primary and for replicas"
    if variable not in ALIKE and is_refused(variable, said):
        return f"cannot be {render(value)}: {REFUSED[variable][1]}"
    return ""


def takeable(extra: Any) -> dict[str, Any]:
    """The settings of mariadb_settings_extra that may be used; preflight reports the others."""
    known = extra if isinstance(extra, Mapping) else {}
    return {name: value for name, value in known.items() if not untakeable(str(name), value)}


def extra_problems(hosts: list[Mapping[str, Any]]) -> list[Problem]:
    """Problems of settings that mariadb_settings_extra may not have."""
    return [
        SETTING_REFUSED.found(name=name, reason=reason, host=host["name"])
        for host in hosts
        if isinstance(host["mariadb_extra"], Mapping)
        for name, value in host["mariadb_extra"].items()
        if (reason := untakeable(str(name), value))
    ]


def option_problems(
    hosts: list[Mapping[str, Any]], file: str, restarts_none: bool
) -> list[Problem]:
    """Problems of options in MariaDB's own files that conflict with the fleet's, on each host.

    And of an adopted server that has to be restarted; not where restarts_none, whether this run
    restarts no server. file: the fleet's option file. Of a host it reads name, groups,
    mariadb_plan (the fleet's settings, name to value), restart_confirmed and survey.
    """
    problems = []
    for host in hosts:
        options, name = ((host["survey"] or {}).get("database") or {}).get("options"), host["name"]
        if not options or not host["mariadb_plan"]:
            continue
        answers = set(host["survey"]["database"].get("answers", {})) - {"time_zone"}
        # A reporting node takes these from the primary.
        taken = dict.fromkeys(() if "mariadb_primary" in host["groups"] else answers)
        plan = {**HOSTS_OWN, **taken, **host["mariadb_plan"]}
        problems += [
            OPTION_CONFLICT.found(
                host=name, found=one.what, file=one.place, remedy=one.remedy, conflict=one.id
            )
            for one in conflicts_of(plan, options, options["running"], file)
        ]
        needs = restart_needs(host["mariadb_plan"], options["running"])
        if needs and options["adopted"] and not restarts_none and not host["restart_confirmed"]:
            problems.append(RESTART_NEEDED.found(host=name, settings=needs))
    return problems
