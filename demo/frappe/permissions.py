"""Three rules in place of roles: for guests, for what is the Administrator's, and for ToDos."""

from __future__ import annotations

import frappe

SHARED_DOCTYPES = {"ToDo", "File", "Stock Ledger Entry", "Demo Run", "Prepared Report"}


def check(doctype: str) -> None:
    """Raise PermissionError unless the session's user may use documents of this DocType."""
    user = frappe.local.session.user
    if user == "Administrator" or (user != "Guest" and doctype in SHARED_DOCTYPES):
        return
    raise frappe.PermissionError(f"{user} may not use {doctype}")


def check_delete(doctype: str, name: str) -> None:
    """Raise PermissionError unless the session's user may delete this document.

    A ToDo is deleted by who assigned it or was given it, as the framework's own rule has it.
    """
    check(doctype)
    user = frappe.local.session.user
    if doctype != "ToDo" or user == "Administrator":
        return
    doc = frappe.get_doc(doctype, name)
    if user not in (doc.get("allocated_to"), doc.get("assigned_by")):
        raise frappe.PermissionError(f"{user} may not delete {doctype} {name}")
