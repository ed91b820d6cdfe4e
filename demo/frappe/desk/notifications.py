"""What the desk polls."""

from __future__ import annotations

from typing import Any

import frappe
from frappe.permissions import check


@frappe.whitelist()
@frappe.read_only()
def get_notifications() -> dict[str, Any]:
    """Return open document counts."""
    return {"open_count_doctype": {"ToDo": frappe.db.count("ToDo", {"status": "Open"})}}


@frappe.whitelist()
@frappe.read_only()
def get_open_count(doctype: str, name: str, items: Any = None) -> dict[str, Any]:
    """Return counts of linked documents; nothing here links."""
    check(doctype)
    return {"count": {}}
