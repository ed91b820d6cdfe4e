"""MariaDB through PyMySQL."""

from __future__ import annotations

from typing import Any

import pymysql
from pymysql.constants import ER

import frappe
from frappe.database.database import Database
from frappe.exceptions import InReadOnlyMode, QueryDeadlockError, QueryTimeoutError

# PyMySQL has no name for it.
_ER_READ_ONLY_TRANSACTION = 1792


class MariaDBDatabase(Database):
    """One connection to one MariaDB server."""

    OperationalError = pymysql.OperationalError
    InternalError = pymysql.InternalError
    ProgrammingError = pymysql.ProgrammingError
    default_port = "3306"
    db_type = "mariadb"

    def get_connection_settings(self) -> dict[str, Any]:
        """Return what PyMySQL connects with: no port means 3306, and there is no read timeout."""
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

    def create_connection(self) -> Any:
        """Open a connection; pymysql.OperationalError 2003 if nobody listens."""
        return pymysql.connect(**self.get_connection_settings())

    def get_connection(self) -> Any:
        """Return the connection that connect() keeps."""
        return self.create_connection()

    def set_execution_timeout(self, seconds: int) -> None:
        """Bound every later statement of the session."""
        self.sql("set session max_statement_time = %s", int(seconds))

    @staticmethod
    def is_deadlocked(error: Exception) -> bool:
        """Return whether the error is a deadlock."""
        return error.args[0] == ER.LOCK_DEADLOCK

    @staticmethod
    def is_timedout(error: Exception) -> bool:
        """Return whether the error is a lock wait timeout."""
        return error.args[0] == ER.LOCK_WAIT_TIMEOUT

    @staticmethod
    def is_access_denied(error: Exception) -> bool:
        """Return whether the error is a refused login."""
        return error.args[0] == ER.ACCESS_DENIED_ERROR

    @staticmethod
    def is_read_only_mode_error(error: Exception) -> bool:
        """Return whether a write met a read-only transaction (maintenance mode)."""
        return error.args[0] == _ER_READ_ONLY_TRANSACTION

    def translate(self, error: Exception) -> Exception:
        """Return the framework's own exception for a server's, where there is one."""
        if not isinstance(error, pymysql.Error) or not error.args:
            return error
        if self.is_deadlocked(error):
            return QueryDeadlockError(error)
        if self.is_timedout(error):
            return QueryTimeoutError(error)
        if self.is_read_only_mode_error(error):
            return InReadOnlyMode("Site is running in read only mode for maintenance.")
        return error
