"""MariaDB on this host, and its replication."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from ..mariadb import texts
from ..mariadb.options import server_options
from ..mariadb.server import MariaDBError, local
from ..verify.replica import heartbeat_age
from .troubles import AMBER, RED, Trouble, trouble

# Seconds after which a replica counts as behind.
LAG = {AMBER: 60, RED: 300}
# While a replica's disk is full, SHOW SLAVE STATUS waits for ever, and each further one would keep
# one more connection.
BLOCKED = (
    "SELECT COALESCE(MAX(TIME), 0) FROM information_schema.PROCESSLIST"
    " WHERE INFO = 'SHOW SLAVE STATUS' AND TIME > 2"
)
LOG_BYTES = 2**16
# Errors of a client that finds no server.
UNCONNECTED = (2002, 2003, 2006, 2013)


def server() -> dict[str, Any]:
    """MariaDB's version. Raises MariaDBError where it does not answer."""
    try:
        with local() as there:
            return {"mariadb": str(there.value("SELECT VERSION()")).split("-")[0]}
    except MariaDBError as error:
        if error.__cause__ and error.__cause__.args[0] in UNCONNECTED:
            raise MariaDBError("nothing answers at its socket") from error
        raise


def replication(role: str) -> dict[str, Any]:
    """What MariaDB replicates, the age of the newest heartbeat in seconds, and troubles.

    Both are None where an earlier SHOW SLAVE STATUS still waits: that is the trouble.
    """
    with local() as there:
        if waits := int(there.value(BLOCKED)):
            what = f"SHOW SLAVE STATUS: no answer in {waits} s"
            troubles = [trouble("no_answer", what)]
            return {"replication": None, "lag_seconds": None, "troubles": troubles}
        closed = int(there.value("SELECT @@GLOBAL.read_only"))
        status = there.replica_status()
        age = heartbeat_age(there)
    if status is None:
        state = "no replica, " + ("closed for writes" if closed else "takes writes")
        running = False
    else:
        threads = f"IO {status['Slave_IO_Running']}, SQL {status['Slave_SQL_Running']}"
        state = f"follows {status['Master_Host']}, {threads}" + ("" if closed else ", TAKES WRITES")
        running = {status["Slave_IO_Running"], status["Slave_SQL_Running"]} == {"Yes"}
    faults = {
        "primary_follows": (role == "primary" and bool(status), f"MariaDB {state}"),
        "primary_closed": (role == "primary" and bool(closed), "MariaDB is closed for writes"),
        "threads": (
            role != "primary" and not running,
            f"MariaDB {state}{errors(status or {})}",
        ),
        "read_only": (role != "primary" and not closed, "MariaDB takes writes"),
    }
    troubles = [trouble(name, what) for name, (is_so, what) in faults.items() if is_so]
    troubles += behind(role, age)
    lag = None if age is None else round(age, 1)
    return {"replication": state, "lag_seconds": lag, "troubles": troubles}


def errors(status: dict[str, Any]) -> str:
    """The last errors of a replica's threads, to be put behind a text.

    Without their statements, which may have passwords and people's data in them.
    """
    return "".join(
        f"; {name}: {texts.error(status[f'Last_{name}_Error'])} ({status[f'Last_{name}_Errno']})"
        for name in ("IO", "SQL")
        if int(status.get(f"Last_{name}_Errno") or 0)
    )


def behind(role: str, age: float | None) -> list[Trouble]:
    """The trouble of a heartbeat that is old. age: in seconds; None without a heartbeat."""
    if age is None:
        return [trouble("lag", "there is no heartbeat of the primary")]
    if age <= LAG[AMBER]:
        return []
    what = f"the newest heartbeat is {age:.0f} s old"
    if role == "primary":
        what += ": the primary writes none"
    return [trouble("lag", what, RED if age > LAG[RED] else AMBER)]


def why_down() -> str:
    """The state of MariaDB's service, and the error in its log that explains it."""
    facts = ("ActiveState", "SubState", "Result", "NRestarts")
    unit = said("systemctl", "show", "mariadb", "--property", ",".join(facts))
    state = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    text = f"its service is {state.get('ActiveState')} ({state.get('SubState')})"
    if state.get("Result") not in ("success", None):
        text += f", result {state['Result']}"
    if int(state.get("NRestarts") or 0):
        text += f", started again {state['NRestarts']} times"
    error = last_error(log(), state.get("SubState") == "running")
    return text + (f"; its log: {error}" if error else "")


def log() -> str:
    """The end of MariaDB's log, or the last quarter of an hour of the journal."""
    path = server_options().get("log_error", "")
    if not path:
        since = ("--since=-15min", "--lines=300", "--output=cat", "--no-pager")
        return said("journalctl", "--unit=mariadb", *since)
    path = path if path.startswith("/") else f"{server_options().get('datadir')}/{path}"
    with Path(path).open("rb") as source:
        source.seek(max(0, source.seek(0, 2) - LOG_BYTES))
        return source.read().decode(errors="replace")


def last_error(text: str, runs: bool) -> str:
    """The last line of a log of MariaDB that names a full disk, or else the last error.

    runs: the server runs; then other errors do not explain that it does not answer.
    """
    lines = [line.strip() for line in text.splitlines()]
    full = r"No space left|[Dd]isk( is)? full|Errcode: 28|error( number)? 28\b"
    for pattern in (full,) if runs else (full, r"\[ERROR\]"):
        if found := [line for line in lines if re.search(pattern, line)]:
            return re.sub(r"^\S+ +\S+ +\d+ +(?=\[)", "", found[-1])[:300]
    return ""


def said(*command: str) -> str:
    """The output of a program, in English."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=30,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
    ).stdout
