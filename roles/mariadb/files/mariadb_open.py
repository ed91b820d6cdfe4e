#!/usr/bin/python3
"""Open this MariaDB server for writes if, and only if, it is its fleet's confirmed primary.

Runs after every start of the server. The role mariadb_primary writes the marker; a server that
follows another one stays closed in any case.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder
from fleet.mariadb.by_client import ask

NOT_PRIMARY = "this host is not the primary"


def reason_to_stay_closed(fleet: Path, marker: Path) -> str | None:
    """Why this host is not the confirmed primary, None when it is."""
    if not marker.exists():
        return NOT_PRIMARY
    try:
        own = json.loads(fleet.read_text())["fleet_id"]
        confirmed = json.loads(marker.read_text())["fleet_id"]
    except (OSError, ValueError, KeyError) as error:
        return f"{fleet} or {marker} cannot be read: {error}"
    if own != confirmed:
        return f"{marker} names another fleet, {confirmed}"
    return None


def main() -> int:
    """Open the server or leave it closed; the journal says which."""
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
