"""Sign-in and sessions: a row in tabSessions and a copy in the shared cache."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import frappe
from frappe.config import Config
from frappe.exceptions import AuthenticationError
from frappe.utils.password import check_password

EXPIRY_SECONDS = 240 * 3600
WRITE_EVERY_SECONDS = 600


def _now() -> str:
    # The real time, not that of the demo's clock: the database compares it with its own.
    return datetime.now().isoformat(" ", "microseconds")


def _age(stamp: str | None) -> float:
    if not stamp:
        return float("inf")
    return (datetime.now() - datetime.fromisoformat(str(stamp))).total_seconds()


def login(user: str | None, password: str | None) -> str:
    """Check the password, start a session, return its id; AuthenticationError otherwise."""
    if not user or not password:
        raise AuthenticationError("Incomplete login details")
    found = frappe.db.get_value("User", {"name": user, "enabled": 1})
    if not found or not check_password(found, password):
        raise AuthenticationError("Invalid login credentials")
    sid, stamp = frappe.generate_hash(), _now()
    details = {"user": found, "last_updated": stamp, "session_ip": frappe.local.request.remote_addr}
    frappe.local.session = Config(user=found, sid=sid, data=details)
    frappe.db.sql(
        "INSERT INTO tabSessions (user, sid, sessiondata, lastupdate, status) "
        "VALUES (%s, %s, %s, %s, 'Active')",
        (found, sid, json.dumps(details), stamp),
    )
    frappe.db.set_value("User", found, {"last_login": stamp, "last_active": stamp})
    frappe.db.commit()
    frappe.cache.hset("session", sid, frappe.local.session)
    return sid


def resume(sid: str | None) -> None:
    """Make the cookie's user the session's, or Guest where the session is unknown or too old."""
    frappe.local.session = Config(user="Guest", sid="Guest", data={})
    if not sid or sid == "Guest":
        return
    found = frappe.cache.hget("session", sid)
    if not found or _age(found["data"].get("last_updated")) > EXPIRY_SECONDS:
        found = _from_database(sid)
    if found and frappe.db.get_value("User", found["user"], "enabled"):
        frappe.local.session = Config(found)


def _from_database(sid: str) -> dict[str, Any] | None:
    rows = frappe.db.sql(
        "SELECT user, sessiondata FROM tabSessions WHERE sid = %s "
        "AND lastupdate > now() - INTERVAL %s SECOND",
        (sid, EXPIRY_SECONDS),
    )
    if not rows:
        return None
    return {"user": rows[0][0], "sid": sid, "data": json.loads(rows[0][1] or "{}")}


def touch() -> None:
    """Note that the session is alive, on the primary, at most every WRITE_EVERY_SECONDS."""
    session = frappe.local.session
    if session.user in (None, "Guest") or frappe.local.flags.read_only:
        return
    if _age(frappe.cache.hget("last_db_session_update", session.sid)) <= WRITE_EVERY_SECONDS:
        return
    stamp = _now()
    session.data["last_updated"] = stamp
    frappe.db.sql(
        "UPDATE tabSessions SET sessiondata = %s, lastupdate = %s WHERE sid = %s",
        (json.dumps(session.data), stamp, session.sid),
    )
    frappe.db.set_value("User", session.user, "last_active", stamp)
    frappe.db.commit()
    frappe.cache.hset("last_db_session_update", session.sid, stamp)
    frappe.cache.hset("session", session.sid, session)


def delete(sid: str) -> None:
    """End a session, in the cache and in the database."""
    frappe.cache.hdel("session", sid)
    frappe.cache.hdel("last_db_session_update", sid)
    frappe.db.sql("DELETE FROM tabSessions WHERE sid = %s", sid)
    frappe.db.commit()


def clear_expired_sessions() -> None:
    """Delete the sessions that were not used for EXPIRY_SECONDS; run daily."""
    for sid in frappe.db.sql(
        "SELECT sid FROM tabSessions WHERE lastupdate < now() - INTERVAL %s SECOND",
        EXPIRY_SECONDS,
        pluck=True,
    ):
        delete(sid)
