"""Workers of jobs: bench_background_workers and jobs_away_seconds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..bench.queues import (
    PLACED,
    PREFIX,
    QUEUES,
    WORKERS_PLACE,
    Trouble,
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
)
from .problems import Host, Kind, Problem, Settings, did_you_mean, grouped

AWAY_BOUNDS = (10, 3600)

QUEUE_OF_SERVER = Kind(
    "workers_queue_of_server",
    "bench_background_workers names the queue {queue!r}",
    WORKERS_PLACE,
    f"write {PLACED}, which stands for the queues of all jobs that jobs_placement puts on the host",
)
QUEUE_UNKNOWN = Kind(
    "workers_queue_unknown",
    "unknown queue {queue!r} in bench_background_workers{hint}",
    WORKERS_PLACE,
    "known queues are {known}; further ones are the keys of `workers` in the primary's"
    " common_site_config.json",
)
NO_WORKERS = Kind(
    "workers_none",
    "no host has background workers, so no job would run",
    WORKERS_PLACE,
    "give {primary} some: a number of processes above 0, or a map of queues to processes",
)
QUEUE_WITHOUT_WORKERS = Kind(
    "queue_without_workers",
    "no host has workers for the queue {queue}, so its jobs would never run",
    WORKERS_PLACE,
    "add {{{queue}: 1}} to the map of a host, or give a host a number: its processes serve all"
    " queues",
)
PRIMARY_LACKS_QUEUES = Kind(
    "primary_lacks_queues",
    "jobs_when_away is primary, but {primary} has no workers for these queues: {queues}. Jobs of"
    " a server that is away would not be done",
    "jobs_when_away and bench_background_workers of {primary} in the inventory",
    "give {primary} workers for all three of Frappe's queues, or set jobs_when_away to wait",
)
NEED_PLACED_WORKERS = (
    f"for instance bench_background_workers: {{{{{PLACED}: 1}}}}. If it is a number, all"
    " its processes serve every queue, placed jobs first"
)
HOST_WITHOUT_PLACED_WORKERS = Kind(
    "host_without_placed_workers",
    "{server} has no workers for placed jobs, but these are placed there: {entries}",
    WORKERS_PLACE,
    f"give {{server}} some, {NEED_PLACED_WORKERS}",
)
GROUP_WITHOUT_PLACED_WORKERS = Kind(
    "group_without_placed_workers",
    "no host of {server} ({hosts}) has workers for placed jobs, but these are placed there:"
    " {entries}",
    WORKERS_PLACE,
    f"give one of them some, {NEED_PLACED_WORKERS}",
)
AWAY_SECONDS_OUT_OF_BOUNDS = Kind(
    "away_seconds_out_of_bounds",
    "jobs_away_seconds is {seconds}, which is out of bounds",
    "jobs_away_seconds in the inventory, for {hosts}",
    "use a value from {least} to {greatest}",
)


def served(host: Host, custom: Iterable[str]) -> set[str]:
    """Queues that a host's workers serve; `placed` stands for those of its placed jobs.

    A misspelt queue counts as the one it is nearest to: it has a problem of its own.
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
    for trouble, names in found.items():
        yield trouble.of(names)


def queue_troubles(workers: Any, known: list[str], all_known: bool) -> Iterator[Trouble]:
    """Queues of one bench_background_workers that do not exist.

    Without ``all_known`` there may be queues beside the known ones.
    """
    keys = workers if isinstance(workers, Mapping) else ()
    for name in (name for key in keys for name in queue_list(key) if name not in known):
        hint = did_you_mean(name, known)
        if name.startswith(PREFIX):
            yield Trouble(QUEUE_OF_SERVER, (("queue", name),))
        elif all_known or hint:
            facts = (("queue", name), ("hint", hint), ("known", tuple(known)))
            yield Trouble(QUEUE_UNKNOWN, facts)


def check_served(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Every queue has workers: Frappe's, the bench's own, and those of placed jobs."""
    primary = primary_of(hosts, settings)
    # Only with all hosts in the run is it known whether a queue has workers.
    if primary is None or not set(settings["groups"].get("all", [])) <= {h["name"] for h in hosts}:
        return
    custom = list(further_queues((primary_jobs(hosts, settings) or {}).get("queues")))
    taken = {host["name"]: served(host, custom) for host in hosts}
    everywhere = set().union(*taken.values())
    name = primary["name"]
    if not everywhere:
        yield NO_WORKERS.found(hosts=list(taken), primary=name)
        return
    for queue in (*reversed(QUEUES), *custom):
        if queue not in everywhere:
            yield QUEUE_WITHOUT_WORKERS.found(queue=queue, hosts=list(taken))
    missing = [q for q in reversed(QUEUES) if q in everywhere and q not in taken[name]]
    if missing and placement_of(hosts) and primary["when_away"] == "primary":
        yield PRIMARY_LACKS_QUEUES.found(primary=name, queues=missing)
    for server, entries in servers_of(placement_of(hosts)).items():
        names = bench_hosts(server, settings)
        if names and not any(PLACED in taken[name] for name in names):
            alone = names == [server]
            kind = HOST_WITHOUT_PLACED_WORKERS if alone else GROUP_WITHOUT_PLACED_WORKERS
            yield kind.found(server=server, hosts=names, entries=entries)


def is_away_time(value: Any) -> bool:
    """Whether a time is within its bounds, or no number: that is reported with the types."""
    try:
        return value is None or AWAY_BOUNDS[0] <= float(value) <= AWAY_BOUNDS[1]
    except (TypeError, ValueError):
        return True


def check_away(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """jobs_away_seconds is within its bounds."""
    least, greatest = AWAY_BOUNDS
    wrong = grouped(
        (host["away_seconds"], host["name"])
        for host in hosts
        if not is_away_time(host["away_seconds"])
    )
    for seconds, names in wrong.items():
        yield AWAY_SECONDS_OUT_OF_BOUNDS.found(
            seconds=seconds, hosts=names, least=least, greatest=greatest
        )


def job_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """Settings of workers that are allowed but have no effect, as messages."""
    servers = servers_of(placement_of(hosts))
    busy = {name for server in servers for name in bench_hosts(server, settings) or []}
    return [
        f"bench_background_workers of {host['name']} has workers for placed jobs, but "
        "jobs_placement puts none there: they are not started"
        for host in hosts
        if isinstance(host["background_workers"], Mapping)
        and host["name"] not in busy
        and any(
            str(key).strip() == PLACED and whole_number(value)
            for key, value in host["background_workers"].items()
        )
    ]
