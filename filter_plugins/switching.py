"""Filters of role switch: who may become the primary; fleet/switching decides."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.filters import named
from fleet.switching import evidence, prechecks, records

FILTERS: dict[str, Callable[..., Any]] = {
    "ahead_of": evidence.ahead_of,
    "failover_problems": evidence.failover_problems,
    "fenced": evidence.fenced,
    "files_since": evidence.files_since,
    "furthest_of": evidence.position,
    "jobs_at_work": evidence.jobs_at_work,
    "kept_files": evidence.kept_files,
    "may_lose": evidence.may_lose,
    "moved_problem": records.moved_problem,
    "opening_hosts": records.opening,
    "receives_from": evidence.receives,
    "returned_problems": evidence.returned_problems,
    "standby_of": records.standby_of,
    "switch_judged": records.judged,
    "switch_problems": prechecks.switch_problems,
    "switching_text": records.switching_text,
}


class FilterModule:
    """Filters of role switch, and of role fleet for the standby."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return named(FILTERS)
