"""The remote procedure calls of API clients. None of them is read_only, as in the original."""

from __future__ import annotations

import json
from typing import Any

import frappe
from frappe import model
from frappe.permissions import check, check_delete


@frappe.whitelist()
def get_list(
    doctype: str,
    fields: Any = None,
    filters: Any = None,
    order_by: str | None = None,
    limit_start: Any = None,
    limit_page_length: Any = 20,
) -> list[Any]:
    """Return matching rows."""
    check(doctype)
    return model.get_list(
        doctype,
        filters=filters,
        fields=fields,
        order_by=order_by,
        limit_start=limit_start,
        limit_page_length=limit_page_length,
    )


@frappe.whitelist()
def get_count(doctype: str, filters: Any = None) -> int:
    """Return how many documents match."""
    check(doctype)
    return frappe.db.count(doctype, filters)


@frappe.whitelist()
def get(doctype: str, name: str) -> Any:
    """Return a document."""
    check(doctype)
    return frappe.get_doc(doctype, name)


@frappe.whitelist(methods=["POST", "PUT"])
def insert(doc: Any = None) -> Any:
    """Add a document given as JSON or an object."""
    fields = json.loads(doc) if isinstance(doc, str) else dict(doc)
    check(fields["doctype"])
    return frappe.get_doc(fields).insert()


@frappe.whitelist(methods=["POST", "PUT"])
def set_value(doctype: str, name: str, fieldname: Any, value: Any = None) -> Any:
    """Set fields of a document and save it."""
    check(doctype)
    doc = frappe.get_doc(doctype, name)
    doc.update(fieldname if isinstance(fieldname, dict) else {fieldname: value})
    return doc.save()


@frappe.whitelist(methods=["DELETE", "POST"])
def delete(doctype: str, name: str) -> None:
    """Delete a document."""
    check_delete(doctype, name)
    frappe.delete_doc(doctype, name)
