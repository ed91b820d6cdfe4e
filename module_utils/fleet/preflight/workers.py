"""Who does jobs: bench_background_workers, and which servers count as away."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..bench.queues import (
    PLACED,
    PREFIX,
    QUEUES,
    further_queues,
    queue_list,
    shape_troubles,
    whole_number,
)
from .placement import (
    bench_hosts,
    placement_of,
    primary_jobs,
    primary_of,
    servers_of,
    some,
)
from .problems import Host, Problem, Settings, did_you_mean, grouped, problem

AWAY_BOUNDS = (10, 3600)


def served(host: Host, custom: Iterable[str]) -> set[str]:
    """Queues that a host's workers serve, `placed` for those of its placed jobs.

    What is malformed is taken for what it may have been meant as: it has a problem of its own.
    """
    known = [*QUEUES, *custom, PLACED]
    workers = host["background_workers"]
    if not isinstance(workers, Mapping):
        return set() if whole_number(workers) == 0 else set(known)
    found: set[str] = set()
    for key, value in workers.items():
        if whole_number(value) != 0:
            for name in (part.strip() for part in str(key).split(",")):
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
                found.add(name if name in known or not near else near[0])
    return found


def check_workers(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """bench_background_workers: a number, or a map of known queues to numbers."""
    jobs = primary_jobs(hosts, settings)
    known = [*reversed(QUEUES), PLACED, *further_queues((jobs or {}).get("queues"))]
    found = grouped(
        (trouble, host["name"])
        for host in hosts
        for workers in [host["background_workers"]]
        for troubles in (shape_troubles(workers), queue_troubles(workers, known, jobs is not None))
        for trouble in troubles
    )
    for (what, remedy), names in found.items():
        place = f"bench_background_workers in the inventory, for {', '.join(names)}"
        yield problem(what, place, remedy)


def queue_troubles(workers: Any, known: list[str], all_known: bool) -> Iterator[tuple[str, str]]:
    """Queues of one bench_background_workers that do not exist, each with its remedy.

    Without ``all_known`` there may be queues beside the known ones.
    """
    keys = workers if isinstance(workers, Mapping) else ()
    for name in (name for key in keys for name in queue_list(key) if name not in known):
        near = did_you_mean(name, known)
        if name.startswith(PREFIX):
            yield (
                f"bench_background_workers names the queue {name!r}",
                f"write {PLACED}, which stands for the queues of all jobs that jobs_placement "
                "puts on the host",
            )
        elif all_known or near:
            yield (
                f"unknown queue {name!r} in bench_background_workers{near}",
                f"known are {', '.join(known)}; further queues are those of `workers` in the "
                "primary's common_site_config.json",
            )


def check_served(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Every queue has workers: Frappe's, the bench's own, and those of placed jobs."""
    primary = primary_of(hosts, settings)
    # Whether a queue has workers can only be said of a whole fleet.
    if primary is None or not set(settings["groups"].get("all", [])) <= {h["name"] for h in hosts}:
        return
    custom = list(further_queues((primary_jobs(hosts, settings) or {}).get("queues")))
    taken = {host["name"]: served(host, custom) for host in hosts}
    everywhere = set().union(*taken.values())
    place = f"bench_background_workers in the inventory, for {', '.join(taken)}"
    if not everywhere:
        yield problem(
            "no host has background workers: no job would ever run",
            place,
            f"give {primary['name']} some: a number of processes above 0, or a map of queues "
            "to processes",
        )
        return
    for queue in (*reversed(QUEUES), *custom):
        if queue not in everywhere:
            yield problem(
                f"no host has workers for the queue {queue}: its jobs would wait forever",
                place,
                f"add {{{queue}: 1}} to the map of a host, or give one a number, whose processes "
                "serve all queues",
            )
    missing = [q for q in reversed(QUEUES) if q in everywhere and q not in taken[primary["name"]]]
    if missing and placement_of(hosts) and primary["when_away"] == "primary":
        yield problem(
            f"jobs_when_away is primary, and {primary['name']} has no workers for the queue"
            f"{'s' if len(missing) > 1 else ''} {', '.join(missing)}: nobody would take the "
            "jobs of a server that is away",
            f"jobs_when_away and bench_background_workers of {primary['name']} in the inventory",
            f"give {primary['name']} workers for all three of Frappe's queues, or set "
            "jobs_when_away to wait",
        )
    for server, entries in servers_of(placement_of(hosts)).items():
        names = bench_hosts(server, settings)
        if names and not any(PLACED in taken[name] for name in names):
            group = names != [server]
            yield problem(
                f"{some(entries)} {'is' if len(entries) == 1 else 'are'} placed on {server}, "
                + (
                    f"and none of its hosts ({', '.join(names)}) has workers for placed jobs"
                    if group
                    else "which has no workers for placed jobs"
                ),
                f"bench_background_workers in the inventory, for {', '.join(names)}",
                f"give {'one of them' if group else server} some, for instance "
                f"bench_background_workers: {{{PLACED}: 1}}; those of a number serve all "
                "queues, and placed jobs first",
            )


def is_away_time(value: Any) -> bool:
    """Whether a time is within its bounds; what is no number is reported with the types."""
    try:
        return value is None or AWAY_BOUNDS[0] <= float(value) <= AWAY_BOUNDS[1]
    except (TypeError, ValueError):
        return True


def check_away(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """The time after which a server counts as away is neither hasty nor endless."""
    least, greatest = AWAY_BOUNDS
    wrong = grouped(
        (
            f"jobs_away_seconds is {host['away_seconds']}: it takes {least} to {greatest} seconds",
            host["name"],
        )
        for host in hosts
        if not is_away_time(host["away_seconds"])
    )
    for what, names in wrong.items():
        place = f"jobs_away_seconds in the inventory, for {', '.join(names)}"
        yield problem(what, place, "choose a value between")


def job_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """What is no mistake and does not do what it says, in words."""
    servers = servers_of(placement_of(hosts))
    busy = {name for server in servers for name in bench_hosts(server, settings) or []}
    return [
        f"bench_background_workers of {host['name']} has workers for placed jobs, and "
        "jobs_placement puts none there: they are not started"
        for host in hosts
        if isinstance(host["background_workers"], Mapping)
        and host["name"] not in busy
        and any(
            str(key).strip() == PLACED and whole_number(value)
            for key, value in host["background_workers"].items()
        )
    ]
