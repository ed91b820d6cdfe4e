"""Connections by kind of server; MariaDB alone here."""

from __future__ import annotations

from typing import Any


def get_db(
    socket: str | None = None,
    host: str | None = None,
    user: str | None = None,
    password: str | None = None,
    port: int | str | None = None,
    cur_db_name: str | None = None,
) -> Any:
    """Return a database object; it connects at its first statement. 15 knows no ``socket``."""
    import frappe

    if frappe.SINCE_16:
        from frappe.database.mariadb import mysqlclient

        return mysqlclient.MariaDBDatabase(socket, host, user, password, port, cur_db_name)
    from frappe.database.mariadb.database import MariaDBDatabase

    return MariaDBDatabase(host, user, password, port, cur_db_name)
