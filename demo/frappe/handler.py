"""Calls of whitelisted methods, and those with a bare name: logout, ping, uploads."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import sessions
from frappe.exceptions import ValidationError

ping = frappe.ping


def execute_cmd(cmd: str) -> Any:
    """Call the method with this dotted or bare name, if the user may; returns what it returns."""
    try:
        function = frappe.get_attr(cmd)
    except (ImportError, AttributeError, ValueError) as error:
        frappe.throw(f"Failed to get method for command {cmd} with {error}")
    frappe.is_whitelisted(function)
    frappe.local.ran.append(f"{function.__module__}.{function.__qualname__}")
    return frappe.call(function, **frappe.local.form_dict)


@frappe.whitelist(allow_guest=True)
def logout() -> None:
    """End the session."""
    if frappe.local.session.sid not in (None, "Guest"):
        sessions.delete(frappe.local.session.sid)
    sessions.resume(None)
    frappe.local.cookie = ""


@frappe.whitelist(allow_guest=True)
def upload_file() -> Any:
    """Store a multipart upload: field `file`, is_private=1 for /private/files. Returns the File."""
    if frappe.local.session.user == "Guest":
        raise frappe.PermissionError("Guests may not upload")
    upload = frappe.local.request.files.get("file")
    if upload is None or not upload.filename:
        raise ValidationError("no file in the request")
    form = frappe.local.form_dict
    return frappe.get_doc(
        doctype="File",
        file_name=upload.filename,
        content=upload.stream.read(),
        is_private=int(str(form.get("is_private", "0")) == "1"),
        attached_to_doctype=form.get("doctype"),
        attached_to_name=form.get("docname"),
    ).insert()
