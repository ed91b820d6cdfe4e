"""Passwords of users and the site's encryption key."""

from __future__ import annotations

import hashlib
import hmac
import os

import frappe

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
