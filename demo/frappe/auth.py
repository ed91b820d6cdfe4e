"""The user of a request."""

from __future__ import annotations

import frappe


@frappe.whitelist(allow_guest=True)
def get_logged_user() -> str:
    """Return the session's user; a guest is refused."""
    if frappe.local.session.user == "Guest":
        raise frappe.PermissionError("Not signed in")
    return frappe.local.session.user
