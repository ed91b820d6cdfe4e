"""Notes of the fleet on a host: its mark, and an update or adoption that is not finished."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..record import Record, RecordError


def read_mark(config_dir: str) -> dict[str, Any]:
    """The mark of a fleet: {state: absent, present or broken, path}.

    When present also fleet_id, role, format (1 where it has none) and versions, {name: release};
    when broken also detail.
    """
    path = f"{config_dir}/fleet.json"
    try:
        mark = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"state": "absent", "path": path}
    except (OSError, ValueError) as error:
        return {"state": "broken", "path": path, "detail": str(error)}
    if not isinstance(mark, dict) or not mark.get("fleet_id"):
        return {"state": "broken", "path": path, "detail": "it has no fleet_id"}
    form, versions = mark.get("format", 1), mark.get("versions", {})
    if not isinstance(form, int) or not isinstance(versions, dict):
        return {"state": "broken", "path": path, "detail": "its format or versions are not valid"}
    return {
        "state": "present",
        "path": path,
        "fleet_id": str(mark["fleet_id"]),
        "role": str(mark.get("role", "")),
        "format": form,
        "versions": {str(name): str(release) for name, release in versions.items()},
    }


def read_record(state_dir: str) -> dict[str, Any] | None:
    """The record of who is primary, see fleet/record.py; None where there is none.

    One that cannot be read is {trouble}.
    """
    try:
        found = Record.read(state_dir)
    except RecordError as error:
        return {"trouble": str(error)}
    return asdict(found) if found else None


def known_hosts(config_dir: str) -> dict[str, str]:
    """Hosts of the fleet that this host has recorded: {address: ed25519 key}."""
    try:
        text = Path(f"{config_dir}/known_hosts").read_text(encoding="utf-8")
    except OSError:
        return {}
    # A line begins with the address, or with [address]:port.
    lines = re.findall(r"^(\S+) ssh-ed25519 (\S+)", text, re.MULTILINE)
    return {re.sub(r"^\[(.*)\]:\d+$", r"\1", place): key for place, key in lines}


def note(path: str) -> dict[str, Any]:
    """The contents of a note of something unfinished; {finished: True} where there is no note."""
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"finished": True}
    return found


def read_update(state_dir: str) -> str:
    """When the unfinished update of the apps on this host began; "" when there is none.

    An update that only has reporting nodes left to update does not count.
    """
    state = note(f"{state_dir}/update.json")
    return "" if state.get("finished") else str(state.get("stamp") or "unknown")


def adoption_pending(state_dir: str) -> bool:
    """Whether an adoption of this host was begun and is not finished."""
    return not note(f"{state_dir}/adopted.json").get("finished")
