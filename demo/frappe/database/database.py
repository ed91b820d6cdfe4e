"""Statements, values and transactions, whatever the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import frappe
from frappe.config import Config

_NO_VALUES = object()


class CallbackManager:
    """Functions to run once, at the next commit or rollback."""

    def __init__(self) -> None:
        self._functions: list[Callable[[], Any]] = []

    def add(self, function: Callable[[], Any]) -> None:
        """Remember a function."""
        self._functions.append(function)

    def run(self) -> None:
        """Run the functions and forget them."""
        while self._functions:
            self._functions.pop(0)()

    def reset(self) -> None:
        """Forget the functions."""
        self._functions.clear()


class Database(ABC):
    """A connection that opens itself at the first statement."""

    def __init__(
        self,
        socket: str | None = None,
        host: str | None = None,
        user: str | None = None,
        password: str | None = None,
        port: int | str | None = None,
        cur_db_name: str | None = None,
    ) -> None:
        self.socket = socket
        self.host = host
        self.user = user
        self.password = password
        self.port = port
        self.cur_db_name = cur_db_name
        self.after_commit = CallbackManager()
        self._conn: Any = None
        self._cursor: Any = None

    def connect(self) -> None:
        """Connect now."""
        self._conn = self.get_connection()
        self._cursor = self._conn.cursor()

    @abstractmethod
    def get_connection(self) -> Any:
        """Return a DB-API connection."""

    def translate(self, error: Exception) -> Exception:
        """Return the exception to raise for a server's."""
        return error

    def sql(
        self,
        query: str,
        values: Any = _NO_VALUES,
        *,
        as_dict: bool = False,
        as_list: bool = False,
        pluck: bool = False,
        auto_commit: bool = False,
        **_: Any,
    ) -> Any:
        """Run one statement and return its rows.

        values: tuple, list, dict or a single one. Rows are tuples, Config objects (as_dict), lists
        (as_list) or first columns (pluck); () where the statement has no result.
        """
        if not self._conn:
            self.connect()
        if auto_commit:
            self.commit()
        if values is _NO_VALUES:
            values = None
        elif not isinstance(values, (tuple, list, dict)):
            values = (values,)
        try:
            self._cursor.execute(query, values or None)
        except Exception as error:
            translated = self.translate(error)
            if translated is error:
                raise
            raise translated from error
        if auto_commit:
            self.commit()
        if not self._cursor.description:
            return ()
        rows = self._cursor.fetchall()
        if pluck:
            return [row[0] for row in rows]
        if as_dict:
            names = [column[0] for column in self._cursor.description]
            return [Config(zip(names, row, strict=True)) for row in rows]
        return [list(row) for row in rows] if as_list else rows

    def sql_ddl(self, query: str) -> None:
        """Run a statement that commits by itself."""
        self.commit()
        self.sql(query)

    def get_value(
        self, doctype: str, filters: Any, fieldname: Any = "name", as_dict: bool = False, **_: Any
    ) -> Any:
        """Return one field, or several, of the first matching document; None if there is none."""
        fields = [fieldname] if isinstance(fieldname, str) else list(fieldname)
        rows = frappe.get_all(doctype, filters=filters, fields=fields, limit=1)
        if not rows:
            return None
        row = rows[0]
        if as_dict:
            return row
        return row[fieldname] if isinstance(fieldname, str) else tuple(row[f] for f in fields)

    def set_value(self, doctype: str, name: str, field: Any, value: Any = None, **_: Any) -> None:
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

    def get_tables(self) -> list[str]:
        """Return the database's tables."""
        return self.sql("SHOW TABLES", pluck=True)

    def begin(self, *, read_only: bool = False) -> None:
        """Start a transaction."""
        self.sql("START TRANSACTION READ ONLY" if read_only else "START TRANSACTION")

    def commit(self) -> None:
        """Make this connection's writes last, then run what waited for it."""
        if self._conn:
            self._conn.commit()
        self.after_commit.run()

    def rollback(self, *, save_point: str | None = None) -> None:
        """Undo this connection's writes."""
        self.after_commit.reset()
        if self._conn:
            self._conn.rollback()

    def close(self) -> None:
        """Close without a commit: uncommitted writes are gone."""
        if self._conn:
            self._conn.close()
            self._conn = None
