"""Filters on queues and their workers (fleet/bench/queues.py), and on the placement of jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.bench import queues
from fleet.preflight.jobs import job_name_problems, job_problems
from fleet.preflight.workers import job_warnings


class FilterModule:
    """Filters for jobs and their workers."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {
            "queue_name": queues.queue_name,
            "with_heavy": queues.with_heavy,
            "placed_hosts": queues.placed_hosts,
            "heavy_programs": queues.heavy_programs,
            "job_queues": queues.job_queues,
            "placed_queues": queues.placed_queues,
            "worker_programs": queues.worker_programs,
            "worker_count": queues.worker_count,
            "programs_count": queues.programs_count,
            "job_problems": job_problems,
            "job_name_problems": job_name_problems,
            "job_warnings": job_warnings,
        }
