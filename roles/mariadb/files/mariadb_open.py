#!/usr/bin/python3
"""Open this MariaDB server for writes if, and only if, it is its fleet's confirmed primary.

Runs after every start of the server. The marker is made by the role mariadb_primary; a server
that follows another one stays closed whatever the marker says.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder
from fleet.mariadb.by_client import ask


def reason_to_stay_closed(fleet: Path, marker: Path) -> str | None:
    """Why this host is not the confirmed primary, None when it is."""
    if not marker.exists():
        return "not the primary"
    try:
        own = json.loads(fleet.read_text())["fleet_id"]
        confirmed = json.loads(marker.read_text())["fleet_id"]
    except (OSError, ValueError, KeyError) as error:
        return f"{fleet} or {marker} cannot be read: {error}"
    if own != confirmed:
        return f"{marker} was made by another fleet"
    return None


def main() -> int:
    """Open or stay closed; a word in the journal either way."""
    closed = reason_to_stay_closed(
        folder("config") / "fleet.json", folder("state") / "mariadb-primary"
    )
    if closed is None and ask("SHOW ALL SLAVES STATUS"):
        closed = "this server follows another one (SHOW ALL SLAVES STATUS)"
    if closed is not None:
        print(f"benchfleet: stays read-only: {closed}")
        return 0
    ask("SET GLOBAL read_only = 0; SET GLOBAL event_scheduler = 1")
    print("benchfleet: opened as the fleet's primary")
    return 0


if __name__ == "__main__":
    sys.exit(main())
