"""MariaDB through PyMySQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import ER
from pymysql.cursors import SSCursor

import frappe
from frappe.database.database import Database

# PyMySQL has no names for these.
_ER_READ_ONLY_TRANSACTION = 1792
_ER_STATEMENT_TIMEOUT = 1969


def _code(error: Exception) -> Any:
    driver = type(error).__module__.split(".")[0]
    return error.args[0] if driver in ("pymysql", "MySQLdb") and error.args else None


class MariaDBExceptionUtil:
    """What an error of the server means."""

    ProgrammingError = pymysql.ProgrammingError
    OperationalError = pymysql.OperationalError
    InternalError = pymysql.InternalError
    IntegrityError = pymysql.IntegrityError
    InterfaceError = pymysql.InterfaceError
    SQLError = pymysql.ProgrammingError
    DataError = pymysql.DataError

    @staticmethod
    def is_deadlocked(error: Exception) -> bool:
        """Return whether the error is a deadlock."""
        return _code(error) == ER.LOCK_DEADLOCK

    @staticmethod
    def is_timedout(error: Exception) -> bool:
        """Return whether the error is a lock wait timeout."""
        return _code(error) == ER.LOCK_WAIT_TIMEOUT

    @staticmethod
    def is_statement_timeout(error: Exception) -> bool:
        """Return whether a statement took longer than it may."""
        return _code(error) == _ER_STATEMENT_TIMEOUT

    @staticmethod
    def is_read_only_mode_error(error: Exception) -> bool:
        """Return whether a write met a read-only transaction (maintenance mode)."""
        return _code(error) == _ER_READ_ONLY_TRANSACTION

    @staticmethod
    def is_access_denied(error: Exception) -> bool:
        """Return whether the error is a refused login."""
        return _code(error) == ER.ACCESS_DENIED_ERROR

    @staticmethod
    def is_table_missing(error: Exception) -> bool:
        """Return whether a table is not there."""
        return _code(error) == ER.NO_SUCH_TABLE

    @staticmethod
    def is_missing_column(error: Exception) -> bool:
        """Return whether a column is not there."""
        return _code(error) == ER.BAD_FIELD_ERROR

    @staticmethod
    def is_duplicate_entry(error: Exception) -> bool:
        """Return whether a key is taken."""
        return _code(error) == ER.DUP_ENTRY

    @classmethod
    def is_interface_error(cls, error: Exception) -> bool:
        """Return whether the connection was used after it had been lost."""
        return isinstance(error, cls.InterfaceError)


class MariaDBConnectionUtil:
    """How a connection is made."""

    def get_connection(self) -> Any:
        """Return the connection that connect() keeps."""
        return self._get_connection()

    def _get_connection(self) -> Any:
        return self.create_connection()

    def create_connection(self) -> Any:
        """Open a connection; pymysql.OperationalError 2003 if nothing listens."""
        return pymysql.connect(**self.get_connection_settings())

    def set_execution_timeout(self, seconds: int) -> None:
        """Bound every later statement of the session."""
        self.sql("set session max_statement_time = %s", int(seconds))

    def get_connection_settings(self) -> dict[str, Any]:
        """Return the driver's arguments: no port means 3306, and there is no read timeout."""
        settings: dict[str, Any] = {"user": self.user, "charset": "utf8mb4"}
        if self.cur_db_name:
            settings["database"] = self.cur_db_name
        if self.socket:
            settings["unix_socket"] = self.socket
        else:
            settings["host"] = self.host
            if self.port:
                settings["port"] = int(self.port)
        if self.password:
            settings["password"] = self.password
        conf = frappe.get_conf()
        if conf.db_ssl_ca and conf.db_ssl_cert and conf.db_ssl_key:
            settings["ssl"] = {
                "ca": conf.db_ssl_ca,
                "cert": conf.db_ssl_cert,
                "key": conf.db_ssl_key,
            }
        return settings


class MariaDBDatabase(MariaDBConnectionUtil, MariaDBExceptionUtil, Database):
    """One connection to one MariaDB server."""

    db_type = "mariadb"
    unbuffered: Any = SSCursor

    @contextmanager
    def unbuffered_cursor(self) -> Iterator[None]:
        """Read from the server as rows are asked for, while the block runs."""
        if not self._conn:
            self.connect()
        buffered, self._cursor = self._cursor, self._conn.cursor(self.unbuffered)
        unbuffered = self._cursor
        try:
            yield
        finally:
            self._cursor = buffered
            unbuffered.close()
