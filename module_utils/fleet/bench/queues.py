"""Queues of the servers that jobs are placed on, and the worker programs that serve them.

Pure functions on what the inventory says:
    jobs_placement           {dotted name of a job's method, or a pattern: host or group}
    jobs_heavy               where heavy jobs run that it does not name: reporting or primary
    bench_background_workers a number of processes that share all queues, or {queues: processes}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ..preflight.problems import Kind, Problem

# Begins the names of the fleet's own queues, beside Frappe's.
PREFIX = "at-"
# Frappe's own queues, in the order in which its long workers serve them.
QUEUES = ("long", "default", "short")
# Jobs that read much and write little, of Frappe 14 to 17; a bench has some of them.
HEAVY_JOBS = (
    "frappe.core.doctype.prepared_report.prepared_report.generate_report",
    "frappe.desk.query_report.run_export_query_job",
    "frappe.desk.reportview.run_report_view_export_job",
    "frappe.email.doctype.auto_email_report.auto_email_report.process_auto_email_report",
    "frappe.email.doctype.auto_email_report.auto_email_report.send_daily",
    "frappe.email.doctype.auto_email_report.auto_email_report.send_monthly",
)
# The server of heavy jobs: any reporting node that is free, or else the primary.
ANY_REPORTING = "heavy"
# Its queue, which every reporting node serves.
HEAVY = f"{PREFIX}{ANY_REPORTING}"
# Stands in bench_background_workers for the queues of all jobs that are placed on a host.
PLACED = "placed"
NOT_IN_QUEUES = re.compile(r"[^A-Za-z0-9_.-]")

WORKERS_PLACE = "bench_background_workers in the inventory, for {hosts}"
WORKERS_MALFORMED = Kind(
    "workers_malformed",
    "bench_background_workers is {workers}, neither a whole number of 0 or more nor a map",
    WORKERS_PLACE,
    "write a number of processes, or a map of queues to processes such as"
    " {{'short,default': 2, long: 3, placed: 1}}",
)
WORKERS_WITHOUT_QUEUE = Kind(
    "workers_without_queue",
    "bench_background_workers has an entry {entry}, which names no queue",
    WORKERS_PLACE,
    "write one queue, or several with commas in order of preference, such as 'short,default'",
)
WORKERS_NOT_COUNTED = Kind(
    "workers_not_counted",
    "bench_background_workers has {processes} processes for {entry}",
    WORKERS_PLACE,
    "write a whole number of 0 or more",
)
WORKERS_TWICE = Kind(
    "workers_twice",
    "bench_background_workers names the same queues twice: {entries}",
    WORKERS_PLACE,
    "make one entry of them",
)


class Trouble(NamedTuple):
    """What is wrong with a bench_background_workers, as several hosts may have it."""

    kind: Kind
    facts: tuple[tuple[str, str | tuple[str, ...]], ...]

    def of(self, hosts: list[str]) -> Problem:
        """The problem of these hosts."""
        facts = {name: list(fact) if isinstance(fact, tuple) else fact for name, fact in self.facts}
        return self.kind.found(**facts, hosts=hosts)


class WorkersError(ValueError):
    """A bench_background_workers is malformed; problem says how, as preflight shows it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem['what']}: {problem['remedy']}")
        self.problem = problem


def is_pattern(job: str) -> bool:
    """Whether an entry of jobs_placement is a pattern rather than the name of one job."""
    return any(sign in job for sign in "*?[")


def queue_name(server: str) -> str:
    """The queue of the jobs that are placed on a host, or on a group of hosts."""
    return PREFIX + NOT_IN_QUEUES.sub("-", server)


def with_heavy(placement: Mapping[str, str], reporting: bool) -> dict[str, str]:
    """jobs_placement and, with ``reporting``, the heavy jobs that none of its entries matches."""
    named = [str(entry) for entry in placement]
    rest = [job for job in HEAVY_JOBS if not any(fnmatchcase(job, entry) for entry in named)]
    return {**placement, **dict.fromkeys(rest if reporting else (), ANY_REPORTING)}


