"""Groups of the inventory, and hosts that --limit leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from .hosts import is_ours
from .problems import Host, Problem, Settings, problem

GROUPS = (
    "primary",
    "reporting",
    "mariadb_primary",
    "mariadb_replica",
    "redis",
    "bench_primary",
    "bench_reporting",
    "router",
)


def check_groups(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """One primary, nobody in both groups, everybody in one."""
    groups = settings["groups"]
    primary, reporting = list(groups.get("primary", [])), list(groups.get("reporting", []))
    everyone = list(groups.get("all", []))
    place = f"inventory {settings['inventory']}"
    if not everyone:
        yield problem(
            "the inventory holds no host at all",
            place,
            "name one host in group primary (and any number in group reporting), "
            "or give the right inventory with -i",
        )
        return
    if not primary:
        yield problem(
            "no host is in group primary",
            place,
            "put the one server that takes every write into group primary",
        )
    if len(primary) > 1:
        yield problem(
            f"group primary holds {len(primary)} hosts: {', '.join(primary)}",
            place,
            "leave exactly one in group primary and move the others to group reporting",
        )
    for name in primary:
        if name in reporting:
            yield problem(
                f"{name} is in group primary and in group reporting",
                place,
                "keep it in one of the two: a reporting node copies the primary over its own data",
            )
    in_a_group = {name for group in GROUPS for name in groups.get(group, [])}
    for name in everyone:
        if name not in in_a_group:
            yield problem(
                f"{name} is in neither group primary nor group reporting",
                place,
                "put it into one of them, or take it out of this inventory",
            )


def check_left_out(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """A run without the primary builds on one that is of this fleet; an update is everybody's."""
    primary = settings["primary"]
    here = [host["name"] for host in hosts]
    absent = [name for name in settings["groups"].get("all", []) if name not in here]
    if settings["updating"] and absent:
        yield problem(
            f"{', '.join(absent)} left out of an update: the fleet would run two versions",
            "--limit on the command line",
            "run it without --limit",
        )
    elif primary and primary["survey"] and not is_ours(primary, settings):
        yield problem(
            f"the primary {primary['name']} is left out of this run, and is not of this fleet yet",
            "--limit on the command line",
            f"run it without --limit, or with {primary['name']} in it, before the others",
        )
