"""A document with what its form needs. Not read_only: a form must show the newest state."""

from __future__ import annotations

import frappe
from frappe.permissions import check


@frappe.whitelist()
def getdoc(doctype: str, name: str) -> None:
    """Put the document into the response's `docs`."""
    check(doctype)
    frappe.local.response["docs"] = [frappe.get_doc(doctype, name)]
