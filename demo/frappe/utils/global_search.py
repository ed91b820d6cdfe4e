"""The desk's search over everything. It only reads, and is not read_only, as in the original."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import model
from frappe.permissions import check
from frappe.utils import cint


@frappe.whitelist()
def search(text: str, start: Any = 0, limit: Any = 20, doctype: str = "") -> list[dict[str, Any]]:
    """Return the ToDos whose name or description is the text."""
    check("ToDo")
    rows = [
        row
        for field in ("name", "description")
        for row in model.get_list(
            "ToDo",
            fields=["name", "description"],
            filters={field: text},
            limit=cint(limit),
            limit_start=cint(start),
        )
    ]
    return [{"doctype": "ToDo", "name": row.name, "content": row.description} for row in rows]
