"""Placed jobs go to queues that only the chosen server's workers serve."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

from benchfleet_jobs import contract
from benchfleet_jobs.beats import is_served
from benchfleet_jobs.hooks import when_imported
from benchfleet_jobs.presence import note_given
from benchfleet_jobs.settings import HEAVY, HOME, PREFIX, load

# Frappe always queues this function, with the job among its arguments.
ENTRY = "frappe.utils.background_jobs.execute_job"
SCHEDULED = ".run_scheduled_job"

# The name that verify sets, for one process, to find out where that job would run.
pretended: str | None = None


def job_name(arguments: Mapping[str, Any]) -> str:
    """Dotted name of the job that a call of execute_job runs; of a scheduled job, its method."""
    method: Any = arguments.get("method")
    name = method if isinstance(method, str) else f"{method.__module__}.{method.__qualname__}"
    if name.endswith(SCHEDULED):
        return str((arguments.get("kwargs") or {}).get("job_type") or name)
    return name


def is_entry(function: Any) -> bool:
    """Whether this is Frappe's function for jobs, by name or, as some callers pass, itself."""
    if callable(function):
        function = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
    return bool(function == ENTRY)


def queue_of(name: str, placement: Mapping[str, str]) -> str | None:
    """The queue of a job, by its name; None for one that is not placed."""
    if name in placement:
        return placement[name]
    return next((q for pattern, q in placement.items() if fnmatchcase(name, pattern)), None)


def install(path: str) -> None:
    """Send placed jobs to their queues, in every process that queues jobs."""
    when_imported("rq.queue", lambda module: _place(module, path), "jobs")
    when_imported(contract.SCHEDULED, _never_twice_in_a_period, "scheduler")


def _place(module: ModuleType, path: str) -> None:
    stock = module.Queue.enqueue_call

    @functools.wraps(stock)
    def enqueue_call(self: Any, func: Any, *args: Any, **options: Any) -> Any:
        settings = load(path)
        arguments = options.get("kwargs")
        if not is_entry(func) or settings is None or not isinstance(arguments, Mapping):
            return stock(self, func, *args, **options)
        queue = queue_of(pretended or job_name(arguments), settings.placement)
        bench, _, home = self.name.rpartition(":")
        if queue is None or home.startswith(PREFIX) or not _may_be_placed(arguments):
            return stock(self, func, *args, **options)
        if queue == HEAVY and not is_served(self.connection, bench, queue):
            # It does not wait for a reporting node, because the primary can do it, too.
            return stock(self, func, *args, **options)
        # Its time-out is that of its own queue and stays.
        options["meta"] = {**(options.get("meta") or {}), HOME: home}
        there = type(self)(f"{bench}:{queue}", connection=self.connection, is_async=self._is_async)
        _know(queue)
        job = stock(there, func, *args, **options)
        note_given(self.connection, bench, queue, job.id)
        return job

    module.Queue.enqueue_call = enqueue_call


def _may_be_placed(arguments: Mapping[str, Any]) -> bool:
    """Whether the nodes' workers, which have the same code, run such a job correctly."""
    scheduled = str(arguments.get("method")).endswith(SCHEDULED)
    return contract.fits("jobs", "files") and (not scheduled or contract.fits("scheduler"))


def _know(queue: str) -> None:
    """Have this process know a queue that was added after its start: Frappe caches the list."""
    jobs = sys.modules.get("frappe.utils.background_jobs")
    timeouts: Any = getattr(jobs, "get_queues_timeout", None)
    if hasattr(timeouts, "cache_clear") and queue not in timeouts():
        timeouts.cache_clear()


def _never_twice_in_a_period(module: ModuleType) -> None:
    """Keep the scheduler from queueing a job again that ran after its last run was read.

    The scheduler reads all jobs first, then checks for each whether it is queued: one that waited
    (for a server that was down, for example) and ran in between looks as if it were due.
    """
    cls = module.ScheduledJobType
    stock = cls.is_job_in_queue

    @functools.wraps(stock)
    def is_job_in_queue(self: Any) -> bool:
        return stock(self) or _ran_meanwhile(self)

    cls.is_job_in_queue = is_job_in_queue


def _ran_meanwhile(job: Any) -> bool:
    import frappe
    from frappe.utils import get_datetime

    # A locking read sees what was committed after this transaction's snapshot.
    found = frappe.db.sql(
        "SELECT last_execution FROM `tabScheduled Job Type` WHERE name = %s LOCK IN SHARE MODE",
        (job.name,),
    )
    if not getattr(frappe.db, "transaction_writes", 0):
        # The job's own run waits for this row.
        frappe.db.commit()
    if not found or found[0][0] is None:
        return False
    known = job.last_execution
    return known is None or get_datetime(found[0][0]) > get_datetime(known)
