"""Lists, counts and exports of the desk, read from the replica."""

from __future__ import annotations

import csv
import io
from typing import Any

import frappe
from frappe import model
from frappe.permissions import check
from frappe.utils import cint

_ARGUMENTS = ("filters", "fields", "order_by", "limit", "limit_start", "limit_page_length")


def _rows(**forced: Any) -> list[Any]:
    form = frappe.local.form_dict
    check(form.doctype)
    arguments = {k: form[k] for k in _ARGUMENTS if form.get(k)}
    if "start" in form:
        arguments["limit_start"] = form["start"]
    if "page_length" in form:
        arguments["limit_page_length"] = form["page_length"]
    return model.get_list(form.doctype, **{**arguments, **forced})


@frappe.whitelist()
@frappe.read_only()
def get() -> dict[str, Any]:
    """Return rows as {"keys", "values"}."""
    rows = _rows()
    if not rows:
        return {}
    return {"keys": list(rows[0]), "values": [list(row.values()) for row in rows], "user_info": {}}


@frappe.whitelist()
@frappe.read_only()
def get_list() -> list[Any]:
    """Return rows as objects."""
    return _rows()


@frappe.whitelist()
@frappe.read_only()
def get_count() -> int:
    """Return how many documents match, at most `limit` where the form has one."""
    total = _rows(fields=["count(*) as total"], limit=0, order_by=None, limit_start=0)[0].total
    most = cint(frappe.local.form_dict.limit)
    return min(total, most) if most else total


@frappe.whitelist()
@frappe.read_only()
def get_stats(stats: Any = None, doctype: str = "", filters: Any = None) -> dict[str, Any]:
    """Return the tag counts of a list; nothing here has tags."""
    check(doctype)
    return {}


@frappe.whitelist()
@frappe.read_only()
def get_sidebar_stats(stats: Any = None, doctype: str = "", filters: Any = None) -> dict[str, Any]:
    """Return the sidebar's counts."""
    check(doctype)
    return {"stats": {}}


@frappe.whitelist()
@frappe.read_only()
def export_query() -> None:
    """Send the rows of a list as CSV."""
    rows = _rows(limit=0)
    as_csv(
        frappe.local.form_dict.doctype, [list(rows[0]) if rows else [], *(r.values() for r in rows)]
    )


def as_csv(name: str, rows: list[Any]) -> None:
    """Make the response a CSV file."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    frappe.local.response.update(type="csv", filename=f"{name}.csv", content=text.getvalue())
