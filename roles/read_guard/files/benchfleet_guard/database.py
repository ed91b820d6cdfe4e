"""The connection that a read_only call works with."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NoReturn

import frappe
from benchfleet_jobs import contract

from benchfleet_guard import session, statements
from benchfleet_guard.settings import ANSWER_SECONDS, PLACE_SECONDS, Settings
from benchfleet_guard.watch import (
    POSITION,
    Account,
    HungError,
    Watch,
    bounded,
    caught_up,
    close,
    handle_of,
    sever,
)

log = logging.getLogger("benchfleet.read_guard")

# What a server says to an account that may not write, or not so: 1290 is a read_only server.
REFUSALS = {1044, 1142, 1143, 1227, 1290, 1370}
# The connection is gone: the statement did not run to its end.
LOSSES = {0, 1053, 2003, 2006, 2013, 2055}
# Somebody's KILL, or the server's own end: only asking it tells.
INTERRUPTED = 1317
KILLED = {INTERRUPTED, 1927}
OVER_TIME = 1969
NOT_OF_A_SERVER = -1

# A query may take as long as the account's limit on the server allows; a dead server is noticed
# sooner by other means.
READ_SECONDS = 3600
CONNECT_SECONDS = max(1, round(ANSWER_SECONDS))
# A look at a server is left behind sooner: these end what is left.
PROBE = {"connect_timeout": CONNECT_SECONDS, "read_timeout": 2 * CONNECT_SECONDS}
ERROR_LOG = "taberror log"
# Kinds of statements that read data, or have to stay in the snapshot of what does.
WAITING = {statements.READ, statements.TEMPORARY, statements.SAVEPOINT}
# Kinds that another connection cannot answer.
OF_THIS_CONNECTION = {statements.ROW_COUNT, statements.WARNINGS, statements.FOUND_ROWS}
# What code sets on the database object, and the move to the primary must not lose.
CARRIED = ("_disable_transaction_control", "auto_commit_on_many_writes")
CALLBACKS = ("before_commit", "after_commit", "before_rollback", "after_rollback")


class ReportsUnavailable(frappe.ValidationError):
    """The user is told why there is no answer, and what to do."""


def error_code(error: BaseException | None) -> int:
    """A database error's number, NOT_OF_A_SERVER for anything else."""
    if type(error).__module__.split(".")[0] not in ("pymysql", "MySQLdb"):
        return NOT_OF_A_SERVER
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else NOT_OF_A_SERVER


def _is_meant(error: Exception) -> bool:
    """Whether an error is the user's to see, the database server's, or ends a job in time."""
    return (
        isinstance(error, frappe.ValidationError)
        or {error_code(error), error_code(error.__cause__)} != {NOT_OF_A_SERVER}
        or type(error).__module__.startswith("rq.")
    )


class Call:
    """One top-level read_only call: where it reads, and what has become of it.

    ``primary`` is the request's own database object; ``method`` the dotted name of what was
    called.
    """

    def __init__(self, guard: Guard, primary: Any, method: str) -> None:
        self.guard = guard
        self.primary = primary
        self.method = method
        self.account: Account | None = None
        self.ready: Any = None
        self.on_replica = not guard.settings.reports_pool
        # Whether the replica was seen to have all that the primary had when this snapshot began.
        self.fresh = False
        self.stale = False
        self.place: int | None = None
        self.former_limit: float | None = None
        self.temporary: set[str] = set()
        # Those of them whose rows a rollback does not undo any more.
        self.kept: set[str] = set()
        self.savepoints: list[str] = []
        # What sets a connection up as this call has done, in its order.
        self.settings: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        # Whether the connection has more of its own than these make again; whether that is lost.
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
            kind = guarded(type(current))
            db = kind.__new__(kind)
            db.call = Call(self, current, method)
        except Exception as error:
            return self._give_up(error, method)
        try:
            db.guard_begin()
        except Exception as error:
            if _is_meant(error):
                raise
            with suppress(Exception):
                db.close()
            return self._give_up(error, method)
        frappe.local.primary_db = current
        frappe.local.replica_db = frappe.local.db = db
        recorder = getattr(frappe.local, "_recorder", None)
        if db.call.on_replica and hasattr(recorder, "patched_databases"):
            # As Frappe 16 does. A call that fell back is recorded as the request's own.
            recorder._patch_sql(db)
        return True

    def _give_up(self, error: Exception, method: str) -> bool:
        """A fault of the guard's own costs no call its answer: it reads from the primary."""
        log.error("%s reads from the primary, for the guard failed:", method, exc_info=error)
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
    form = getattr(frappe.local, "form_dict", None) or {}
    return form.get("cmd") or getattr(getattr(frappe.local, "request", None), "path", "?")


