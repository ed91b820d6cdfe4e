"""What is wrong with this host's MariaDB: whether it runs, has connections, replicates."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import record
from ..mariadb import texts
from ..mariadb.moving import USER
from ..mariadb.options import data_folder
from ..mariadb.server import (
    EVER,
    LAST,
    MariaDBError,
    Server,
    describe,
    errant,
    installed,
    local,
    memory_tables,
    pymysql,
    remote,
    stored_password,
)
from ..packet_filters import filtered, look_at_filters
from ..processes import run
from ..verify.replica import heartbeat_age
from .causes import Action, Found, found
from .replication import LATE_SECONDS, late, stopped

UNIT = "mariadb.service"
UNIT_FACTS = "LoadState,ActiveState,NRestarts,ActiveEnterTimestampMonotonic"
# systemd has restarted it so often, and for the last time so many seconds ago: it crashes again.
CRASHES, CRASHED_SECONDS = 3, 600
# From this share of max_connections, the next burst of calls is refused.
NEARLY_ALL = 0.95
CLOCK_SECONDS = 5
TRY_SECONDS = 3.0
# OPEN: whether the connection has an open transaction. A statement may have many megabytes.
PROCESSES = (
    "SELECT p.ID, USER, HOST, DB, COMMAND, TIME, STATE, LEFT(INFO, 2000) AS INFO,"
    " t.trx_id IS NOT NULL AS OPEN"
    " FROM information_schema.PROCESSLIST p"
    " LEFT JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID"
)
# Tables of sites without a key that finds a row: for these a replica reads the whole table.
KEYLESS = (
    "SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME) AS name FROM information_schema.TABLES t"
    " LEFT JOIN information_schema.STATISTICS s ON s.TABLE_SCHEMA = t.TABLE_SCHEMA"
    " AND s.TABLE_NAME = t.TABLE_NAME WHERE t.TABLE_TYPE = 'BASE TABLE' AND t.TABLE_SCHEMA NOT IN"
    " ('mysql', 'information_schema', 'performance_schema', 'sys', 'benchfleet')"
    " AND s.INDEX_NAME IS NULL ORDER BY t.TABLE_ROWS DESC LIMIT 20"
)


def unit_facts(name: str) -> dict[str, str]:
    """What systemd says of a unit: the properties UNIT_FACTS."""
    lines = run(["systemctl", "show", name, "-p", UNIT_FACTS], seconds=10).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def log_of(unit: str, lines: int = 60) -> list[str]:
    """The last lines of a unit's log."""
    words = ["journalctl", "--unit", unit, "--lines", str(lines), "--output", "cat", "--no-pager"]
    return run(words, seconds=10).stdout.splitlines()


