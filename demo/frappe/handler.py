"""Calls by bare name: login's companions, ping, uploads."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import frappe
from frappe import sessions
from frappe.exceptions import ValidationError

ping = frappe.ping


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
    private = str(form.get("is_private", "0")) == "1"
    file = Path(re.sub(r"[^\w.\- ]", "_", Path(upload.filename).name).lstrip(".") or "file")
    content = upload.stream.read()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    folder = Path(frappe.get_site_path("private" if private else "public", "files"))
    if (folder / file).exists():
        file = file.with_stem(file.stem + digest[:6])
    (folder / file).write_bytes(content)
    return frappe.get_doc(
        doctype="File",
        file_name=str(file),
        file_url=f"{'/private' if private else ''}/files/{file}",
        is_private=int(private),
        file_size=len(content),
        attached_to_doctype=form.get("doctype"),
        attached_to_name=form.get("docname"),
        content_hash=digest,
    ).insert()
