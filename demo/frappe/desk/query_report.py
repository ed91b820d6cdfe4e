"""Reports, read from the replica."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import frappe
from frappe.core.doctype.report.report import Report
from frappe.desk.reportview import as_csv
from frappe.exceptions import DoesNotExistError
from frappe.utils import cint

Result = tuple[list[str], list[list[Any]]]


def _todo(filters: dict[str, Any]) -> Result:
    rows = frappe.get_all(
        "ToDo", fields=["name", "status", "priority", "description"], order_by="creation desc"
    )
    return ["name", "status", "priority", "description"], [list(row.values()) for row in rows]


def _stock(filters: dict[str, Any]) -> Result:
    rows = frappe.db.sql(
        "SELECT item_code, warehouse, sum(actual_qty), sum(actual_qty * valuation_rate), "
        "count(*) FROM `tabStock Ledger Entry` GROUP BY item_code, warehouse ORDER BY 4 DESC",
        as_list=True,
    )
    return ["item_code", "warehouse", "qty", "value", "entries"], rows


def _slow(filters: dict[str, Any]) -> Result:
    seconds = min(max(cint(filters.get("seconds"), 5), 0), 60)
    rows = frappe.db.sql(
        "SELECT sleep(%s), count(*), @@server_id FROM `tabStock Ledger Entry`", seconds
    )
    return ["interrupted", "entries", "server_id"], [list(row) for row in rows]


def _writing(filters: dict[str, Any]) -> Result:
    doc = frappe.get_doc(doctype="ToDo", description="written by a report").insert()
    return ["name"], [[doc.name]]


def _where(filters: dict[str, Any]) -> Result:
    rows = frappe.db.sql("SELECT @@server_id, @@hostname, @@read_only", as_list=True)
    columns = ["server_id", "hostname", "read_only", "bench_hostname"]
    return columns, [[*rows[0], socket.gethostname()]]


REPORTS: dict[str, Callable[[dict[str, Any]], Result]] = {
    "ToDo": _todo,
    "Stock Ledger": _stock,
    "Stock Balance": _stock,
    "Slow Report": _slow,
    "Writing Report": _writing,
    "Where": _where,
}
# Run by a job, as in ERPNext 15; and on the copy that a job has made, as a site may choose.
PREPARED, SNAPSHOTS = {"Stock Balance"}, {"Stock Snapshot"}


def get_report_doc(report_name: str) -> Report:
    """Return a report; DoesNotExistError if there is none."""
    if report_name not in {*REPORTS, *SNAPSHOTS}:
        raise DoesNotExistError(f"Report {report_name} not found")
    return Report(
        doctype="Report",
        name=report_name,
        report_type="Script Report",
        prepared_report=int(report_name in PREPARED),
        snapshot_report=int(report_name in SNAPSHOTS),
    )


def generate_report_result(
    report: Report,
    filters: Any = None,
    user: str | None = None,
    custom_columns: Any = None,
    is_tree: bool = False,
    parent_field: str | None = None,
) -> dict[str, Any]:
    """Run a report through the connection at hand, whichever that is."""
    run_it = report.execute_snapshot_report if report.snapshot_report else REPORTS[report.name]
    columns, result = run_it(_filters(filters))
    return {"columns": columns, "result": result, "add_total_row": 0}


@frappe.whitelist()
@frappe.read_only()
def run(
    report_name: str,
    filters: Any = None,
    user: str | None = None,
    ignore_prepared_report: Any = False,
    custom_columns: Any = None,
) -> dict[str, Any]:
    """Run a report. Its errors are logged through the replica's connection, and so masked."""
    report = get_report_doc(report_name)
    try:
        if report.prepared_report and not cint(ignore_prepared_report):
            return get_prepared_report_result(_filters(filters).get("prepared_report_name"))
        return generate_report_result(report, filters, user, custom_columns)
    except Exception:
        frappe.log_error("Report Error")
        raise


def get_prepared_report_result(name: str | None) -> dict[str, Any]:
    """Return what a job has made, of a Prepared Report.

    What keeps it from being read is a message to the user and an Error Log, not an error.
    """
    doc = frappe.get_doc("Prepared Report", name) if name else None
    data: dict[str, Any] = {}
    if doc:
        try:
            data = json.loads(doc.get_prepared_data())
        except Exception as error:
            frappe.log_error("Prepared report render failed")
            frappe.local.message_log.append(f"Prepared report render failed: {error}")
            doc = None
    return {**data, "prepared_report": True, "doc": doc}


@frappe.whitelist()
def get_script(report_name: str) -> dict[str, Any]:
    """Return what the desk shows a report with; nothing here."""
    return {"script": "", "html_format": None, "execution_time": 0}


@frappe.whitelist()
def export_query() -> None:
    """Send a report as CSV. Not read_only itself; the report it runs is."""
    form = frappe.local.form_dict
    data = run(form.report_name, filters=form.filters)
    as_csv(form.report_name, [data["columns"], *data["result"]])


def _filters(value: Any) -> dict[str, Any]:
    return json.loads(value) if isinstance(value, str) and value else value or {}
