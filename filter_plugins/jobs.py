"""Where jobs run: queues of the servers that jobs are placed on, worker programs, and a judgement.

Pure functions on what the inventory says:
    jobs_placement           {dotted name of a job's method, or a pattern: host or group}
    bench_background_workers a number of processes that share all queues, or {queues: processes}

The judgement is preflight's: it uses the same host dicts and settings (see preflight.py), of a host
    name, groups             inventory name, names of its groups
    placement                jobs_placement, {} when unset
    background_workers       bench_background_workers, "" when unset
    away_seconds             jobs_away_seconds, None when unset
    survey                   with `jobs` as module_utils/jobs.py tells it of the primary
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

Host = Mapping[str, Any]
Problem = dict[str, str]
Settings = Mapping[str, Any]

# Queues of ours, beside those that Frappe knows.
PREFIX = "at-"
# Frappe's own, in the order in which its long workers serve them.
QUEUES = ("long", "default", "short")
# Stands in bench_background_workers for the queues of all jobs that are placed on a host.
PLACED = "placed"
NOT_IN_QUEUES = re.compile(r"[^A-Za-z0-9_.-]")
WORKERS_REMEDY = (
    "write a number of processes, or a map of queues to processes such as"
    " {'short,default': 2, long: 3, placed: 1}"
)


# --- queues and programs -----------------------------------------------------------------------


def queue_name(server: str) -> str:
    """The queue of the jobs that are placed on a host, or on a group of hosts."""
    return PREFIX + NOT_IN_QUEUES.sub("-", server)


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
    """A number of processes, also one written as text; None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]+", value) else None


def queue_list(key: Any) -> list[str]:
    """The queues that a key of bench_background_workers names, in order of preference.

    Raises AnsibleFilterError for a key that names none, or that no queue can be called.
    """
    names = [name.strip() for name in key.split(",")] if isinstance(key, str) else [""]
    if not all(names) or any(NOT_IN_QUEUES.search(name) for name in names):
        raise AnsibleFilterError(
            f"bench_background_workers has an entry {key!r}, which names no queue: write one queue,"
            " or several with commas in order of preference, such as 'short,default'"
        )
    return list(dict.fromkeys(names))


def read_workers(workers: Any) -> int | dict[str, int]:
    """bench_background_workers as a number or a map of numbers.

    Raises AnsibleFilterError for what is neither.
    """
    number = whole_number(workers)
    if number is not None:
        return number
    if not isinstance(workers, Mapping):
        raise AnsibleFilterError(
            f"bench_background_workers is {workers!r}, neither a whole number of 0 or more nor a"
            f" map: {WORKERS_REMEDY}"
        )
    found = {}
    for key, value in workers.items():
        queue_list(key)
        count = whole_number(value)
        if count is None:
            raise AnsibleFilterError(
                f"bench_background_workers has {value!r} processes for {key!r}: write a whole"
                " number of 0 or more"
            )
        found[str(key)] = count
    return found


def custom_queues(custom: Mapping[str, Any] | None) -> dict[str, Any]:
    """The queues that `workers` in common_site_config.json adds to Frappe's; not those of ours."""
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
    between a program for all queues and one for the quick ones; the first gets the larger half, so
    that a single process serves everything.
    Raises AnsibleFilterError for a malformed setting.
    """
    placed = list(dict.fromkeys(placed))
    found = read_workers(workers)
    programs: list[dict[str, Any]] = []

    def add(name: str, queues: Iterable[str], processes: int) -> None:
        queues = list(dict.fromkeys(queues))
        if processes and queues:
            programs.append({"name": name, "queues": queues, "processes": processes})

    if isinstance(found, int):
        add("long", [*placed, "long", "default", "short"], (found + 1) // 2)
        add("short", [*placed, "short", "default"], found // 2)
        for queue, settings in custom_queues(custom).items() if found else ():
            add(queue, [queue], whole_number(settings.get("background_workers")) or 1)
        return programs
    names: dict[str, str] = {}
    for key, processes in found.items():
        queues = queue_list(key)
        name = "-".join(queues)
        if name in names:
            raise AnsibleFilterError(
                f"bench_background_workers has entries {names[name]!r} and {key!r}, whose programs"
                f" would both be called {name}: make one entry of them"
            )
        names[name] = key
        add(name, [q for part in queues for q in (placed if part == PLACED else [part])], processes)
    return programs


def worker_count(workers: Any) -> int:
    """Background processes that bench_background_workers asks for.

    Those of an entry `placed` run only where jobs are placed: programs_count counts what runs.
    """
    found = read_workers(workers)
    return found if isinstance(found, int) else sum(found.values())


def programs_count(programs: Iterable[Mapping[str, Any]]) -> int:
    """Processes of the given worker programs."""
    return sum(program["processes"] for program in programs)


class FilterModule:
    """Filters for jobs and their workers."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names under which Ansible finds the functions."""
        return {
            "queue_name": queue_name,
            "job_queues": job_queues,
            "placed_queues": placed_queues,
            "worker_programs": worker_programs,
            "worker_count": worker_count,
            "programs_count": programs_count,
        }
