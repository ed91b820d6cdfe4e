"""Settings of jobs from the inventory: jobs.json, read again when it has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Queues of ours: at-<server>, besides Frappe's own.
PREFIX = "at-"
# The queue of heavy jobs, which every reporting node serves.
HEAVY = "at-heavy"
# The queue of jobs that only the primary may do: all of its workers serve it.
ON_PRIMARY = f"{PREFIX}primary"
# In a placed job, the queue on which Frappe would have put it.
HOME = "fleet_home"


@dataclass(frozen=True)
class Settings:
    """The keys of jobs.json.

    node: inventory name of this host. primary: whether it is the primary. bench: the bench's
    folder. placement: queue of each job, by dotted name or pattern. away_seconds: how long a queue
    may be without a worker before the primary takes its jobs. when_away: ``primary`` or ``wait``.
    drained: the folders with the names of the nodes that are out of service, none on those.
    site_sync: the script that sends files to the primary, "" on the primary. ca: the fleet's CA,
    and servers: the addresses of the MariaDB that the bench calls; "" and none on the primary,
    whose own is on loopback.
    """

    node: str
    primary: bool
    bench: Path
    placement: Mapping[str, str]
    away_seconds: float
    when_away: str
    drained: tuple[str, ...]
    site_sync: str
    ca: str
    servers: tuple[str, ...]


_known: dict[str, tuple[tuple[int, int], Settings]] = {}


def load(path: str) -> Settings | None:
    """The present settings; None without a readable file.

    An unreadable file stops no process of the bench: its jobs go to Frappe's queues.
    """
    try:
        state = os.stat(path)
        version = (state.st_mtime_ns, state.st_ino)
        if path in _known and _known[path][0] == version:
            return _known[path][1]
        with open(path, encoding="utf-8") as source:
            values = json.load(source)
        found = Settings(
            node=values["node"],
            primary=bool(values["primary"]),
            bench=Path(values["bench"]),
            placement=dict(values["placement"]),
            away_seconds=float(values["away_seconds"]),
            when_away=values["when_away"],
            drained=tuple(values["drained"]),
            site_sync=values["site_sync"],
            # For a moment, the file may be of an older Benchfleet.
            ca=values.get("ca", ""),
            servers=tuple(values.get("servers", ())),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    _known[path] = (version, found)
    return found
