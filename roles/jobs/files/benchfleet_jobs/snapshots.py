"""Snapshot reports (Frappe 16.32 and later) are run on the primary, and so is the job before them.

The job copies whole tables into a DuckDB file among the site's private files, in place and for
minutes, and the reports read that file. DuckDB writes it past Python, and nobody can see from
outside when it is whole; so it is not copied to the reporting nodes. A node's process that comes to
such a report ends what it has begun. The router sends a call on to the primary; a job is put on a
queue that the primary's workers alone serve.
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
    """What this process has begun is the primary's to do.

    No Exception: it is not an error, and Frappe's code must not log it as one.
    """


_threads = threading.local()


def or_elsewhere(
    work: Callable[[], Given], elsewhere: Callable[[], Given], *, call: bool = False
) -> Given:
    """What ``work`` gives; of ``elsewhere``, when that came to something that is the primary's.

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
    """Have the primary answer the call that this thread works on. Of no effect for all else."""
    if getattr(_threads, "is_call", False):
        raise OnPrimary


def stay() -> None:
    """Something of this thread's call is kept, and must not be done once more."""
    _threads.is_call = False


def install() -> None:
    """Leave them to the primary, in every process of a reporting node."""
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
    """Queue a job again, as another one: for RQ, this one ends here."""
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