def service(facts: dict[str, str], now: float) -> list[Found]:
    """Whether MariaDB's service is up, and stays up.

    facts: as of unit_facts. now: seconds since boot.
    """
    state = facts.get("ActiveState", "unknown")
    is_up = state in ("active", "reloading")
    since = now - int(facts.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    restarts = int(facts.get("NRestarts") or 0)
    if facts.get("LoadState") != "loaded":
        return []
    if restarts >= CRASHES and (not is_up or since < CRASHED_SECONDS):
        return [found("mariadb_crashes", restarts=restarts, errors=texts.errors_in(log_of(UNIT)))]
    if is_up or state == "activating":
        return []
    errors = texts.errors_in(log_of(UNIT))
    return [found("mariadb_down", Action("start", UNIT), state=state, errors=errors)]


def holders(processes: Iterable[dict[str, Any]], most: int = 3) -> str:
    """Who has the most connections, as a text for people."""
    rows = [row for row in processes if row["USER"] not in ("system user", "event_scheduler")]
    count = Counter((row["USER"], str(row["HOST"]).partition(":")[0]) for row in rows)
    asleep = Counter(
        (row["USER"], str(row["HOST"]).partition(":")[0])
        for row in rows
        if row["COMMAND"] == "Sleep"
    )
    return ", ".join(
        f"{user} from {host}: {number} ({asleep[user, host]} asleep)"
        for (user, host), number in count.most_common(most)
    )


def connections(server: Server, processes: list[dict[str, Any]]) -> list[Found]:
    """Whether the next call may find no connection."""
    most = int(server.value("SELECT @@GLOBAL.max_connections"))
    clients = [row for row in processes if row["USER"] not in ("system user", "event_scheduler")]
    if len(clients) < NEARLY_ALL * most:
        return []
    who = holders(processes)
    return [found("out_of_connections", used=len(clients), most=most, holders=who)]


def waits_for_disk() -> float | None:
    """Share of the last ten seconds, in percent, in which some process waited for a disk.

    None where the kernel does not say.
    """
    with suppress(OSError):
        text = Path("/proc/pressure/io").read_text(encoding="ascii")
        if said := re.search(r"^some avg10=([\d.]+)", text, re.MULTILINE):
            return float(said[1])
    return None


def primary_from_here(status: dict[str, Any], last: str) -> dict[str, Any]:
    """What a connection to the primary as the replication account says, made like the replica's.

    last: this server's last GTIDs. Returns {errant, seconds: ours minus the primary's
    clock}, or {error, number, filtered, filters}.
    """
    host, port = str(status["Master_Host"]), int(status["Master_Port"])
    password = stored_password(data_folder()) or ""
    try:
        where = (host, port, USER, password, str(status["Master_SSL_CA_File"]))
        with remote(*where) as primary:
            began = time.time()
            theirs = float(primary.value("SELECT UNIX_TIMESTAMP(NOW(6))"))
            ours = (began + time.time()) / 2
            known = primary.value(EVER)
        return {"errant": errant(last, known), "seconds": round(ours - theirs, 1)}
    except (pymysql.MySQLError, OSError) as error:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        dropped = filtered(host, port, TRY_SECONDS)
        return {
            "error": texts.error(describe(error)),
            "number": number,
            "filtered": dropped,
            "filters": look_at_filters() if dropped else [],
        }


def clock(tried: dict[str, Any]) -> list[Found]:
    """Whether this host's clock is the primary's."""
    seconds = tried.get("seconds") or 0.0
    if abs(seconds) <= CLOCK_SECONDS:
        return []
    way = "ahead of" if seconds > 0 else "behind"
    return [found("clock", seconds=abs(seconds), way=way)]


def replica(server: Server, processes: list[dict[str, Any]]) -> list[Found]:
    """What is wrong with a replica."""
    status = server.replica_status()
    if status is None:
        return [found("replica_unset")]
    causes = []
    if not int(server.value("SELECT @@GLOBAL.read_only")):
        causes.append(found("replica_open"))
    tried = primary_from_here(status, str(server.value(LAST) or ""))
    causes += clock(tried)
    why = list(stopped(status, tried, tried.get("errant") or [], memory_tables(server)))
    causes += why
    age = heartbeat_age(server)
    # By the clock of both hosts; where these differ, the difference counts as no lag.
    lag = None if age is None else age - (tried.get("seconds") or 0.0)
    if not why and lag is not None and lag > LATE_SECONDS:
        keyless = [str(row["name"]) for row in server.rows(KEYLESS)]
        causes += late(lag, processes, keyless, waits_for_disk())
    return causes


def database(role: str) -> list[Found]:
    """What is wrong with this host's server. Raises MariaDBError."""
    facts = unit_facts(UNIT)
    causes = service(facts, time.clock_gettime(time.CLOCK_MONOTONIC))
    if facts.get("ActiveState") != "active" or not installed():
        return causes
    try:
        with local() as server:
            processes = server.rows(PROCESSES)
            causes += connections(server, processes)
            if role == "reporting":
                causes += replica(server, processes)
            elif int(server.value("SELECT @@GLOBAL.read_only")):
                why = record.state().get("why") or f"{record.UNIT} has not looked"
                causes.append(found("primary_closed", why=why))
            return causes
    except MariaDBError as error:
        if causes or unit_facts(UNIT).get("ActiveState") != "active":
            return causes
        cause = error.__cause__
        number = cause.args[0] if cause and cause.args else 0
        if number in (1040, 1203):
            who = "nobody could be asked, not even root"
            return [found("out_of_connections", used="all", most="its limit", holders=who)]
        return [found("mariadb_silent", what=texts.error(str(error)))]
