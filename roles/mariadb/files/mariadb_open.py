#!/usr/bin/python3
"""Open this MariaDB server for writes if, and only if, it is its fleet's confirmed primary.

Runs after every start of the server. The marker is made by the role mariadb_primary; a server
that follows another one stays closed whatever the marker says.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def folders() -> tuple[Path, Path]:
    """The fleet's folders of configuration and of state on this host."""
    named = json.loads(Path(__file__).resolve().with_name("folders.json").read_text())
    return Path(named["config"]), Path(named["state"])


def ask(statement: str) -> str:
    """Run a statement as root through the socket, return its output."""
    done = subprocess.run(
        ["mariadb", "--no-defaults", "--batch", "--skip-column-names", "-e", statement],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


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
    config, state = folders()
    closed = reason_to_stay_closed(config / "fleet.json", state / "mariadb-primary")
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
