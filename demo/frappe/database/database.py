"""Statements, values and transactions, whatever the server."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import frappe
from frappe.config import Config
from frappe.exceptions import ImplicitCommitError, QueryDeadlockError, QueryTimeoutError
from frappe.utils import CallbackManager

_NO_VALUES = object()
_ROWS_AT_ONCE = 100
_TRANSACTION_ENDS = ("commit", "rollback")
_COMMITS_BY_ITSELF = ("start", "alter", "drop", "create", "begin", "truncate")


def is_query_type(query: str, kinds: str | tuple[str, ...]) -> bool:
    """Return whether a statement's first word begins with one of the kinds (lower case)."""
    words = query.split(maxsplit=1)
    return bool(words) and words[0].lower().startswith(kinds)


class Database(ABC):
    """A connection that opens itself at the first statement, and again after close()."""

    if frappe.SINCE_16:

        def __init__(
            self,
            socket: str | None = None,
            host: str | None = None,
            user: str | None = None,
            password: str | None = None,
            port: int | str | None = None,
            cur_db_name: str | None = None,
        ) -> None:
            self._set_up(socket, host, user, password, port, cur_db_name)

    else:

        def __init__(
            self,
            host: str | None = None,
            user: str | None = None,
            password: str | None = None,
            port: int | str | None = None,
            cur_db_name: str | None = None,
        ) -> None:
            self._set_up(None, host, user, password, port, cur_db_name)

    def _set_up(
        self,
        socket: str | None,
        host: str | None,
        user: str | None,
        password: str | None,
        port: int | str | None,
        cur_db_name: str | None,
    ) -> None:
        self.socket = socket
        self.host = host
        self.user = user
        self.password = password
        self.port = port
        self.cur_db_name = cur_db_name
        self._conn: Any = None
        self._cursor: Any = None
        self.transaction_writes = 0
        self.value_cache: dict[tuple[str, str, Any], Any] = {}
        self.before_commit = CallbackManager()
        self.after_commit = CallbackManager()
        self.before_rollback = CallbackManager()
        self.after_rollback = CallbackManager()
        # While it is set, commit() and rollback() do nothing but warn; savepoints work.
        self._disable_transaction_control = 0

    def connect(self) -> None:
        """Connect now."""
        self._conn = self.get_connection()
        self._cursor = self._conn.cursor()

    @abstractmethod
    def get_connection(self) -> Any:
        """Return a DB-API connection."""

    @abstractmethod
    def unbuffered_cursor(self) -> AbstractContextManager[None]:
        """Read from the server as rows are asked for, while the block runs."""

    @staticmethod
    @abstractmethod
    def is_deadlocked(error: Exception) -> bool:
        """Return whether the error is a deadlock."""

    @staticmethod
    @abstractmethod
    def is_timedout(error: Exception) -> bool:
        """Return whether the error is a lock wait timeout."""

    @staticmethod
    @abstractmethod
    def is_read_only_mode_error(error: Exception) -> bool:
        """Return whether a write met a read-only transaction (maintenance mode)."""

    def sql(
        self,
        query: str,
        values: Any = _NO_VALUES,
        *,
        as_dict: bool = False,
        as_list: bool = False,
        pluck: bool = False,
        auto_commit: bool = False,
        as_iterator: bool = False,
    ) -> Any:
        """Run one statement and return its rows. Every statement comes through here.

        values: tuple, list, dict or a single one. Rows are tuples, Config objects (as_dict), lists
        (as_list) or first columns (pluck); () where the statement has no result. as_iterator (not
        with tuples) fetches them as they are used, for an unbuffered_cursor() block.
        Raises ImplicitCommitError for a statement that would commit what was written before it,
        QueryDeadlockError, QueryTimeoutError, InReadOnlyMode, else what the server's driver raises.
        """
        query = query.strip()
        if not self._conn:
            self.connect()
        self.check_transaction_status(query)
        if auto_commit:
            self.commit()
        if values is _NO_VALUES:
            values = None
        elif not isinstance(values, (tuple, list, dict)):
            values = (values,)
        try:
            self._cursor.execute(query, values or None)
        except Exception as error:
            if self.is_deadlocked(error):
                raise QueryDeadlockError(error) from error
            if self.is_timedout(error):
                raise QueryTimeoutError(error) from error
            if self.is_read_only_mode_error(error):
                frappe.throw("Site is in read only mode for maintenance.", frappe.InReadOnlyMode)
            raise
        if auto_commit:
            self.commit()
        if not self._cursor.description:
            return ()
        if as_iterator:
            return self._iterate(pluck=pluck, as_dict=as_dict, as_list=as_list)
        return self._shaped(self._cursor.fetchall(), pluck=pluck, as_dict=as_dict, as_list=as_list)

    def _shaped(self, rows: Any, *, pluck: bool, as_dict: bool, as_list: bool) -> Any:
        if pluck:
            return [row[0] for row in rows]
        if as_dict:
            names = [column[0] for column in self._cursor.description]
            return [Config(zip(names, row, strict=True)) for row in rows]
        return [list(row) for row in rows] if as_list else rows

    def _iterate(self, **shape: bool) -> Iterator[Any]:
        if not any(shape.values()):
            frappe.throw("`as_iterator` only works with `pluck`, `as_dict` or `as_list`")
        while rows := self._cursor.fetchmany(_ROWS_AT_ONCE):
            yield from self._shaped(rows, **shape)

    def check_transaction_status(self, query: str) -> None:
        """Count the transaction's writes; ImplicitCommitError if the statement would commit them.

        Kept fault: only a statement that begins with the bare word counts.
        """
        if self.transaction_writes and is_query_type(query, _COMMITS_BY_ITSELF):
            raise ImplicitCommitError("This statement can cause implicit commit", query)
        if is_query_type(query, _TRANSACTION_ENDS):
            self.transaction_writes = 0
        if query[:6].lower() in ("update", "insert", "delete"):
            self.transaction_writes += 1

    def sql_ddl(self, query: str) -> None:
        """Run a statement that commits by itself."""
        disabled, self._disable_transaction_control = self._disable_transaction_control, 0
        self.commit()
        self.sql(query)
        self._disable_transaction_control = disabled

    def get_value(
        self,
        doctype: str,
        filters: Any,
        fieldname: Any = "name",
        *,
        as_dict: bool = False,
        cache: bool = False,
        for_update: bool = False,
    ) -> Any:
        """Return one field, or several, of the first matching document; None if there is none.

        cache: remember the answer for a name in this connection. for_update: lock the row.
        """
        fields = (fieldname,) if isinstance(fieldname, str) else tuple(fieldname)
        key = (doctype, filters, fields) if cache and isinstance(filters, str) else None
        if key in self.value_cache:
            row = self.value_cache[key]
        else:
            rows = frappe.get_all(
                doctype, filters=filters, fields=list(fields), limit=1, for_update=for_update
            )
            row = rows[0] if rows else None
            if key:
                self.value_cache[key] = row
        if row is None or as_dict:
            return row
        return row[fieldname] if isinstance(fieldname, str) else tuple(row[f] for f in fields)

    def set_value(self, doctype: str, name: str, field: Any, value: Any = None) -> None:
        """Set fields of a row without loading the document."""
        fields = field if isinstance(field, dict) else {field: value}
        assignments = ", ".join(f"`{key}` = %s" for key in fields)
        self.sql(
            f"UPDATE `tab{doctype}` SET {assignments} WHERE name = %s", (*fields.values(), name)
        )

    def get_single_value(self, doctype: str, field: str) -> Any:
        """Return a field of a single document."""
        rows = self.sql(
            "SELECT value FROM tabSingles WHERE doctype = %s AND field = %s", (doctype, field)
        )
        return rows[0][0] if rows else None

    def set_single_value(self, doctype: str, field: str, value: Any) -> None:
        """Set a field of a single document."""
        self.sql("DELETE FROM tabSingles WHERE doctype = %s AND field = %s", (doctype, field))
        self.sql(
            "INSERT INTO tabSingles (doctype, field, value) VALUES (%s, %s, %s)",
            (doctype, field, value),
        )

    def get_default(self, key: str) -> Any:
        """Return a site-wide default."""
        rows = self.sql("SELECT defvalue FROM tabDefaultValue WHERE defkey = %s", key)
        return rows[0][0] if rows else None

    def set_default(self, key: str, value: Any) -> None:
        """Set a site-wide default."""
        self.sql("DELETE FROM tabDefaultValue WHERE defkey = %s", key)
        self.sql(
            "INSERT INTO tabDefaultValue (name, defkey, defvalue, parent, creation) "
            "VALUES (%s, %s, %s, '__global', now(6))",
            (frappe.generate_hash(10), key, value),
        )

    def exists(self, doctype: str, filters: Any) -> Any:
        """Return the name of a matching document or None."""
        return self.get_value(doctype, filters)

    def count(self, doctype: str, filters: Any = None) -> int:
        """Return how many documents match."""
        return frappe.get_all(doctype, filters=filters, fields=["count(*) as total"])[0].total

    def begin(self, *, read_only: bool = False) -> None:
        """Start a transaction, a read-only one if the whole request is."""
        mode = " READ ONLY" if read_only or frappe.flags.read_only else ""
        self.sql(f"START TRANSACTION{mode}")

    def commit(self) -> None:
        """Make this connection's writes last, start the next transaction, run what waited."""
        if self._disable_transaction_control:
            warnings.warn("A commit was ignored: it is disabled here", stacklevel=2)
            return
        self.before_rollback.reset()
        self.after_rollback.reset()
        self.before_commit.run()
        self.sql("commit")
        self.begin()
        self.after_commit.run()

    def rollback(self, *, save_point: str | None = None) -> None:
        """Undo this connection's writes, or those since a savepoint (no callback runs then)."""
        if save_point:
            self.sql(f"rollback to savepoint {save_point}")
            return
        if self._disable_transaction_control:
            warnings.warn("A rollback was ignored: it is disabled here", stacklevel=2)
            return
        self.before_commit.reset()
        self.after_commit.reset()
        self.before_rollback.run()
        self.sql("rollback")
        self.begin()
        self.after_rollback.run()

    def savepoint(self, save_point: str) -> None:
        """Mark a place in the transaction."""
        self.sql(f"savepoint {save_point}")

    def release_savepoint(self, save_point: str) -> None:
        """Forget a mark."""
        self.sql(f"release savepoint {save_point}")

    def close(self) -> None:
        """Close without a commit: uncommitted writes are gone. The next statement reconnects."""
        if self._conn:
            self._conn.close()
            self._cursor = None
            self._conn = None
