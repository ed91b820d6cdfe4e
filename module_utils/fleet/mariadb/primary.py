"""Open the confirmed primary for writes."""

from __future__ import annotations

from typing import Any

from ..changes import Changes
from .server import MariaDBError, local, read_json, root_takes_password, write_json


def open_for_writes(
    marker: str, fleet_file: str, fleet_id: str, check_mode: bool
) -> dict[str, Any]:
    """Result of the module mariadb_open, whose options these are. Raises MariaDBError."""
    changes = Changes()
    with local() as server:
        status = server.replica_status()
        if status is not None:
            raise MariaDBError(
                f"this host is the primary in the inventory, but its server follows"
                f" {status['Master_Host']}; it stays read-only. Correct the primary in the"
                " inventory, or switch over first"
            )
        if read_json(fleet_file).get("fleet_id") != fleet_id and not check_mode:
            raise MariaDBError(f"{fleet_file} does not name this fleet; run the whole site.yml")
        marked = read_json(marker).get("fleet_id") == fleet_id
        closed = bool(int(server.value("SELECT @@GLOBAL.read_only")))
        by_password = root_takes_password(server)
        if not marked:
            changes.note("not marked as primary", "marked as primary")
            if not check_mode:
                write_json(marker, {"fleet_id": fleet_id})
        if closed:
            changes.note("read_only", "open for writes")
            if not check_mode:
                server.run("SET GLOBAL read_only = 0")
        if not server.runs_events():
            changes.note("events do not run", "events run")
            if not check_mode:
                server.run("SET GLOBAL event_scheduler = 1")
    return changes.result(read_only=closed, root_takes_password=by_password)
