"""What a link field offers. It only reads, and is not read_only, as in the original."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import model
from frappe.permissions import check


@frappe.whitelist()
def search_link(doctype: str, txt: str, query: str | None = None) -> list[dict[str, Any]]:
    """Return documents whose name begins with the text.

    query: dotted name of a whitelisted function that is asked instead, with DocType and text.
    """
    if query:
        frappe.is_whitelisted(frappe.get_attr(query))
        return frappe.call(query, doctype, txt)
    check(doctype)
    rows = model.get_list(doctype, fields=["name"], filters={"name": ["like", f"{txt}%"]}, limit=10)
    return [{"value": row.name, "description": ""} for row in rows]
