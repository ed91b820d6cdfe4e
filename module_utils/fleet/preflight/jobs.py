"""Where jobs shall run, and who does them: all that is wrong with it.

Of a host these are read:
    name, groups             inventory name, names of its groups
    placement                jobs_placement
    heavy                    jobs_heavy
    background_workers       bench_background_workers
    away_seconds, when_away  jobs_away_seconds, jobs_when_away
    apps                     bench_apps
    survey                   with `jobs` as fleet/bench/jobs.py tells it of the primary
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ..bench.queues import is_pattern
from .placement import (
    check_placement,
    check_servers,
    check_written_twice,
    placement_of,
    primary_jobs,
    primary_of,
)
from .problems import Host, Problem, Settings, problem
from .workers import check_away, check_served, check_workers


def coming_apps(host: Host, jobs: Mapping[str, Any]) -> list[str]:
    """Apps that bench_apps names and the bench does not have yet."""
    entries = host["apps"] if isinstance(host["apps"], (list, tuple)) else []
    names = [str(e["name"]) for e in entries if isinstance(e, Mapping) and "name" in e]
    return [name for name in names if name not in (jobs.get("apps") or [])]


def job_name_problems(
    placement: Mapping[str, str], jobs: Mapping[str, Any], coming: Iterable[str] = ()
) -> list[Problem]:
    """Every entry of jobs_placement means a job of the bench, and no job has two entries.

    ``jobs`` is what fleet/bench/jobs.py found there; where no bench was, only what the entries
    say by themselves is judged. ``coming`` are apps that are still to be installed.
    """
    unknown = unknown_jobs(placement, jobs, set(coming))
    return [*unknown, *double_entries(placement, jobs)]


def unknown_jobs(
    placement: Mapping[str, str], jobs: Mapping[str, Any], coming: set[str]
) -> Iterator[Problem]:
    """Entries that mean no job of the bench."""
    for job in placement if jobs.get("known") else ():
        found = (jobs.get("matches") or {}).get(job)
        app = job.partition(".")[0]
        later = coming and (app in coming or is_pattern(app))
        # Without the sites' databases nobody knows the methods of server scripts.
        unsure = "." not in job and not is_pattern(job) and not jobs.get("scheduled")
        if found is None or found or later or unsure:
            continue
        near = ", ".join((jobs.get("near") or {}).get(job) or [])
        yield problem(
            f"the pattern {job!r} in jobs_placement matches no job of the installed apps"
            if is_pattern(job)
            else f"no installed app has a job {job!r}"
            + (f"; did you mean {near}?" if near else ""),
            f"jobs_placement in the inventory, entry {job!r}",
            "correct it, or take it out: a job is a function of an app by its dotted name, or "
            "the method of a scheduled job",
        )


def double_entries(placement: Mapping[str, str], jobs: Mapping[str, Any]) -> Iterator[Problem]:
    """Jobs with more than one entry: nothing says which would count."""
    seen = {frozenset(overlap["entries"]): overlap for overlap in jobs.get("overlaps") or []}
    for one, other in itertools.combinations(placement, 2):
        if overlap := seen.get(frozenset((one, other))):
            more = overlap["count"] - 1
            who = overlap["example"]
            who += f" and {more} more job{'s' if more > 1 else ''} have" if more else " has"
        elif covers(one, other):
            who = f"every job of {other!r} has" if is_pattern(other) else f"{other} has"
        elif covers(other, one):
            who = f"every job of {one!r} has" if is_pattern(one) else f"{one} has"
        else:
            continue
        yield problem(
            f"{who} two entries in jobs_placement: {one!r} on {placement[one]} and {other!r} "
            f"on {placement[other]}",
            f"jobs_placement in the inventory, entries {one!r} and {other!r}",
            "take one out, or make a pattern narrower: a job has one entry at most",
        )


def covers(pattern: str, other: str) -> bool:
    """Whether a pattern surely matches another entry, or all that this one matches.

    Of two patterns that is only said where the first has no sign but *: what the other's signs
    stand for is then matched with them.
    """
    if not is_pattern(pattern) or (is_pattern(other) and any(s in pattern for s in "?[")):
        return False
    return fnmatchcase(other, pattern)


def check_names(hosts: list[Host], settings: Settings) -> list[Problem]:
    """What jobs_placement names is in the bench of the primary, if there is one yet."""
    jobs = primary_jobs(hosts, settings) or {}
    primary = primary_of(hosts, settings)
    coming = coming_apps(primary, jobs) if primary else []
    return job_name_problems(placement_of(hosts), jobs, coming)


CHECKS = (
    check_written_twice,
    check_placement,
    check_servers,
    check_names,
    check_workers,
    check_served,
    check_away,
)


def job_problems(hosts: list[Host], settings: Settings) -> list[Problem]:
    """All that is wrong with where jobs shall run; [] when nothing is."""
    return [found for check in CHECKS for found in check(hosts, settings)]