def placed_hosts(
    placement: Mapping[str, str], groups: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """The hosts that are to run the jobs of each of the fleet's queues, by queue.

    ``placement`` is what with_heavy returns, ``groups`` are the inventory's.
    """
    servers = {**groups, ANY_REPORTING: groups.get("bench_reporting", [])}
    return {queue_name(s): servers.get(s, [s]) for s in map(str, placement.values())}


def heavy_programs(placement: Mapping[str, str]) -> list[dict[str, Any]]:
    """The worker program of a reporting node for heavy jobs; [] where no job counts as heavy."""
    heavy = ANY_REPORTING in placement.values()
    return [{"name": HEAVY, "queues": [HEAVY], "processes": 1}] if heavy else []


def job_queues(placement: Mapping[str, str]) -> dict[str, str]:
    """The queue of each job or pattern, in the order of jobs_placement."""
    return {str(job): queue_name(str(server)) for job, server in placement.items()}


def placed_queues(placement: Mapping[str, str], host: str, group_names: Iterable[str]) -> list[str]:
    """The queues of placed jobs that a host serves: its own first, then its groups', sorted."""
    named = {str(server) for server in placement.values()}
    own = {queue_name(host)} if host in named else set()
    groups = {queue_name(group) for group in group_names if group in named}
    return sorted(own) + sorted(groups - own)


def whole_number(value: Any) -> int | None:
    """A number of processes, which may be written as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]+", value) else None


def queue_list(key: Any) -> list[str]:
    """The queues that a key of bench_background_workers names, in order of preference.

    [] where it names none, or one with a character that no queue's name has.
    """
    names = [name.strip() for name in key.split(",")] if isinstance(key, str) else [""]
    good = all(names) and not any(NOT_IN_QUEUES.search(name) for name in names)
    return list(dict.fromkeys(names)) if good else []


def shape_troubles(workers: Any) -> Iterator[Trouble]:
    """What is wrong with the form of a bench_background_workers."""
    if whole_number(workers) is not None:
        return
    if not isinstance(workers, Mapping):
        yield Trouble(WORKERS_MALFORMED, (("workers", repr(workers)),))
        return
    programs: dict[str, list[str]] = {}
    for key, value in workers.items():
        if names := queue_list(key):
            programs.setdefault("-".join(names), []).append(repr(str(key)))
        else:
            yield Trouble(WORKERS_WITHOUT_QUEUE, (("entry", repr(key)),))
        if whole_number(value) is None:
            facts = (("entry", repr(key)), ("processes", repr(value)))
            yield Trouble(WORKERS_NOT_COUNTED, facts)
    for keys in programs.values():
        if len(keys) > 1:
            yield Trouble(WORKERS_TWICE, (("entries", tuple(keys)),))


def read_workers(workers: Any) -> int | dict[str, int]:
    """bench_background_workers as a number or a map of numbers. Raises WorkersError."""
    for trouble in shape_troubles(workers):
        raise WorkersError(trouble.of([]))
    number = whole_number(workers)
    if number is not None:
        return number
    return {str(key): whole_number(value) or 0 for key, value in workers.items()}


def further_queues(custom: Mapping[str, Any] | None) -> dict[str, Any]:
    """Queues that `workers` in common_site_config.json adds to Frappe's; none of the fleet's."""
    return {
        str(name): settings if isinstance(settings, Mapping) else {}
        for name, settings in (custom or {}).items()
        if not str(name).startswith(PREFIX) and name not in QUEUES
    }


def worker_programs(
    workers: Any, placed: Iterable[str], custom: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The worker programs of a host: {name, queues, processes} each, with one process or more.

    ``workers`` is bench_background_workers, ``placed`` the queues of the jobs placed on this host
    (see placed_queues), ``custom`` the `workers` of common_site_config.json. A number is shared
    between a program for all queues and one for the quick ones. The first gets the larger half, so
    that a single process serves all queues.
    Raises WorkersError.
    """
    placed = list(dict.fromkeys(placed))
    found = read_workers(workers)
    if isinstance(found, int):
        wanted = [
            ("long", [*placed, "long", "default", "short"], (found + 1) // 2),
            ("short", [*placed, "short", "default"], found // 2),
        ]
        for queue, settings in further_queues(custom).items() if found else ():
            wanted.append((queue, [queue], whole_number(settings.get("background_workers")) or 1))
    else:
        wanted = []
        for key, processes in found.items():
            names = queue_list(key)
            queues = [q for name in names for q in (placed if name == PLACED else [name])]
            wanted.append(("-".join(names), queues, processes))
    return [
        {"name": name, "queues": list(dict.fromkeys(queues)), "processes": processes}
        for name, queues, processes in wanted
        if processes and queues
    ]


def worker_count(workers: Any) -> int:
    """Background processes that bench_background_workers asks for.

    Those of an entry `placed` run only where jobs are placed; programs_count counts what runs.
    """
    found = read_workers(workers)
    return found if isinstance(found, int) else sum(found.values())


def programs_count(programs: Iterable[Mapping[str, Any]]) -> int:
    """Processes of the given worker programs."""
    return sum(program["processes"] for program in programs)
