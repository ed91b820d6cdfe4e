"""Where a read_only call reads: on the replica, once that has caught up, or on the primary."""

from __future__ import annotations

import functools
import logging
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import frappe

from benchfleet_guard import session, statements
from benchfleet_guard.codes import (
    INTERRUPTED,
    KILLED,
    LOSSES,
    NOT_OF_A_SERVER,
    REFUSALS,
    error_code,
)
from benchfleet_guard.settings import ANSWER_SECONDS, PLACE_SECONDS
from benchfleet_guard.watch import (
    POSITION,
    Account,
    HungError,
    bounded,
    caught_up,
    close,
    handle_of,
    sever,
)

if TYPE_CHECKING:
    from frappe.database.database import Database

    from benchfleet_guard.database import Call
else:
    # Frappe's class is the other base: see guarded() in connection.py.
    Database = object

log = logging.getLogger("benchfleet.read_guard")

CONNECT_SECONDS = max(1, round(ANSWER_SECONDS))
# A check of a server is given up sooner; these time-outs end its thread.
PROBE = {"connect_timeout": CONNECT_SECONDS, "read_timeout": 2 * CONNECT_SECONDS}
ERROR_LOG = "taberror log"
# Kinds of statements that only the same connection can answer.
OF_THIS_CONNECTION = {statements.ROW_COUNT, statements.WARNINGS, statements.FOUND_ROWS}
# Attributes that code sets on the database object; a move to the primary keeps them.
CARRIED = ("_disable_transaction_control", "auto_commit_on_many_writes")


