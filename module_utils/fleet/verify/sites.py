"""A site's configuration: its accounts, and the keys that make Frappe read from a replica."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..mariadb.server import pymysql
from ..sites.folders import own_account

WRITE = "INSERT INTO tabSingles (doctype, field, value) VALUES ('fleet-verify', %s, '1')"


def reading_account(config: dict[str, Any], major: int) -> tuple[str, str]:
    """User and password by which this Frappe version signs in to the replica.

    Frappe 16 reads ``replica_db_user``; 13 to 15 take ``replica_db_name`` for the user; without
    different credentials it is the site's own account.
    """
    if config.get("different_credentials_for_replica"):
        key = "replica_db_user" if major >= 16 else "replica_db_name"
        return str(config.get(key) or ""), str(config.get("replica_db_password") or "")
    return own_account(config)


def key_problems(
    config: dict[str, Any], major: int, primary_ip: str, own_ip: str, port: int
) -> list[str]:
    """Faults of the keys that make a Frappe of this version read from its replica.

    Each begins with the key.
    """
    problems = []

    def want(key: str, value: Any, seen: Any) -> None:
        if str(seen) != str(value):
            problems.append(f"{key} is {json.dumps(seen)}, not {json.dumps(value)}")

    want("read_from_replica", True, bool(config.get("read_from_replica")))
    want("replica_host", own_ip, config.get("replica_host"))
    want("replica_db_port", port, config.get("replica_db_port") or 3306)
    want("db_host", primary_ip, config.get("db_host"))
    database = str(config.get("db_name") or "")
    if not database:
        problems.append("db_name is missing")
    different = bool(config.get("different_credentials_for_replica"))
    if major < 15:
        # Frappe 14 has one key for both user and database: a user of another name cannot be used.
        want("different_credentials_for_replica", False, different)
        return problems
    want("different_credentials_for_replica", True, different)
    user, password = reading_account(config, major)
    key = "replica_db_user" if major >= 16 else "replica_db_name"
    if different and (user == own_account(config)[0] or not user.endswith("_ro")):
        problems.append(f"{key} is {json.dumps(user)}, not the reading account of {database}")
    if different and not password:
        problems.append("replica_db_password is missing")
    return problems


@contextmanager
def site_connection(
    host: str, port: int, user: str, password: str, database: str, ca: str = ""
) -> Iterator[Any]:
    """Sign in to a site's database as its bench does, or without TLS where no CA is named."""
    connection = pymysql.connect(
        host=host,
        port=port,
        user=user,
        password=password,
        database=database,
        charset="utf8mb4",
        connect_timeout=5,
        read_timeout=20,
        ssl={"ca": ca} if ca else None,
        # Without this a newer driver would use TLS where the server offers it.
        ssl_disabled=not ca,
    )
    try:
        yield connection
    finally:
        connection.close()


def write_attempt(connection: Any, token: str) -> int:
    """Try to write a row; returns the error's number, 0 when the server accepted it.

    The transaction is rolled back, so no row stays.
    """
    connection.begin()
    try:
        with connection.cursor() as cursor:
            cursor.execute(WRITE, (token,))
    except pymysql.MySQLError as error:
        return int(error.args[0])
    finally:
        connection.rollback()
    return 0
