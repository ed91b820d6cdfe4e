"""Snapshot reports (Frappe 16.32 and later) run on the primary, and so does the job for them.

The job copies whole tables into a DuckDB file among the site's private files, in place and for
minutes, and the reports read that file. DuckDB writes it without Python, and no other process can
find out when it is complete; so it is not copied to the reporting nodes. A node's process that
reaches such a report stops. The router then sends the call to the primary; a job is put on a queue
that only the primary's workers serve.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from benchfleet_jobs import contract
from benchfleet_jobs.hooks import when_imported
from benchfleet_jobs.placement import job_name
from benchfleet_jobs.presence import note_given
from benchfleet_jobs.settings import HOME, ON_PRIMARY

JOB = "frappe.core.doctype.duckdb_sync.duckdb_sync.sync_data_to_duckdb"

Given = TypeVar("Given")


class OnPrimary(BaseException):
    """The primary has to do what this process has begun.

    No Exception: it is not an error, and Frappe's code must not log it as one.
    """


_threads = threading.local()


def or_elsewhere(
    work: Callable[[], Given], elsewhere: Callable[[], Given], *, call: bool = False
) -> Given:
    """The result of ``work``, or of ``elsewhere`` when the primary has to do a part of the work.

    call: whether it is a call, which can also leave for another reason: see ``leave``.
    """
    _threads.can_leave, _threads.is_call = True, call
    try:
        return work()
    except OnPrimary:
        return elsewhere()
    finally:
        _threads.can_leave = _threads.is_call = False


def leave() -> None:
    """Have the primary answer this thread's call; does nothing where there is no call."""
    if getattr(_threads, "is_call", False):
        raise OnPrimary


def stay() -> None:
    """Note that this thread's call has effects that stay, so that it must not be repeated."""
    _threads.is_call = False


def install() -> None:
    """Have the primary do them, in every process of a reporting node."""
    when_imported(contract.REPORTS, _leave_reports, "snapshots")
    when_imported("frappe.utils.background_jobs", _leave_jobs, "files")


def _leave_reports(module: Any) -> None:
    stock = getattr(module.Report, "execute_snapshot_report", None)
    if stock is None:
        return

    @functools.wraps(stock)
    def execute_snapshot_report(*args: Any, **options: Any) -> Any:
        if getattr(_threads, "can_leave", False):
            raise OnPrimary
        return stock(*args, **options)

    module.Report.execute_snapshot_report = execute_snapshot_report


def _leave_jobs(module: Any) -> None:
    stock = module.execute_job

    @functools.wraps(stock)
    def execute_job(*args: Any, **options: Any) -> Any:
        from rq import get_current_job

        job = get_current_job()
        # With is_async=0 it runs in the middle of a call, or of another job.
        if job is None or args or not options.get("is_async", True):
            return stock(*args, **options)
        if job_name(options) == JOB:
            return _give_to_primary(job)
        return or_elsewhere(lambda: stock(**options), lambda: _give_to_primary(job))

    module.execute_job = execute_job


def _give_to_primary(job: Any) -> None:
    """Queue a job again, as a new one for RQ; this one ends here."""
    from rq import Queue

    bench, _, origin = job.origin.rpartition(":")
    there = Queue(f"{bench}:{ON_PRIMARY}", connection=job.connection)
    given = there.enqueue_call(
        job.func_name,
        args=job.args,
        kwargs=job.kwargs,
        timeout=job.timeout,
        result_ttl=job.result_ttl,
        failure_ttl=job.failure_ttl,
        description=job.description,
        meta={HOME: origin, **job.meta},
    )
    note_given(job.connection, bench, ON_PRIMARY, given.id)
