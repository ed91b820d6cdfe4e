"""What stops or delays replication on a replica: judged from its own status, by error number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..mariadb import texts
from ..mariadb.remedies import passing
from .causes import Action, Found, found

START = Action("replication")
# From this age of the newest heartbeat, in seconds, replication counts as late.
LATE_SECONDS = 5.0
# A statement that runs for so long is what the others wait for.
LONG_SECONDS = 5
# Errors of the connection to the primary: it was not reached, or ended the connection.
UNREACHED = {2002, 2003, 2005, 2006, 2013, 1040, 1129, 1158, 1159, 1160, 1161}
REFUSED = {1045, 1130, 1227, 1698}
DIFFERS = {1032, 1062, 1452, 1451}
SCHEMA = {1005, 1050, 1051, 1054, 1091, 1118, 1146, 1418}
# Lock waits, deadlocks, interrupted threads and connections: the transaction is tried again.
PASSES = {1205, 1213, 1317, 1927, 1969, 3024}
# Share of the last ten seconds in which some process waited for a disk.
SLOW_DISK = 40.0


def number_of(status: Mapping[str, Any]) -> tuple[int, str]:
    """The error that stopped a thread, with its text: the applying one's first; (0, "")."""
    for thread in ("SQL", "IO"):
        if number := int(status.get(f"Last_{thread}_Errno") or 0):
            return number, str(status.get(f"Last_{thread}_Error") or "")
    return 0, ""


def unreached(number: int, tried: Mapping[str, Any], port: int) -> Found:
    """Why the primary is not reached, by what was tried from here: {filtered, error, filters}."""
    if tried.get("filtered"):
        filters = ", ".join(tried.get("filters") or []) or "none that drops packets"
        return found("filter", port=port, filters=filters)
    return found("primary_unreached", number=number, seen=tried.get("error") or "it answers now")


def account_differs(text: str) -> Found | None:
    """The cause of 1396; None where the text names no account."""
    named = re.search(r"Operation (\w+) \w+ failed for '([^']*)'@'([^']*)'", text)
    if not named:
        return None
    there = named[1] == "CREATE"
    return found(
        "account_differs",
        there="there" if there else "missing",
        verb="DROP" if there else "CREATE",
        account=named[2],
        origin=named[3],
    )


def table_of(text: str) -> str:
    """The table that the message of a row event names; "" without one."""
    named = re.search(r"on table (\S+?);", text) or re.search(r"Table '(\S+?)'", text)
    return named[1] if named else ""


def stopped(
    status: Mapping[str, Any],
    tried: Mapping[str, Any],
    errant: Sequence[str],
    emptied: Sequence[str],
) -> Iterable[Found]:
    """Why replication does not run.

    status: the row of SHOW SLAVE STATUS. tried: what a connection to the primary from here said:
    {error, number, filtered, filters}. errant: GTIDs here that the primary never had. emptied:
    tables that a restart empties. A cause whose cure is a new copy is only found with its proof.
    """
    number, text = number_of(status)
    what, port = texts.error(text), int(status.get("Master_Port") or 0)
    position = str(status.get("Gtid_IO_Pos") or "nothing")
    threads = ", ".join(f"{name} {status[f'Slave_{name}_Running']}" for name in ("IO", "SQL"))
    if emptied and errant and number in (1032, 1950):
        yield found("memory_table", number=number, tables=", ".join(emptied))
    elif errant and number in (0, 1236, 1950, *DIFFERS):
        yield found("write_on_replica", number=number, gtids=", ".join(errant))
    elif number in DIFFERS:
        yield found("rows_differ", number=number, what=what, table=table_of(text))
    elif number == 1236 and re.search(r"purged|too old|Could not find", text):
        yield found("binlog_purged", position=position)
    elif number == 1236:
        yield found("position_unknown", what=what, position=position)
    elif number == 1396 and (account := account_differs(text)):
        yield account
    elif number == 2026 or "SSL" in text or "certificate" in text:
        yield found("replica_tls", number=number, what=texts.error(tried.get("error") or text))
    elif number in UNREACHED:
        yield unreached(number, tried, port)
    elif number in REFUSED:
        yield found("primary_refuses", number=number)
    elif number in SCHEMA:
        yield found("schema_refused", number=number, what=what)
    elif number in PASSES or (number and passing(number)):
        yield found("replica_transient", START, number=number, what=what)
    elif number:
        yield found("replica_error", number=number, what=what)
    elif "No" in (status["Slave_IO_Running"], status["Slave_SQL_Running"]):
        yield found("replica_stopped", START, threads=threads)
    elif tried.get("error"):
        yield unreached(int(tried.get("number") or 0), tried, port)


