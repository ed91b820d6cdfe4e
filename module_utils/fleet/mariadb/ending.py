"""Ends a query, or a transaction for which others wait: of accounts of the sites alone."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from ..status.slow import SHOWN, WAITS
from .server import MariaDBError, Server, describe, pymysql
from .texts import statement

# MariaDB's answers to KILL for a connection, or a query, that is over.
GONE = frozenset({1094, 1957})
# Seconds that an ended query may take to give up.
PATIENCE = 10.0
PROCESS = (
    "SELECT USER AS user, COMMAND AS command, TIME AS seconds, QUERY_ID AS query_id,"
    " LEFT(INFO, 2000) AS query FROM information_schema.PROCESSLIST WHERE ID = %s"
)


def is_sites(server: Server, user: str, accounts: Collection[str]) -> bool:
    """Whether a connection's account is a site's, and has no right on the whole server.

    The names come from files that the bench's account can write, so they are not trusted alone: one
    may be "system user", as MariaDB calls the threads of replication, which no account has.
    """
    if user not in accounts:
        return False
    rights = server.rows(
        "SELECT PRIVILEGE_TYPE AS name FROM information_schema.USER_PRIVILEGES"
        " WHERE GRANTEE LIKE %s",
        ("'" + user.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "'@%",),
    )
    return {row["name"] for row in rights} == {"USAGE"}


def what_to_end(server: Server, number: int, row: dict[str, Any], seconds: int) -> tuple[str, str]:
    """What is ended, "query" or "transaction", and the statement. Raises MariaDBError."""
    if row["command"] in ("Query", "Execute") and row["seconds"] >= seconds:
        # By its own number: the connection's next query is left alone.
        return "query", f"KILL QUERY ID {int(row['query_id'])}"
    held = [wait for wait in server.rows(WAITS) if wait["blocking_id"] == number]
    if any((wait["seconds"] or 0) >= seconds for wait in held):
        return "transaction", f"KILL CONNECTION {number}"
    raise MariaDBError(
        f"connection {number} was left alone: it neither runs a query for {seconds} s or more, nor"
        " does another wait so long for it; `./fleet status` shows what runs and waits now"
    )


def end(
    server: Server, number: int, accounts: Collection[str], seconds: int, check_mode: bool
) -> dict[str, Any]:
    """End what a connection runs, or its transaction: {changed, ended, words}.

    number: the connection. accounts: names of the sites' accounts. seconds: how long the query must
    run, or another must wait for the transaction. ended: query, transaction, or "" where there was
    nothing left. Raises MariaDBError where the connection may not be ended.
    """
    found = server.rows(PROCESS, (number,))
    if not found:
        return {"changed": False, "ended": "", "words": f"connection {number} is over already"}
    row = found[0]
    if not is_sites(server, str(row["user"]), accounts):
        raise MariaDBError(
            f"connection {number} is of account {row['user']}, which is no site's, and was left"
            " alone; if it is yours, end it on the host with `mariadb -e 'KILL QUERY"
            f" {number}'`"
        )
    ended, kill = what_to_end(server, number, row, seconds)
    what = f"the {ended} of connection {number} ({row['user']})"
    if query := statement(row["query"], SHOWN):
        what += f": {query}"
    if check_mode:
        return {"changed": True, "ended": ended, "words": f"would end {what}"}
    try:
        server.run(kill)
    except pymysql.MySQLError as error:
        if error.args[0] in GONE:
            return {"changed": False, "ended": "", "words": f"over already: {what}"}
        raise MariaDBError(f"MariaDB did not end {what}: {describe(error)}") from error
    over = waited_for(server, number, row["query_id"])
    state = "ended" if over else "will end, but still undoes its changes:"
    return {"changed": True, "ended": ended, "words": f"{state} {what}"}


def waited_for(server: Server, number: int, query: int) -> bool:
    """Wait until a connection no longer runs a query; whether that is so in time."""
    ending = time.monotonic() + PATIENCE
    while time.monotonic() < ending:
        now = server.rows(PROCESS, (number,))
        if not now or now[0]["query_id"] != query or now[0]["command"] == "Sleep":
            return True
        time.sleep(0.1)
    return False
