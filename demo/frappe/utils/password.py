"""Passwords of users and the site's encryption key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

import frappe
from frappe import config

_ROUNDS = 60_000


def _digest(password: str, salt: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS).hex()


def update_password(user: str, password: str) -> None:
    """Set a user's password."""
    salt = os.urandom(16)
    frappe.db.sql(
        "REPLACE INTO __Auth (doctype, name, fieldname, password) "
        "VALUES ('User', %s, 'password', %s)",
        (user, f"{salt.hex()}${_digest(password, salt)}"),
    )


def check_password(user: str, password: str) -> bool:
    """Return whether the password is the user's."""
    rows = frappe.db.sql(
        "SELECT password FROM __Auth WHERE doctype = 'User' AND name = %s "
        "AND fieldname = 'password'",
        user,
    )
    if not rows:
        return False
    salt, _, digest = rows[0][0].partition("$")
    return hmac.compare_digest(digest, _digest(password, bytes.fromhex(salt)))


def get_encryption_key() -> str:
    """Return the site's key; the first call makes it and writes it into site_config.json."""
    if not frappe.local.conf.encryption_key:
        key = base64.urlsafe_b64encode(os.urandom(32)).decode()
        config.update(frappe.get_site_path("site_config.json"), "encryption_key", key)
        frappe.local.conf.encryption_key = key
    return frappe.local.conf.encryption_key
