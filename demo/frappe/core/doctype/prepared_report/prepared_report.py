"""Reports made by a job, kept as a private file on the bench whose worker made them."""

from __future__ import annotations

import gzip
import re
from typing import Any

from rq import get_current_job

import frappe
from frappe.desk.query_report import generate_report_result, get_report_doc
from frappe.model import Document
from frappe.utils import now, now_datetime
from frappe.utils.background_jobs import enqueue

REPORT_TIMEOUT = 25 * 60


class PreparedReport(Document):
    """One order for a report: Queued, Started, then Completed or Error."""

    def before_insert(self) -> None:
        """Begin as Queued, whatever was given."""
        self.status = "Queued"

    def after_insert(self) -> None:
        """Have it made once the row is there for the worker to read."""
        enqueue(
            generate_report,
            queue="long",
            timeout=REPORT_TIMEOUT,
            enqueue_after_commit=True,
            prepared_report=self.name,
        )

    def get_prepared_data(self) -> bytes:
        """Return the JSON from this bench's disk; FileNotFoundError if it is not there."""
        filters = {"attached_to_doctype": self.doctype, "attached_to_name": self.name}
        return gzip.decompress(frappe.get_doc("File", filters).get_content())


@frappe.whitelist()
def make_prepared_report(report_name: str, filters: Any = None) -> dict[str, str]:
    """Order a report; returns the Prepared Report's name. An unknown report is a job's error."""
    text = filters if isinstance(filters, str) else frappe.as_json(filters or {}, None)
    doc = frappe.get_doc(doctype="Prepared Report", report_name=report_name, filters=text)
    return {"name": doc.insert().name}


def generate_report(prepared_report: str) -> None:
    """Make one in a worker. It reads from the primary: read_only is for requests' functions."""
    job = get_current_job()
    started = {"status": "Started", "job_id": job.id if job else None}
    frappe.db.set_value("Prepared Report", prepared_report, started)
    frappe.db.commit()
    doc = frappe.get_doc("Prepared Report", prepared_report)
    try:
        report = get_report_doc(doc.report_name)
        result = generate_report_result(report=report, filters=doc.filters, user=doc.owner)
        create_json_gz_file(result, doc.doctype, doc.name, doc.report_name)
        doc.status = "Completed"
    except Exception:
        # Kept fault: no rollback, so what a failed report wrote is committed with its error.
        doc.update(status="Error", error_message=frappe.get_traceback())
    doc.report_end_time = now()
    doc.save()


def create_json_gz_file(data: Any, dt: str, dn: str, report_name: str) -> None:
    """Attach data to a document as a private file of gzipped JSON."""
    stem = re.sub(r"[ -]", "_", report_name.lower())
    frappe.get_doc(
        doctype="File",
        file_name=f"{stem}_{now_datetime():%Y-%m-%d-%H-%M}.json.gz",
        content=gzip.compress(frappe.as_json(data, None).encode()),
        is_private=1,
        attached_to_doctype=dt,
        attached_to_name=dn,
    ).insert()


@frappe.whitelist()
def download_attachment(dn: str) -> None:
    """Send a report's JSON, from this bench's disk; its owner and the Administrator may ask."""
    doc = frappe.get_doc("Prepared Report", dn)
    if frappe.local.session.user not in ("Administrator", doc.owner):
        raise frappe.PermissionError(f"{dn} is somebody else's")
    frappe.local.response.update(
        type="binary", filename=f"{dn}.json", filecontent=doc.get_prepared_data()
    )
