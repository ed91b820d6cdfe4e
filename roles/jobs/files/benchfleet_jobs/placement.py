"""A job that is placed on a server is queued where only that server's workers look."""

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

# What Frappe puts onto a queue, always: the job itself is among its arguments.
ENTRY = "frappe.utils.background_jobs.execute_job"
SCHEDULED = ".run_scheduled_job"

# Set by verify for the one process that tries where a job would run: the name to be taken for.
pretended: str | None = None


def job_name(arguments: Mapping[str, Any]) -> str:
    """Dotted name of the job that a call of execute_job runs; of a scheduled job, its method."""
    method: Any = arguments.get("method")
    name = method if isinstance(method, str) else f"{method.__module__}.{method.__qualname__}"
    if name.endswith(SCHEDULED):
        return str((arguments.get("kwargs") or {}).get("job_type") or name)
    return name


def is_entry(function: Any) -> bool:
    """Whether RQ is given a job of Frappe's, by name or, as some callers do, as the function."""
    if callable(function):
        function = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
    return bool(function == ENTRY)


def queue_of(name: str, placement: Mapping[str, str]) -> str | None:
    """Queue of a job by its name; None for one that is not placed."""
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
            # It need not wait for a reporting node: the primary can do it, too.
            return stock(self, func, *args, **options)
        # Its time-out was chosen by its own queue and stays.
        options["meta"] = {**(options.get("meta") or {}), HOME: home}
        there = type(self)(f"{bench}:{queue}", connection=self.connection, is_async=self._is_async)
        _know(queue)
        job = stock(there, func, *args, **options)
        note_given(self.connection, bench, queue, job.id)
        return job

    module.Queue.enqueue_call = enqueue_call


def _may_be_placed(arguments: Mapping[str, Any]) -> bool:
    """Whether the nodes' workers, who have the same code, do such a job as it has to be done."""
    scheduled = str(arguments.get("method")).endswith(SCHEDULED)
    return contract.fits("jobs", "files") and (not scheduled or contract.fits("scheduler"))


def _know(queue: str) -> None:
    """Let this process list a queue that was named after its start: Frappe remembers its list."""
    jobs = sys.modules.get("frappe.utils.background_jobs")
    timeouts: Any = getattr(jobs, "get_queues_timeout", None)
    if hasattr(timeouts, "cache_clear") and queue not in timeouts():
        timeouts.cache_clear()


def _never_twice_in_a_period(module: ModuleType) -> None:
    """Keep the scheduler from queueing again what ran since it read when that ran last.

    It reads all jobs first, then asks for each whether it is queued: one that waited (for a server
    that was away, say) and ran between the two looks as if it were due.
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
