"""The slow reports of the last day, and who waits for whom in MariaDB now."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..logs import end_of
from ..mariadb.server import SOCKET, Server, local
from ..mariadb.texts import statement

# The router writes a line for each slow report, of five seconds or more:
# roles/router/templates/benchfleet.conf.j2.
REPORT_LOG = "/var/log/nginx/benchfleet-reports.log"
# Of the log and the one before its last rotation, the last bytes are read.
MOST_BYTES = 20 * 1024**2
DAY = 86400
MOST_REPORTS, MOST_WAITS = 5, 10
# A query that runs for longer is named, also where nothing waits for it.
LONG_SECONDS = 60
# Characters of a query that are shown; more are read, so that no literal is cut.
SHOWN, READ = 80, 2000
# Seconds that MariaDB may take for an answer.
LIMIT = 3
WAITS = f"""
SET STATEMENT max_statement_time={LIMIT} FOR
SELECT DISTINCT waiter.trx_mysql_thread_id AS waiting_id,
    blocker.trx_mysql_thread_id AS blocking_id,
    TIMESTAMPDIFF(SECOND, waiter.trx_wait_started, NOW()) AS seconds,
    LEFT(theirs.INFO, {READ}) AS query, theirs.USER AS user,
    LEFT(own.INFO, {READ}) AS blocking_query, own.USER AS blocking_user
FROM information_schema.INNODB_LOCK_WAITS AS waits
JOIN information_schema.INNODB_TRX AS waiter ON waiter.trx_id = waits.requesting_trx_id
JOIN information_schema.INNODB_TRX AS blocker ON blocker.trx_id = waits.blocking_trx_id
LEFT JOIN information_schema.PROCESSLIST AS theirs ON theirs.ID = waiter.trx_mysql_thread_id
LEFT JOIN information_schema.PROCESSLIST AS own ON own.ID = blocker.trx_mysql_thread_id
ORDER BY seconds DESC LIMIT 200
"""
LONG = f"""
SET STATEMENT max_statement_time={LIMIT} FOR
SELECT ID AS blocking_id, TIME AS seconds, LEFT(INFO, {READ}) AS blocking_query,
    USER AS blocking_user
FROM information_schema.PROCESSLIST
WHERE COMMAND IN ('Query', 'Execute') AND TIME > {LONG_SECONDS} AND INFO IS NOT NULL
    AND USER NOT IN ('system user', 'event_scheduler')
ORDER BY TIME DESC LIMIT {MOST_WAITS}
"""


def waits_of(server: Server) -> list[dict[str, Any]]:
    """Transactions that wait for another one's lock, then queries that run for long.

    {waiting_id, blocking_id, seconds, query, user, blocking_query, blocking_user}: connections, the
    query that waits and its account, and the same of the one that it waits for. The query is "" of
    a transaction that does nothing now. Of a query that runs for long, waiting_id is None. One that
    waits itself is not named as a blocker: to end it would free nobody for long.
    """
    rows = server.rows(WAITS)
    waiting = {row["waiting_id"] for row in rows}
    found = [row for row in rows if row["blocking_id"] not in waiting][:MOST_WAITS]
    known = {row["blocking_id"] for row in found} | waiting
    found += [
        {"waiting_id": None, "query": "", "user": "", **row}
        for row in server.rows(LONG)
        if row["blocking_id"] not in known
    ]
    return [
        {
            **{key: row[key] for key in ("waiting_id", "blocking_id")},
            "seconds": int(row["seconds"] or 0),
            "query": statement(row["query"], SHOWN),
            "user": row["user"] or "",
            "blocking_query": statement(row["blocking_query"], SHOWN),
            "blocking_user": row["blocking_user"] or "",
        }
        for row in found
    ]


def waits(socket: str = SOCKET) -> list[dict[str, Any]]:
    """Who waits for whom on this host's MariaDB, see waits_of. Raises MariaDBError."""
    with local(socket) as server:
        return waits_of(server)


def last_lines(path: str, most: int) -> list[str]:
    """The lines among the last bytes of a log; [] where it is no plain file."""
    with suppress(OSError):
        return end_of(path, most)
    return []


def report_name(call: Mapping[str, Any]) -> str:
    """The name of a report, or else of the method that was called."""
    name = urllib.parse.unquote_plus(str(call.get("name") or ""))
    return (name or str(call["path"]).rsplit("/", 1)[-1])[:SHOWN]


def calls_of(lines: Iterable[str], since: float) -> Iterator[dict[str, Any]]:
    """The reports in lines of the log that ended after a time."""
    for line in lines:
        try:
            call = json.loads(line)
            seconds, ended = float(call["seconds"]), float(call["at"])
            if ended >= since and call["host"]:
                at = round(ended - seconds)
                yield {
                    "name": report_name(call),
                    "host": str(call["host"]),
                    "seconds": round(seconds, 1),
                    "at": at,
                }
        except (ValueError, KeyError, TypeError):
            continue


def slow(params: Mapping[str, Any], log: str = REPORT_LOG) -> list[dict[str, Any]]:
    """The slowest reports of the last day, each name once: {name, host, seconds, at}.

    host: which one answered. at: when the call came, in epoch seconds. [] on a host that is not the
    router. params: those of node_status.
    """
    if params["role"] != "primary":
        return []
    lines = last_lines(log, MOST_BYTES)
    room = MOST_BYTES - sum(map(len, lines))
    lines += last_lines(f"{log}.1", room) if room > 0 else []
    slowest: dict[str, dict[str, Any]] = {}
    for call in calls_of(lines, time.time() - DAY):
        known = slowest.get(call["name"])
        if known is None or call["seconds"] > known["seconds"]:
            slowest[call["name"]] = call
    return sorted(slowest.values(), key=lambda call: -call["seconds"])[:MOST_REPORTS]
