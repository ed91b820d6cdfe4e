"""All checks of jobs and workers, and those of the jobs that jobs_placement names.

Of a host these are read:
    name, groups             inventory name, names of its groups
    placement                jobs_placement
    heavy                    jobs_heavy
    background_workers       bench_background_workers
    away_seconds, when_away  jobs_away_seconds, jobs_when_away
    apps                     bench_apps
    survey                   its `jobs`, of the primary: see fleet/bench/jobs.py
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
from .problems import Host, Kind, Problem, Settings
from .workers import check_away, check_served, check_workers

ENTRY = "jobs_placement in the inventory, entry {job!r}"
CORRECT = (
    "correct it, or take it out: a job is a function of an app by its dotted name, or the method"
    " of a scheduled job"
)
JOB_UNKNOWN = Kind(
    "placement_job_unknown", "no installed app has a job {job!r}{hint}", ENTRY, CORRECT
)
PATTERN_WITHOUT_JOBS = Kind(
    "placement_pattern_without_jobs",
    "the pattern {job!r} in jobs_placement matches no job of the installed apps{hint}",
    ENTRY,
    CORRECT,
)
JOB_PLACED_TWICE = Kind(
    "job_placed_twice",
    "two entries in jobs_placement match the same jobs ({jobs}): {one!r} on {server},"
    " {other!r} on {other_server}",
    "jobs_placement in the inventory, entries {one!r} and {other!r}",
    "take one out, or make a pattern narrower: a job has one entry at most",
)


def coming_apps(host: Host, jobs: Mapping[str, Any]) -> list[str]:
    """Apps that bench_apps names and the bench does not have yet."""
    entries = host["apps"] if isinstance(host["apps"], (list, tuple)) else []
    names = [str(e["name"]) for e in entries if isinstance(e, Mapping) and "name" in e]
    return [name for name in names if name not in (jobs.get("apps") or [])]


def job_name_problems(
    placement: Mapping[str, str], jobs: Mapping[str, Any], coming: Iterable[str] = ()
) -> list[Problem]:
    """Entries of jobs_placement that match no job of the bench, and jobs with two entries.

    ``jobs`` is what fleet/bench/jobs.py found there; without a bench the entries are judged by
    themselves. ``coming`` are apps that are still to be installed.
    """
    unknown = unknown_jobs(placement, jobs, set(coming))
    return [*unknown, *double_entries(placement, jobs)]


def unknown_jobs(
    placement: Mapping[str, str], jobs: Mapping[str, Any], coming: set[str]
) -> Iterator[Problem]:
    """Entries that match no job of the bench."""
    for job in placement if jobs.get("known") else ():
        found = (jobs.get("matches") or {}).get(job)
        app = job.partition(".")[0]
        later = coming and (app in coming or is_pattern(app))
        # The methods of server scripts are known from the sites' databases alone.
        unsure = "." not in job and not is_pattern(job) and not jobs.get("scheduled")
        if found is None or found or later or unsure:
            continue
        near = list((jobs.get("near") or {}).get(job) or [])
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        kind = PATTERN_WITHOUT_JOBS if is_pattern(job) else JOB_UNKNOWN
        yield kind.found(job=job, near=near, hint=hint)


def double_entries(placement: Mapping[str, str], jobs: Mapping[str, Any]) -> Iterator[Problem]:
    """Jobs with more than one entry: it is not defined which of them counts."""
    seen = {frozenset(overlap["entries"]): overlap for overlap in jobs.get("overlaps") or []}
    for one, other in itertools.combinations(placement, 2):
        if overlap := seen.get(frozenset((one, other))):
            more = overlap["count"] - 1
            found = overlap["example"] + (f" and {more} more" if more else "")
        elif covers(one, other):
            found = f"all of {other!r}" if is_pattern(other) else other
        elif covers(other, one):
            found = f"all of {one!r}" if is_pattern(one) else one
        else:
            continue
        yield JOB_PLACED_TWICE.found(
            jobs=found,
            one=one,
            server=placement[one],
            other=other,
            other_server=placement[other],
        )


def covers(pattern: str, other: str) -> bool:
    """Whether a pattern surely matches another entry, or all that this one matches.

    Of two patterns that is certain only where the first has no special sign but *, which matches
    the other's signs as well.
    """
    if not is_pattern(pattern) or (is_pattern(other) and any(s in pattern for s in "?[")):
        return False
    return fnmatchcase(other, pattern)


def check_names(hosts: list[Host], settings: Settings) -> list[Problem]:
    """The primary's bench, if there is one yet, has the jobs that jobs_placement names."""
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
    """All problems of jobs_placement and of workers."""
    return [found for check in CHECKS for found in check(hosts, settings)]
