"""Installs the guard in a process that has Frappe."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import frappe
from benchfleet_jobs import contract
from benchfleet_jobs.hooks import when_imported

from benchfleet_guard import settings
from benchfleet_guard.shared import State
from benchfleet_guard.watch import Watch

# Commands that would write values from a replica that is behind to the shared cache.
CACHE_WRITES = {"SET", "SETEX", "PSETEX", "SETNX", "MSET", "HSET", "HSETNX", "HMSET"}

log = logging.getLogger("benchfleet.read_guard")


def install(*, job: bool = False) -> settings.Settings:
    """Replace frappe.connect_replica, in whatever module frappe.read_only looks it up.

    job: whether this process does background jobs.

    Where this Frappe does not fit the guard, no call reads from a replica: unguarded, it could
    show old data or lose a write.
    """
    given = settings.load()
    if job:
        given = replace(given, job=True, wait=max(given.wait, settings.JOB_WAIT_SECONDS))
    # To the program's error log, like Frappe's messages.
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s read_guard: %(message)s"))
    log.addHandler(handler)
    log.propagate = False
    if not contract.fits("guard"):
        for misfit in contract.misfits("guard"):
            log.error("%s; so %s", misfit, contract.PARTS["guard"])
        _replace(_primary_alone)
        return given
    # Not earlier: it needs what was just checked.
    from benchfleet_guard.database import Guard

    _replace(Guard(given, Watch(State(given.state_dir))).connect_replica)
    when_imported(contract.PREPARED_REPORTS, _read_prepared_reports, "reports")
    when_imported(contract.EMAILED_REPORTS, _read_emailed_reports, "reports")
    when_imported(contract.LISTS, _read_exported_lists)
    if given.reads:
        when_imported(contract.HANDLER, lambda _: _guard_reads(given.reads), "reads")
    if given.reports_pool:
        _pretend_replica()
    if given.policy == "stale":
        _shield_cache()
    return given


def _replace(connect_replica: Callable[[], bool]) -> None:
    home = sys.modules.get(getattr(getattr(frappe, "read_only", None), "__module__", ""), frappe)
    for module in {frappe, home}:
        module.connect_replica = connect_replica


def _primary_alone() -> bool:
    """Stand in for frappe.connect_replica: the call goes on with the connection that it has."""
    return False


def _read_prepared_reports(module: Any) -> None:
    """Let the job of a prepared report read in the same way as a direct call of the report.

    Only the report: its Prepared Report and its file are written on the primary before and after.
    """
    module.generate_report_result = frappe.read_only()(module.generate_report_result)


def _read_emailed_reports(module: Any) -> None:
    """Let e-mailed reports read like direct calls; the e-mails are written on the primary."""
    cls = module.AutoEmailReport
    read = frappe.read_only()(cls.get_report_content)

    @functools.wraps(cls.get_report_content)
    def get_report_content(self: Any) -> Any:
        # Frappe 14 and 15 send all reports of a day in one job. The e-mails before this one, which
        # are not committed yet, would keep the job on the primary.
        if getattr(frappe.local, "job", None):
            frappe.db.commit()
        return read(self)

    cls.get_report_content = get_report_content


def _read_exported_lists(module: Any) -> None:
    """Let the job that exports a list read like the call that exports one at once."""
    if hasattr(module, "run_report_view_export_job"):
        module._export_query = frappe.read_only()(module._export_query)


def _guard_reads(reads: frozenset[str]) -> None:
    """Run these methods as if they were read_only when a request calls them.

    Frappe calls a method by frappe.call, after it has checked whether the user may call it, and by
    which HTTP method. The function that is checked is not changed.
    """
    stock = frappe.call
    guarded = functools.cache(frappe.read_only())

    def call(fn: Any, *args: Any, **kwargs: Any) -> Any:
        name = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', '')}"
        if name in reads and getattr(frappe.local, "request", None):
            fn = guarded(fn)
        return stock(fn, *args, **kwargs)

    frappe.call = call


def _pretend_replica() -> None:
    """Let read_only calls reach connect_replica in a bench that has no replica."""
    stock = frappe.get_site_config

    def get_site_config(*args: Any, **kwargs: Any) -> Any:
        found = stock(*args, **kwargs)
        found["read_from_replica"] = 1
        return found

    frappe.get_site_config = get_site_config


def _stale() -> bool:
    from benchfleet_guard.database import Call

    call = getattr(getattr(frappe.local, "db", None), "call", None)
    return isinstance(call, Call) and call.stale


def _shield_cache() -> None:
    """Keep old data that a call reads out of caches that other calls read."""
    from frappe.utils import redis_wrapper

    stock = redis_wrapper.RedisWrapper.execute_command

    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        if args and args[0] in CACHE_WRITES and _stale():
            return None
        return stock(self, *args, **options)

    redis_wrapper.RedisWrapper.execute_command = execute_command
    # Frappe 16 has a second cache, in the process.
    client = getattr(redis_wrapper, "ClientCache", None)
    if client is not None:
        keep = client.set_value

        def set_value(self: Any, *args: Any, **kwargs: Any) -> Any:
            return None if _stale() else keep(self, *args, **kwargs)

        client.set_value = set_value
