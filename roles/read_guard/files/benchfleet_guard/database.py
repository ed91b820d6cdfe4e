"""The read_only calls of a process, and the guard that begins them."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, NoReturn

import frappe

from benchfleet_guard.codes import ReportsUnavailable, is_meant
from benchfleet_guard.connection import guarded
from benchfleet_guard.settings import Settings
from benchfleet_guard.watch import Account, Watch

log = logging.getLogger("benchfleet.read_guard")


class Call:
    """One top-level read_only call: where it reads, and the state of its connection.

    ``primary`` is the request's own database object; ``method`` the dotted name of what was
    called.
    """

    def __init__(self, guard: Guard, primary: Any, method: str) -> None:
        self.guard = guard
        self.primary = primary
        self.method = method
        # How to sign in to the replica, once a call begins there; a connection that is ready.
        self.account: Account
        self.ready: Any = None
        self.on_replica = not guard.settings.reports_pool
        # Whether the replica was seen to have all that the primary had when this snapshot began.
        self.fresh = False
        self.stale = False
        self.place: int | None = None
        self.former_limit: float | None = None
        self.temporary: set[str] = set()
        # Those of them whose rows a rollback no longer undoes.
        self.kept: set[str] = set()
        self.savepoints: list[str] = []
        # The statements by which this call has set its connection up, in their order.
        self.settings: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        # Whether the connection has state that these statements cannot restore; whether that is
        # lost.
        self.holds = False
        self.lost = False
        # Whether the rows that FOUND_ROWS() is about were found on the replica.
        self.found_on_replica = False


class Guard:
    """What the calls of one process share."""

    def __init__(self, settings: Settings, watch: Watch) -> None:
        self.settings = settings
        self.watch = watch
        self.state = watch.state

    def connect_replica(self) -> bool:
        """Stand in for frappe.connect_replica: True when a guarded call has begun."""
        current = frappe.local.db
        if current is None or isinstance(getattr(current, "call", None), Call):
            return False
        if getattr(current, "transaction_writes", 0):
            # A replica cannot show what this request has written and not committed yet.
            self.note(self.settings.primary, "uncommitted")
            return False
        method = _method()
        try:
            kind: Any = guarded(type(current))  # type: ignore[arg-type]
            db = kind.__new__(kind)
            db.call = Call(self, current, method)
        except Exception as error:
            return self._give_up(error, method)
        try:
            db.guard_begin()
        except Exception as error:
            if is_meant(error):
                raise
            with suppress(Exception):
                db.close()
            return self._give_up(error, method)
        frappe.local.primary_db = current
        frappe.local.replica_db = frappe.local.db = db
        recorder: Any = getattr(frappe.local, "_recorder", None)
        if db.call.on_replica and hasattr(recorder, "patched_databases"):
            # As Frappe 16 does. A call that fell back is recorded as the request's own.
            recorder._patch_sql(db)
        return True

    def _give_up(self, error: Exception, method: str) -> bool:
        """When the guard itself fails, the call reads from the primary and is still answered."""
        log.error("%s reads from the primary, as the guard failed:", method, exc_info=error)
        self.state.count("fallbacks", "fault", method=method, message=repr(error)[:500])
        self.note(self.settings.primary, "fault")
        return False

    @staticmethod
    def note(node: str, reason: str = "") -> None:
        """Remember for the answer's header which database the request read from."""
        frappe.local.fleet_database = f"{node}; reason={reason}" if reason else node

    @staticmethod
    def unavailable(words: str) -> NoReturn:
        """Tell the user."""
        frappe.throw(words, exc=ReportsUnavailable)
        raise ReportsUnavailable(words)


def _method() -> str:
    """Dotted name of the read_only function that is being called, else of the request."""
    called = sys._getframe(2).f_locals.get("fn")
    if called is not None:
        return f"{called.__module__}.{called.__qualname__}"
    form: Any = getattr(frappe.local, "form_dict", None) or {}
    request: Any = getattr(frappe.local, "request", None)
    return str(form.get("cmd") or getattr(request, "path", "?"))
