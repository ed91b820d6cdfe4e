"""Jobs on RQ queues named <bench_id>:<queue> in redis_queue."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import redis
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job

import frappe
from frappe.utils import cint, get_bench_id

_connections: dict[str, redis.Redis] = {}


def get_queues_timeout() -> dict[str, int]:
    """Return the bench's queues and the seconds a job of each may take."""
    custom = frappe.get_conf().workers or {}
    return {
        "short": 300,
        "default": 300,
        "long": 1500,
        **{name: details.get("timeout", 300) for name, details in custom.items()},
    }


def generate_qname(queue: str) -> str:
    """Return a queue's name in redis."""
    return f"{get_bench_id()}:{queue}"


def get_redis_conn() -> redis.Redis:
    """Return the connection to redis_queue."""
    url = frappe.get_conf().redis_queue
    if url not in _connections:
        _connections[url] = redis.Redis.from_url(url)
    return _connections[url]


def get_queue(queue: str) -> Queue:
    """Return an RQ queue; ValidationError if the bench has none of that name."""
    known = get_queues_timeout()
    if queue not in known:
        frappe.throw(f"Queue should be one of {', '.join(known)}")
    return Queue(generate_qname(queue), connection=get_redis_conn())


def enqueue(
    method: str | Callable,
    queue: str = "default",
    timeout: int | None = None,
    *,
    now: bool = False,
    enqueue_after_commit: bool = False,
    job_id: str | None = None,
    at_front: bool = False,
    **kwargs: Any,
) -> Any:
    """Put a call onto a queue, to run for this site as this user; returns the RQ job.

    method: a dotted name, or a function that the worker finds by its own.
    now: call it here instead. enqueue_after_commit: queue it when the transaction is committed.
    """
    if now:
        return frappe.call(method, **kwargs)
    target = get_queue(queue)
    name = _dotted(method)
    arguments = {
        "site": frappe.local.site,
        "user": frappe.local.session.user,
        "method": method,
        "event": None,
        "job_name": name,
        "is_async": True,
        "kwargs": kwargs,
    }

    def put() -> Job:
        return target.enqueue_call(
            "frappe.utils.background_jobs.execute_job",
            timeout=timeout or get_queues_timeout()[queue],
            kwargs=arguments,
            at_front=at_front,
            job_id=_full_id(job_id or str(uuid4())),
            result_ttl=600,
            failure_ttl=7 * 24 * 3600,
        )

    if enqueue_after_commit:
        frappe.db.after_commit.add(put)
        return None
    return put()


def _dotted(method: str | Callable) -> str:
    if isinstance(method, str):
        return method
    return f"{method.__module__}.{method.__qualname__}"


def _full_id(job_id: str) -> str:
    # RQ takes letters, digits, dashes and underscores only.
    return re.sub(r"[^\w-]", "_", f"{frappe.local.site}||{job_id}")


def is_job_enqueued(job_id: str) -> bool:
    """Return whether a job of that id waits or runs."""
    try:
        job = Job.fetch(_full_id(job_id), connection=get_redis_conn())
    except NoSuchJobError:
        return False
    return job.get_status() in ("queued", "started")


def execute_job(
    site: str,
    method: str | Callable,
    event: str | None = None,
    job_name: str | None = None,
    kwargs: dict[str, Any] | None = None,
    user: str | None = None,
    is_async: bool = True,
) -> Any:
    """Run a job in a worker: commit, or roll back, log and raise."""
    frappe.init(site, force=True)
    try:
        frappe.connect()
        if user:
            frappe.set_user(user)
        name = _dotted(method)
        try:
            function = frappe.get_attr(method) if isinstance(method, str) else method
            result = function(**(kwargs or {}))
        except Exception:
            frappe.db.rollback()
            frappe.log_error(name)
            frappe.db.commit()
            raise
        frappe.db.commit()
        return result
    finally:
        frappe.destroy()


def start_worker(queue: str | None = None, burst: bool = False, quiet: bool = False) -> None:
    """Work on the named queues (comma-separated; all without) until told to stop."""
    with frappe.init_site():
        known = get_queues_timeout()
        names = [name.strip() for name in queue.split(",")] if queue else list(known)
        unknown = [name for name in names if name not in known]
        if unknown:
            sys.exit(f"Queue should be one of {', '.join(known)}, not {', '.join(unknown)}")
        queues = [generate_qname(name) for name in names]
        connection = get_redis_conn()
        niceness = frappe.get_conf().background_process_niceness
    os.nice(10 if niceness is None else cint(niceness))
    worker = Worker(queues, connection=connection)
    worker.work(logging_level="WARNING" if quiet else "INFO", burst=burst)
