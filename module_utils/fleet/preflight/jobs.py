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

from .job_names import check_names
from .placement import check_placement, check_servers, check_written_twice
from .problems import Host, Problem, Settings
from .workers import check_away, check_served, check_workers

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
