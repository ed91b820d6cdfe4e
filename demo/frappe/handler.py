"""Calls by bare name: login's companions, ping, uploads."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

import frappe
from frappe import sessions
from frappe.exceptions import PermissionError, ValidationError


@frappe.whitelist(allow_guest=True)
def ping() -> str:
    """Answer."""
    return "pong"


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
        raise PermissionError("Guests may not upload")
    upload = frappe.local.request.files.get("file")
    if upload is None or not upload.filename:
        raise ValidationError("no file in the request")
    form = frappe.local.form_dict
    private = str(form.get("is_private", "0")) == "1"
    name = re.sub(r"[^\w.\- ]", "_", os.path.basename(upload.filename)).lstrip(".") or "file"
    content = upload.stream.read()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    folder = frappe.get_site_path("private" if private else "public", "files")
    if os.path.exists(os.path.join(folder, name)):
        stem, dot, ending = name.rpartition(".")
        name = f"{stem}{digest[:6]}{dot}{ending}" if dot else f"{name}{digest[:6]}"
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)
    return frappe.get_doc(
        doctype="File",
        file_name=name,
        file_url=f"{'/private' if private else ''}/files/{name}",
        is_private=int(private),
        file_size=len(content),
        attached_to_doctype=form.get("doctype"),
        attached_to_name=form.get("docname"),
        content_hash=digest,
    ).insert()