@functools.cache
def guarded(base: type) -> type:
    """The guarded form of a Frappe database class.

    Its objects begin as a connection to the replica and can become the request's connection to
    the primary, by taking over the whole state of that object: connection, open transaction and
    callbacks are then one and the same. What the guard adds is named so that no release of Frappe
    has it already.
    """

    class GuardedDatabase(base):  # type: ignore[misc, valid-type]
        # Beside the state that is taken over.
        __slots__ = ("call",)

        def guard_begin(self) -> None:
            """Connect to the replica, or take the primary where that must be."""
            call: Call = self.call
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
            self.__init__(**contract.accepted(base, given))  # type: ignore[misc]
            for name in CALLBACKS + CARRIED:
                if hasattr(call.primary, name):
                    setattr(self, name, getattr(call.primary, name))
            call.account = Account(
                user,
                base.OperationalError.__module__.split(".")[0],  # type: ignore[attr-defined]
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
            """The connection that has just been waited with, or Frappe's own."""
            if not self.call.on_replica:
                return super().get_connection()
            connection, self.call.ready = self.call.ready, None
            return connection

        def sql(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            """Run a statement where it belongs, and once more at the primary if need be."""
            call: Call = self.call
            text = str(query)
            if not kwargs.get("run", True):
                return super().sql(query, *args, **kwargs)
            if not call.on_replica:
                return self._guard_on_primary(query, *args, **kwargs)
            kind = statements.kind(text, call.temporary)
            if (
                kind == statements.WRITE
                # To go back to the savepoint would have to undo it, wherever that is set.
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
            """Frappe's own, whose end must not bring the cursor of a former connection back."""
            connection, failure = self._conn, None
            try:
                with super().unbuffered_cursor():
                    try:
                        yield
                    except BaseException as error:
                        failure = error
                        raise
            except Exception:
                # Its cursor may not close any more when its connection is closed.
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
            if not self.call.on_replica or getattr(self, "_disable_transaction_control", 0):
                super().commit(**options)
                return
            with self._guard_recorded():
                self.call.primary.commit(**options)
            self._guard_end_snapshot()

        def rollback(self, *, save_point: str | None = None, **options: Any) -> None:
            """Undo what the request has written before."""
            whole = not save_point and not getattr(self, "_disable_transaction_control", 0)
            if not self.call.on_replica or not whole:
                super().rollback(save_point=save_point, **options)
                return
            with self._guard_recorded():
                self.call.primary.rollback(**options)
            self._guard_end_snapshot(undone=True)

        @contextmanager
        def _guard_recorded(self) -> Iterator[None]:
            """Frappe's recorder runs on the current connection what it is given by any other."""
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
            call: Call = self.call
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

        def _guard_open(self) -> None:
            """Read from a replica that has what the primary has; else fall back."""
            call: Call = self.call
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
                # The primary's transaction can end behind this object's back: frappe.write_only
                # lends that connection out. What is read after it has to show it.
                if hasattr(call.primary, name):
                    ended = functools.partial(self._guard_end_snapshot, undone)
                    getattr(call.primary, name).add(ended)
            # Not what a recorder has put in its place: that asks the current connection.
            position = base.sql(call.primary, POSITION)[0][0]  # type: ignore[attr-defined]
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
            """Connect unless that is done, and wait; HungError or the driver's error."""
            call: Call = self.call
            account, connection = call.account, self._conn

            def work() -> Any:
                # Touches nothing of this object: it may have moved on before this ends.
                reader = connection or account.sign_in()
                if connection:
                    # What is read next must not come from the snapshot of before.
                    reader.commit()
                return reader, caught_up(reader, position, seconds)

            with handle_of(connection) as handle:
                try:
                    reader, arrived = bounded(
                        work, ANSWER_SECONDS + seconds, lambda late: close(late[0])
                    )
                except HungError:
                    if connection:
                        # The thread that waits still uses it, and lets go of it when severed.
                        sever(handle)
                        self._conn = self._cursor = None
                    raise
            if not connection:
                call.ready = reader
                self.connect()
            call.fresh = True
            return bool(arrived)

        def _guard_look_for_return(self) -> None:
            call: Call = self.call
            given = call.primary.get_connection_settings()
            primary = Account("", call.account.driver, tuple({**given, **PROBE}.items()))
            replica = replace(
                call.account, arguments=tuple({**dict(call.account.arguments), **PROBE}.items())
            )
            call.guard.watch.wait_for(replica, primary, call.guard.settings.wait)

        def _guard_after_failure(self, kind: str, text: str, error: Exception) -> None:
            """Prepare a second try, at the primary or the replica, or raise the error again."""
            call: Call = self.call
            # Frappe raises its own errors for some of a server's.
            cause = error if error_code(error) != NOT_OF_A_SERVER else error.__cause__
            code = error_code(cause)
            if code in REFUSALS:
                self._guard_move_to_write(text)
            elif code not in LOSSES | KILLED:
                raise error
            elif call.holds or kind in OF_THIS_CONNECTION:
                # Nobody else can tell what was in its tables and variables.
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
                # The server is well: somebody ended this one connection, or the network did.
                log.warning("connection to the replica lost, once more: %s", cause)
                with suppress(Exception):
                    super().close()
                self._guard_open()
                if call.on_replica:
                    self._guard_repeat()

        def _guard_lose(self, reason: str, error: Any) -> None:
            self._guard_note_loss(reason, error)
            self._guard_fall_back(reason)

        def _guard_note_loss(self, reason: str, error: Any) -> None:
            call: Call = self.call
            log.warning("replica %s for %s: %s", reason, call.account.name, error)
            call.guard.watch.away(call.account, reason)
            self._guard_look_for_return()

        def _guard_move_to_write(self, text: str) -> None:
            """The call writes: it goes on at the primary, and the operator learns who does so."""
            call: Call = self.call
            if frappe.local.flags.read_only:
                frappe.throw(
                    "The site is in maintenance and can only be read. Please try again later.",
                    exc=frappe.InReadOnlyMode,
                )
            # That an error is logged does not make the code one that writes.
            if (statements.target(text) or "").lower() != ERROR_LOG:
                place = _place_in_code()
                total = call.guard.state.count("writes", call.method, code=place)
                log.warning(
                    "%s writes under read_only, at %s, %d so far", call.method, place, total
                )
            self._guard_become_primary()
            call.guard.note(call.guard.settings.primary, "wrote")

        def _guard_fall_back(self, reason: str) -> None:
            """Read from the primary, within its limits, or tell the user."""
            call: Call = self.call
            guard = call.guard
            try:
                if guard.settings.policy == "error":
                    guard.unavailable(
                        "The reporting database cannot be used now, so this report has no answer."
                        " Please try again later."
                    )
                call.place = guard.state.take_place(guard.settings.fallback_calls, PLACE_SECONDS)
                if call.place is None:
                    guard.unavailable(
                        "The reporting database cannot be used now, and as many reports as may"
                        " run on the primary do so already. Please try again in a minute."
                    )
                self._guard_become_primary()
                self._guard_limit()
            except BaseException:
                # The call does not begin, or goes no further: Frappe may not come to close it.
                self.close()
                raise
            guard.state.count("fallbacks", reason)
            guard.note(guard.settings.primary, reason)

        def _guard_become_primary(self) -> None:
            """Take over the request's connection to the primary, with all that it holds."""
            call: Call = self.call
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
            """What the connection to the replica has of its own, before it is closed."""
            call: Call = self.call
            # Whatever goes wrong here is told once; what is written after it is kept.
            call.lost = True
            if self._conn is None:
                call.guard.unavailable(
                    "The reporting database was lost in the middle of this report."
                    " Please run it again."
                )
            with call.guard.watch.over(self._conn, call.account):
                # It may have rows that nobody has fetched.
                self._cursor.close()
                return session.read(self._conn, call.temporary)

        def _guard_repeat(self) -> None:
            """Set this connection up as the one before it was."""
            for query, args, kwargs in self.call.settings:
                super().sql(query, *args, **kwargs)
            for name in self.call.savepoints:
                super().sql(f"savepoint {session.quoted(name)}")

        def _guard_limit(self) -> None:
            """Bound the statements of a call that reads from the primary."""
            call: Call = self.call
            if frappe.local.flags.read_only:
                call.primary.begin(read_only=True)
            limit = call.guard.settings.fallback_seconds
            former = float(super().sql("SELECT @@max_statement_time")[0][0])
            if former == 0 or former > limit:
                super().sql("SET SESSION max_statement_time = %s", (limit,))
                call.former_limit = former

        def _guard_on_replica(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            with self.call.guard.watch.over(self._conn, self.call.account):
                outcome = super().sql(query, *args, **kwargs)
            return self._guard_iterate(outcome) if kwargs.get("as_iterator") else outcome

        def _guard_iterate(self, rows: Iterator[Any]) -> Iterator[Any]:
            """Rows that are fetched while they are used."""
            call: Call = self.call
            with call.guard.watch.over(self._conn, call.account):
                for row in rows:
                    yield row
                    if not call.on_replica:
                        raise RuntimeError(
                            f"{call.method} writes while it reads rows one by one; as on a single"
                            " connection, what is left of them is lost: read them all first"
                        )

        def _guard_on_primary(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            call: Call = self.call
            if call.found_on_replica:
                if statements.kind(str(query)) == statements.FOUND_ROWS:
                    raise RuntimeError(
                        f"{call.method} asks for FOUND_ROWS() of rows that were read before it"
                        " wrote, on another connection: count them in the code"
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
            """Keep what the primary has to be told when the call moves there."""
            call: Call = self.call
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
                    # One that is set again is set anew.
                    call.savepoints = [other for other in call.savepoints if other != name]
                    call.savepoints.append(name)
                elif name in call.savepoints:
                    del call.savepoints[call.savepoints.index(name) + (what == "rollback") :]
            elif statements.leaves(text):
                call.holds = True

        def _guard_end_snapshot(self, undone: bool = False) -> None:
            """What is read next is read anew, from a replica that has been waited for again.

            undone: whether the transaction was rolled back.
            """
            call: Call = self.call
            if not call.on_replica:
                return
            if call.temporary and call.fresh:
                with suppress(Exception), call.guard.watch.over(self._conn, call.account):
                    # Their rows are no longer, or for good, in the tables.
                    (self._conn.rollback if undone else self._conn.commit)()
                if not undone:
                    call.kept |= call.temporary
            call.fresh = False
            call.savepoints.clear()
            self.transaction_writes = 0

        def _guard_forget_stale(self) -> None:
            """Keep what was read from a replica that is behind out of the rest of the request."""
            if not self.call.stale:
                return
            self.call.stale = False
            for name in ("cache", "request_cache"):
                known = getattr(frappe.local, name, None)
                if hasattr(known, "clear"):
                    known.clear()

    return GuardedDatabase


def _place_in_code() -> str:
    """The place in an app from which a statement came."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        machinery = ("benchfleet_guard", "frappe.database", "frappe.model", "frappe.query_builder")
        if name != "frappe" and not name.startswith((*machinery, "frappe.utils")):
            return f"{name}.{frame.f_code.co_name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"
