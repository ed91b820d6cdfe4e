"""Scheduled jobs: when each is due, and the run itself."""

from __future__ import annotations

import socket
from datetime import datetime
from typing import Any

import frappe
from frappe.model import Document
from frappe.utils import cron, now, now_datetime
from frappe.utils.background_jobs import enqueue, is_job_enqueued


class ScheduledJobType(Document):
    """One job with its frequency. An app may replace this class to place jobs on other queues."""

    def validate(self) -> None:
        """Refuse what has no time; only All and Cron may run without a log."""
        self.frequency = self.frequency or "Cron"
        self.stopped = self.stopped or 0
        self.create_log = 1 if self.frequency not in ("All", "Cron") else self.create_log or 0
        if self.frequency != "Cron" and self.frequency not in cron.FREQUENCIES:
            raise frappe.ValidationError(f"{self.frequency!r} is no frequency")
        try:
            cron.parse(self.expression)
        except ValueError as error:
            raise frappe.ValidationError(str(error)) from error

    @property
    def expression(self) -> str:
        """Return the cron expression in force."""
        return self.cron_format or cron.FREQUENCIES.get(self.frequency, "")

    @property
    def rq_job_id(self) -> str:
        """Return the id that keeps the job from being queued twice."""
        return f"scheduled_job::{self.name}"

    def is_event_due(self, current_time: datetime | None = None) -> bool:
        """Return whether a run was due since the last one (or since the job was made)."""
        last = self.last_execution or self.creation
        return cron.is_due(self.expression, last, current_time or now_datetime())

    def enqueue(self, force: bool = False) -> bool:
        """Queue the job if it is due and not queued already; return whether it was queued."""
        if not (self.is_event_due() or force) or self.is_job_in_queue():
            return False
        enqueue(
            "frappe.core.doctype.scheduled_job_type.scheduled_job_type.run_scheduled_job",
            queue=self.get_queue_name(),
            job_type=self.method,
            job_id=self.rq_job_id,
            scheduled_job_type=self.name,
        )
        return True

    def is_job_in_queue(self) -> bool:
        """Return whether the job waits or runs already."""
        return is_job_enqueued(self.rq_job_id)

    def get_queue_name(self) -> str:
        """Return the queue: `long` for the Long frequencies, else `default`."""
        return "long" if "Long" in self.frequency else "default"

    def execute(self) -> None:
        """Run the method; a failure ends in the Scheduled Job Log, not in an exception."""
        log = None
        self.db_set("last_execution", now())
        if self.create_log:
            log = frappe.get_doc(
                doctype="Scheduled Job Log",
                scheduled_job_type=self.name,
                status="Start",
                server=socket.gethostname(),
            ).insert()
        frappe.db.commit()
        try:
            frappe.get_attr(self.method)()
            status: dict[str, Any] = {"status": "Complete"}
        except Exception:
            frappe.db.rollback()
            status = {"status": "Failed", "details": frappe.get_traceback()}
        if log:
            frappe.db.set_value("Scheduled Job Log", log.name, status)
        frappe.db.commit()


def run_scheduled_job(scheduled_job_type: str, job_type: str | None = None) -> None:
    """Run one job in a worker."""
    frappe.get_doc("Scheduled Job Type", scheduled_job_type).execute()


def sync_jobs() -> None:
    """Make a Scheduled Job Type of every scheduler_events entry of the site's apps."""
    for events in frappe.get_hooks("scheduler_events"):
        for kind, methods in events.items():
            if kind == "cron":
                for expression, listed in methods.items():
                    for method in listed:
                        _ensure(method, "Cron", expression)
            else:
                for method in methods:
                    _ensure(method, kind.replace("_", " ").title(), None)


def _ensure(method: str, frequency: str, expression: str | None) -> None:
    if not frappe.db.exists("Scheduled Job Type", {"method": method, "frequency": frequency}):
        frappe.get_doc(
            doctype="Scheduled Job Type",
            method=method,
            frequency=frequency,
            cron_format=expression,
            create_log=1,
        ).insert()
