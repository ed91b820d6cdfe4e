"""MariaDB by mysqlclient, as Frappe has it since 16."""

from __future__ import annotations

from typing import Any

import MySQLdb
from MySQLdb.cursors import SSCursor

from frappe.database.mariadb import database


class MariaDBDatabase(database.MariaDBDatabase):
    """One connection to one MariaDB server."""

    ProgrammingError = MySQLdb.ProgrammingError
    OperationalError = MySQLdb.OperationalError
    InternalError = MySQLdb.InternalError
    IntegrityError = MySQLdb.IntegrityError
    InterfaceError = MySQLdb.InterfaceError
    SQLError = MySQLdb.ProgrammingError
    DataError = MySQLdb.DataError
    unbuffered: Any = SSCursor

    def create_connection(self) -> Any:
        """Open a connection; MySQLdb.OperationalError 2002 or 2003 if nothing listens."""
        return MySQLdb.connect(**self.get_connection_settings())