class Choice(Database):  # type: ignore[misc]
    """The part of a guarded connection that chooses its server.

    call: the call that it serves, kept beside the state that another connection hands over.
    guard_base: Frappe's class.
    """

    call: Call
    guard_base: type[Any]
    _conn: Any
    _cursor: Any
    transaction_writes: int

    def _guard_open(self) -> None:
        """Read from a replica that has caught up with the primary; else fall back."""
        call = self.call
        settings, state = call.guard.settings, call.guard.state
        known = state.replica(call.account.name)
        late = known.reason == "behind"
        waits = 0 if late and not settings.job else settings.wait
        if known.away:
            self._guard_look_for_return()
            if not (late and (settings.policy == "stale" or settings.job)):
                self._guard_fall_back(known.reason)
                return
        for name, undone in (("after_commit", False), ("after_rollback", True)):
            # The primary's transaction can end without this object: frappe.write_only passes that
            # connection on. Later reads have to show the change.
            if hasattr(call.primary, name):
                ended = functools.partial(self._guard_end_snapshot, undone)
                getattr(call.primary, name).add(ended)
        # Not the replacement of a recorder, which uses the current connection.
        position = self.guard_base.sql(call.primary, POSITION)[0][0]
        try:
            arrived = self._guard_catch_up(position, waits)
        except Exception as error:
            if not isinstance(error, HungError) and error_code(error) == NOT_OF_A_SERVER:
                raise
            self._guard_lose("unreachable", error)
            return
        if arrived:
            call.guard.note(settings.node)
            return
        if not late:
            self._guard_note_loss("behind", f"not there in {settings.wait:g} s: {position}")
        if settings.policy == "stale":
            call.stale = True
            call.guard.note(settings.node, "stale")
        else:
            self._guard_fall_back("behind")

    def _guard_catch_up(self, position: str, seconds: float) -> bool:
        """Connect if need be, and wait. Raises HungError or the driver's error."""
        call = self.call
        account, connection = call.account, self._conn

        def work() -> Any:
            # Does not use this object, which may have been moved before this ends.
            reader = connection or account.sign_in()
            if connection:
                # The next read needs a new snapshot.
                reader.commit()
            return reader, caught_up(reader, position, seconds)

        with handle_of(connection) as handle:
            try:
                reader, arrived = bounded(
                    work, ANSWER_SECONDS + seconds, lambda late: close(late[0])
                )
            except HungError:
                if connection:
                    # The waiting thread still uses it, until the connection is ended.
                    sever(handle)
                    self._conn = self._cursor = None
                raise
        if not connection:
            call.ready = reader
            self.connect()
        call.fresh = True
        return bool(arrived)

    def _guard_look_for_return(self) -> None:
        call = self.call
        given = call.primary.get_connection_settings()
        primary = Account("", call.account.driver, tuple({**given, **PROBE}.items()))
        replica = replace(
            call.account, arguments=tuple({**dict(call.account.arguments), **PROBE}.items())
        )
        call.guard.watch.wait_for(replica, primary, call.guard.settings.wait)

    def _guard_after_failure(self, kind: str, text: str, error: Exception) -> None:
        """Prepare a second try, on the primary or the replica, or raise the error again."""
        call = self.call
        # Frappe raises its own errors for some of a server's.
        cause = error if error_code(error) != NOT_OF_A_SERVER else error.__cause__
        code = error_code(cause)
        if code in REFUSALS:
            self._guard_move_to_write(text)
        elif code not in LOSSES | KILLED:
            raise error
        elif call.holds or kind in OF_THIS_CONNECTION:
            # The call's tables and variables exist only in this connection.
            answers = call.account.answers()
            call.lost = call.holds and not (answers and code == INTERRUPTED)
            if not answers:
                self._guard_note_loss("lost", cause)
            raise error
        elif not call.account.answers():
            self._guard_lose("lost", cause)
        elif code in KILLED:
            raise error
        else:
            # The server is up: this one connection was killed, or lost in the network.
            log.warning("connection to the replica lost, trying again: %s", cause)
            with suppress(Exception):
                super().close()
            self._guard_open()
            if call.on_replica:
                self._guard_repeat()

    def _guard_lose(self, reason: str, error: Any) -> None:
        self._guard_note_loss(reason, error)
        self._guard_fall_back(reason)

    def _guard_note_loss(self, reason: str, error: Any) -> None:
        call = self.call
        log.warning("replica %s for %s: %s", reason, call.account.name, error)
        call.guard.watch.away(call.account, reason)
        self._guard_look_for_return()

    def _guard_move_to_write(self, text: str) -> None:
        """The call writes: continue on the primary, and count it for the operator."""
        call = self.call
        if frappe.local.flags.read_only:
            frappe.throw(
                "The site is in maintenance and can only be read. Please try again later.",
                exc=frappe.InReadOnlyMode,
            )
        # An error log is not counted as a write of the code.
        if (statements.target(text) or "").lower() != ERROR_LOG:
            place = _place_in_code()
            total = call.guard.state.count("writes", call.method, code=place)
            log.warning("%s writes under read_only, at %s, %d so far", call.method, place, total)
        self._guard_become_primary()
        call.guard.note(call.guard.settings.primary, "wrote")

    def _guard_fall_back(self, reason: str) -> None:
        """Read from the primary, within its limits, or raise an error for the user."""
        call = self.call
        guard = call.guard
        try:
            if guard.settings.policy == "error":
                guard.unavailable(
                    "The reporting database cannot be used now, so this report cannot be run."
                    " Please try again later."
                )
            call.place = guard.state.take_place(guard.settings.fallback_calls, PLACE_SECONDS)
            if call.place is None:
                guard.unavailable(
                    "The reporting database cannot be used now, and the primary already runs"
                    " as many reports as it may. Please try again in a minute."
                )
            self._guard_become_primary()
            self._guard_limit()
        except BaseException:
            # The call ends here, and Frappe may not close the connection.
            self.close()
            raise
        guard.state.count("fallbacks", reason)
        guard.note(guard.settings.primary, reason)

    def _guard_become_primary(self) -> None:
        """Take over the request's connection to the primary, with all its state."""
        call = self.call
        held = self._guard_read_session() if call.holds and not call.lost else None
        if call.on_replica:
            with suppress(Exception):
                super().close()
            call.found_on_replica = True
        for name in CARRIED:
            if name in self.__dict__:
                setattr(call.primary, name, self.__dict__[name])
        writes = self.transaction_writes if call.on_replica else 0
        call.on_replica = False
        self._guard_forget_stale()
        self.__dict__ = call.primary.__dict__
        tables = held.tables if held else []
        if kept := [table for table in tables if table.name in call.kept]:
            session.fill(self._cursor, kept)
            if not self.transaction_writes:
                self._conn.commit()
        if others := [table for table in tables if table.name not in call.kept]:
            session.fill(self._cursor, others)
        self.transaction_writes += writes
        self._guard_repeat()
        if held and held.settings:
            self._cursor.execute(held.settings)

    def _guard_read_session(self) -> session.Session:
        """The state of the session on the replica, before it is closed."""
        call = self.call
        # An error here is raised only once; later writes are kept.
        call.lost = True
        if self._conn is None:
            call.guard.unavailable(
                "The connection to the reporting database was lost. Please run this report again."
            )
        with call.guard.watch.over(self._conn, call.account):
            # The cursor may have rows that were not fetched.
            self._cursor.close()
            return session.read(self._conn, call.temporary)

    def _guard_repeat(self) -> None:
        """Set up this connection like the former one."""
        for query, args, kwargs in self.call.settings:
            super().sql(query, *args, **kwargs)
        for name in self.call.savepoints:
            super().sql(f"savepoint {session.quoted(name)}")

    def _guard_limit(self) -> None:
        """Limit the statements of a call that reads from the primary."""
        call = self.call
        if frappe.local.flags.read_only:
            call.primary.begin(read_only=True)
        limit = call.guard.settings.fallback_seconds
        former = float(super().sql("SELECT @@max_statement_time")[0][0])
        if former == 0 or former > limit:
            super().sql("SET SESSION max_statement_time = %s", (limit,))
            call.former_limit = former

    def _guard_end_snapshot(self, undone: bool = False) -> None:
        """Have the next read wait for the replica again, and use a new snapshot.

        undone: whether the transaction was rolled back.
        """
        call = self.call
        if not call.on_replica:
            return
        if call.temporary and call.fresh:
            with suppress(Exception), call.guard.watch.over(self._conn, call.account):
                # Their rows are rolled back, or committed.
                (self._conn.rollback if undone else self._conn.commit)()
            if not undone:
                call.kept |= call.temporary
        call.fresh = False
        call.savepoints.clear()
        self.transaction_writes = 0

    def _guard_forget_stale(self) -> None:
        """Keep old data from a replica that is behind out of the rest of the request."""
        if not self.call.stale:
            return
        self.call.stale = False
        for name in ("cache", "request_cache"):
            known: Any = getattr(frappe.local, name, None)
            if hasattr(known, "clear"):
                known.clear()


def _place_in_code() -> str:
    """The place in an app's code from which a statement came."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        machinery = ("benchfleet_guard", "frappe.database", "frappe.model", "frappe.query_builder")
        if name != "frappe" and not name.startswith((*machinery, "frappe.utils")):
            return f"{name}.{frame.f_code.co_name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"