def applying(processes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The process that applies the primary's changes; of several the one that runs longest.

    processes: rows of information_schema.PROCESSLIST, see PROCESSES.
    """
    idle = re.compile(r"has read all relay log|Waiting for (master|work)|Queueing|Closing", re.I)
    own = [
        row
        for row in processes
        if row["USER"] == "system user"
        and str(row["COMMAND"]).startswith("Slave_")
        and row["COMMAND"] != "Slave_IO"
        and not idle.search(str(row["STATE"] or ""))
    ]
    return max(own, key=lambda row: (row["INFO"] is not None, int(row["TIME"] or 0)), default={})


def holder(processes: Iterable[Mapping[str, Any]], waiting: Mapping[str, Any]) -> Mapping[str, Any]:
    """The client's process that holds what another one waits for, as far as the list shows it.

    The oldest with an open transaction, else the oldest in the database of the waiting statement.
    """
    schema = table_in(str(waiting.get("INFO") or "")).rpartition(".")[0] or waiting.get("DB")
    clients = [
        row
        for row in processes
        if row["USER"] not in ("system user", "event_scheduler")
        and not str(row["COMMAND"]).startswith(("Slave", "Binlog", "Daemon"))
        and (row["OPEN"] or (row["DB"] and row["DB"] == schema))
    ]
    return max(clients, key=lambda row: (row["OPEN"], int(row["TIME"] or 0)), default={})


def table_in(text: str) -> str:
    """The table that a statement changes; "" where none is seen."""
    name = r"(?:`[^`]+`|[\w$]+)"
    pattern = (
        r"\b(?:TABLE|INTO|UPDATE|FROM)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
        rf"({name}(?:\.{name})?)"
    )
    named = re.search(pattern, text, re.IGNORECASE)
    return named[1].replace("`", "") if named else ""


def late(
    lag: float,
    processes: Sequence[Mapping[str, Any]],
    keyless: Sequence[str],
    waits_for_disk: float | None,
) -> Iterable[Found]:
    """Why a replica whose threads run is late. lag: seconds.

    keyless: tables without a key that a change could use, as `schema.table`. waits_for_disk: share
    in percent.
    """
    now, age = applying(processes), round(lag)
    state, text = str(now.get("STATE") or ""), str(now.get("INFO") or "")
    seconds = int(now.get("TIME") or 0)
    held = holder(processes, now) if re.search(r"lock", state, re.I) else {}
    rows = re.search(r"(Update|Delete)_rows|find_row|by row|row event", state, re.I)
    named = [name for name in keyless if name.rpartition(".")[2] in re.findall(r"[\w$ ]+", state)]
    candidates = named or list(keyless)
    if held:
        yield found(
            "lag_lock",
            lag=age,
            table=table_in(text) or "a table",
            seconds=int(held["TIME"] or 0),
            connection=held["ID"],
            holder=f"{held['USER']} from {str(held['HOST']).partition(':')[0]}",
            statement=texts.statement(held["INFO"]) or "no statement now",
        )
    elif rows and candidates:
        schema, _, table = candidates[0].partition(".")
        yield found("lag_no_key", lag=age, schema=schema, table=table)
    elif text and seconds >= LONG_SECONDS:
        yield found("lag_statement", lag=age, seconds=seconds, statement=texts.statement(text))
    elif waits_for_disk is not None and waits_for_disk > SLOW_DISK:
        yield found("lag_disk", lag=age, share=round(waits_for_disk))
    elif not now:
        yield found("heartbeat_old", lag=age)
    else:
        yield found("lag", lag=age, state=state or "rows")
