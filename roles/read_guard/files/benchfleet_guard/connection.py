"""The connection that a read_only call works with."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import frappe
from benchfleet_jobs import contract

from benchfleet_guard import statements
from benchfleet_guard.choice import CARRIED, CONNECT_SECONDS, Choice
from benchfleet_guard.codes import OVER_TIME, error_code
from benchfleet_guard.watch import Account

# A query may take as long as the account's limit on the server allows; a dead server is noticed
# sooner by other means.
READ_SECONDS = 3600
# Kinds of statements that read data, or have to stay in the snapshot of what does.
WAITING = {statements.READ, statements.TEMPORARY, statements.SAVEPOINT}
CALLBACKS = ("before_commit", "after_commit", "before_rollback", "after_rollback")


class Guarded(Choice):
    """What the guard changes in a Frappe database class.

    Its objects begin as a connection to the replica and can become the request's connection to
    the primary, by taking over the whole state of that object: connection, open transaction and
    callbacks are then one and the same. What the guard adds is named so that no release of Frappe
    has it already.
    """

    def guard_begin(self) -> None:
        """Connect to the replica, or use the primary where that is necessary."""
        call = self.call
        if call.guard.settings.reports_pool:
            self._guard_become_primary()
            self._guard_limit()
            call.guard.note(call.guard.settings.primary, "reports")
            return
        conf = frappe.local.conf
        user, password = conf.db_user or conf.db_name, conf.db_password
        if conf.different_credentials_for_replica:
            user = conf.replica_db_user or conf.replica_db_name
            password = conf.replica_db_password
        given = {
            "socket": None,
            "host": conf.replica_host,
            "port": conf.replica_db_port,
            "user": user,
            "password": password,
            "cur_db_name": conf.db_name,
        }
        self.__init__(**contract.accepted(self.guard_base, given))  # type: ignore[misc]
        for name in CALLBACKS + CARRIED:
            if hasattr(call.primary, name):
                setattr(self, name, getattr(call.primary, name))
        call.account = Account(
            user,
            self.OperationalError.__module__.split(".")[0],
            tuple(
                {
                    **self.get_connection_settings(),
                    "connect_timeout": CONNECT_SECONDS,
                    "read_timeout": READ_SECONDS,
                }.items()
            ),
        )
        self._guard_open()

    def get_connection(self) -> Any:
        """The connection that has just waited for the replica, or one by Frappe's own method."""
        if not self.call.on_replica:
            return super().get_connection()
        connection, self.call.ready = self.call.ready, None
        return connection

    def sql(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a statement where it belongs, and once more on the primary if need be."""
        call = self.call
        text = str(query)
        if not kwargs.get("run", True):
            return super().sql(query, *args, **kwargs)
        if not call.on_replica:
            return self._guard_on_primary(query, *args, **kwargs)
        kind = statements.kind(text, call.temporary)
        if (
            kind == statements.WRITE
            # A rollback to the savepoint has to undo it on the server where the savepoint is set.
            or (kind == statements.TEMPORARY and call.savepoints)
            # The statement before it was the primary's commit or rollback.
            or (kind == statements.ROW_COUNT and not call.fresh)
        ):
            self._guard_move_to_write(text)
            return self._guard_on_primary(query, *args, **kwargs)
        if kind in (statements.TRANSACTION, statements.ISOLATION):
            with self._guard_recorded():
                outcome = call.primary.sql(query, *args, **kwargs)
            if kind == statements.TRANSACTION:
                self._guard_end_snapshot(undone=statements.rolls_back(text))
                return outcome
        if not call.fresh and kind in WAITING:
            self._guard_open()
            if not call.on_replica:
                return self._guard_on_primary(query, *args, **kwargs)
        try:
            outcome = self._guard_on_replica(query, *args, **kwargs)
        except Exception as error:
            self._guard_after_failure(kind, text, error)
            if not call.on_replica:
                return self._guard_on_primary(query, *args, **kwargs)
            outcome = self._guard_on_replica(query, *args, **kwargs)
        self._guard_remember(kind, text, (query, args, kwargs))
        return outcome

    @contextmanager
    def unbuffered_cursor(self) -> Iterator[None]:
        """Frappe's own; its end must not bring back the cursor of a former connection."""
        connection, failure = self._conn, None
        try:
            with super().unbuffered_cursor():
                try:
                    yield
                except BaseException as error:
                    failure = error
                    raise
        except Exception:
            # Closing the cursor of a closed connection may fail.
            if self._conn is connection:
                raise
            if failure is not None:
                raise failure from None
        finally:
            if self._conn is not connection and self._conn:
                self._cursor = self._conn.cursor()

    def commit(self, **options: Any) -> None:
        """Commit what the request has written before and make its callbacks run.

        options: Frappe 16 has ``chain``.
        """
        if not self.call.on_replica or getattr(self, "_disable_transaction_control", False):
            super().commit(**options)
            return
        with self._guard_recorded():
            self.call.primary.commit(**options)
        self._guard_end_snapshot()

    def rollback(self, *, save_point: str | None = None, **options: Any) -> None:
        """Undo what the request has written before."""
        whole = not save_point and not getattr(self, "_disable_transaction_control", False)
        if not self.call.on_replica or not whole:
            super().rollback(save_point=save_point, **options)
            return
        with self._guard_recorded():
            self.call.primary.rollback(**options)
        self._guard_end_snapshot(undone=True)

    @contextmanager
    def _guard_recorded(self) -> Iterator[None]:
        """Have Frappe's recorder, which always uses the current connection, use the primary's."""
        if "sql" not in vars(self.call.primary):
            yield
            return
        frappe.local.db = self.call.primary
        try:
            yield
        finally:
            frappe.local.db = self

    def close(self) -> None:
        """End the call: the request goes on with its own connection, which stays open."""
        call = self.call
        if call.on_replica:
            with suppress(Exception):
                super().close()
        elif call.former_limit is not None and self._conn:
            with suppress(Exception):
                super().sql("SET SESSION max_statement_time = %s", (call.former_limit,))
        if call.place is not None:
            call.guard.state.give_place(call.place)
            call.place = None
        self._guard_forget_stale()

    def _guard_on_replica(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        with self.call.guard.watch.over(self._conn, self.call.account):
            outcome = super().sql(query, *args, **kwargs)
        return self._guard_iterate(outcome) if kwargs.get("as_iterator") else outcome

    def _guard_iterate(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Rows that are fetched while they are used."""
        call = self.call
        with call.guard.watch.over(self._conn, call.account):
            for row in rows:
                yield row
                if not call.on_replica:
                    raise RuntimeError(
                        f"{call.method} writes while it reads rows one by one, so the remaining"
                        " rows are lost, as on a single connection: read them all first"
                    )

    def _guard_on_primary(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        call = self.call
        if call.found_on_replica:
            if statements.kind(str(query)) == statements.FOUND_ROWS:
                raise RuntimeError(
                    f"{call.method} uses FOUND_ROWS() for rows that it read before it wrote,"
                    " on another connection: count them in the code"
                )
            call.found_on_replica = not statements.selects(str(query))
        try:
            return super().sql(query, *args, **kwargs)
        except Exception as error:
            if call.former_limit is None or error_code(error) != OVER_TIME:
                raise
            call.guard.unavailable(
                "The reporting database cannot be used now, and this takes longer than"
                f" {call.guard.settings.fallback_seconds:g} s, the limit for reports on the"
                " primary. Please try again later."
            )

    def _guard_remember(self, kind: str, text: str, statement: tuple[Any, ...]) -> None:
        """Keep what has to be set on the primary when the call moves there."""
        call = self.call
        if kind == statements.TEMPORARY:
            call.holds = True
            call.temporary -= statements.dropped(text)
            if table := statements.made(text):
                call.temporary.add(table)
            call.kept &= call.temporary
            call.kept |= statements.kept(text, call.temporary)
        elif kind in (statements.SESSION, statements.ISOLATION):
            call.settings.append(statement)
        elif kind == statements.SAVEPOINT and (found := statements.savepoint(text)):
            what, name = found
            if what == "savepoint":
                # A name that is set again replaces the former savepoint.
                call.savepoints = [other for other in call.savepoints if other != name]
                call.savepoints.append(name)
            elif name in call.savepoints:
                del call.savepoints[call.savepoints.index(name) + (what == "rollback") :]
        elif statements.leaves(text):
            call.holds = True


@functools.cache
def guarded(base: type[Any]) -> type[Guarded]:
    """The guarded form of a Frappe database class."""

    class GuardedDatabase(Guarded, base):  # type: ignore[misc]
        # Beside the state that is taken over.
        __slots__ = ("call",)
        guard_base = base

    return GuardedDatabase
