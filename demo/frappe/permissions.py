"""Two rules in place of roles: guests get nothing, and some DocTypes are the Administrator's."""

from __future__ import annotations

import frappe

SHARED_DOCTYPES = {"ToDo", "File", "Stock Ledger Entry", "Demo Run", "Prepared Report"}


def check(doctype: str) -> None:
    """Raise PermissionError unless the session's user may use documents of this DocType."""
    user = frappe.local.session.user
    if user == "Administrator" or (user != "Guest" and doctype in SHARED_DOCTYPES):
        return
    raise frappe.PermissionError(f"{user} may not use {doctype}")
