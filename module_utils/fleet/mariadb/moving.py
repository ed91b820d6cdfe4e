"""A server follows another primary than before, and keeps what it has received."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .received import drain, strange
from .remedies import passing, remedy
from .server import MariaDBError, Server, describe, memory_tables, pymysql, remote
from .statements import quote_text

# The fleet's accounts on each server: for replication, and for reading its state.
USER, PROBE = "repl", "fleet_probe"


def change_statement(primary: str | None, params: Mapping[str, Any]) -> str:
    """The statement CHANGE MASTER TO; without a primary the address stays."""
    parts = [f"MASTER_HOST={quote_text(primary)}"] if primary else []
    parts += [
        f"MASTER_PORT={params['port']}",
        f"MASTER_USER={quote_text(USER)}",
        f"MASTER_PASSWORD={quote_text(params['password'])}",
        "MASTER_USE_GTID=slave_pos",
        "MASTER_SSL=1",
        f"MASTER_SSL_CA={quote_text(params['ca'])}",
        "MASTER_SSL_VERIFY_SERVER_CERT=1",
        "MASTER_CONNECT_RETRY=5",
    ]
    return "CHANGE MASTER TO " + ", ".join(parts)


@contextmanager
def probed(address: str, params: Mapping[str, Any]) -> Iterator[Server]:
    """Another server of the fleet, for reading its state. Raises MariaDBError."""
    who = (PROBE, str(params["probe_password"]))
    try:
        with remote(address, int(params["port"]), *who, str(params["ca"])) as there:
            yield there
    except (pymysql.MySQLError, OSError) as error:
        raise MariaDBError(
            f"MariaDB on {address} does not let {PROBE} in from here ({describe(error)})"
        ) from error


def close_for_writes(server: Server) -> None:
    """Make a server read-only, without events, and no longer a source of semi-sync replication.

    A replica with rpl_semi_sync_master_enabled would wait for a replica of its own at each commit.
    """
    if not int(server.value("SELECT @@GLOBAL.read_only")):
        server.run("SET GLOBAL read_only = 1")
    if server.runs_events():
        server.run("SET GLOBAL event_scheduler = 0")
    if int(server.value("SELECT @@GLOBAL.rpl_semi_sync_master_enabled")):
        server.run("SET GLOBAL rpl_semi_sync_master_enabled = 0")


def move(server: Server, params: Mapping[str, Any], primary: str) -> list[str]:
    """Have a server follow another one from where it is; [] when it does.

    params: port, password, ca, probe_password, timeout (seconds). A replica stops receiving and
    applies what it has first. A former primary becomes a replica from the end of its own binary
    log: MASTER_DEMOTE_TO_SLAVE sets gtid_slave_pos to it. Where the server has transactions that
    the other one has not, nothing is changed, and they are returned. Raises MariaDBError.
    """
    close_for_writes(server)
    status = server.replica_status()
    receiving = status is not None and str(status["Slave_IO_Running"]) != "No"
    if receiving:
        server.run("STOP SLAVE IO_THREAD")
    moved = False
    try:
        if status is not None:
            drain(server, params["timeout"])
        with probed(primary, params) as there:
            if ahead := strange(server, there):
                return ahead
        moved = True
    finally:
        if receiving and not moved:
            server.run("START SLAVE IO_THREAD")
    server.run("STOP ALL SLAVES")
    demote = "" if status is not None else ", MASTER_DEMOTE_TO_SLAVE=1"
    server.run(change_statement(primary, params) + demote)
    server.run("START SLAVE")
    wait_connected(server, params["timeout"])
    return []


def wait_connected(server: Server, seconds: float) -> None:
    """Wait until both threads run. Raises MariaDBError for an error that does not pass."""
    until = time.monotonic() + seconds
    while True:
        status = server.replica_status() or {}
        running = [str(status.get(f"Slave_{thread}_Running")) for thread in ("IO", "SQL")]
        if running == ["Yes", "Yes"]:
            return
        number = int(status.get("Last_SQL_Errno") or status.get("Last_IO_Errno") or 0)
        if time.monotonic() > until or ("No" in running and number and not passing(number)):
            said = status.get("Last_SQL_Error") or status.get("Last_IO_Error") or "no error"
            raise MariaDBError(
                f"this server does not follow {status.get('Master_Host')}: {said} ({number});"
                f" {remedy(number, memory_tables(server))}"
            )
        time.sleep(0.1)
