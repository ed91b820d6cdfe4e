"""The result of a run: its counts, ``sites/.site-sync.json`` and the line in rsync.log."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchfleet_sync.files import write_if_different
from benchfleet_sync.settings import Settings


@dataclass
class Outcome:
    """Counts of one run."""

    files: int = 0
    sent: int = 0
    deleted: int = 0
    configs: int = 0
    kept: int = 0
    sites: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    # Listed sites whose folder is missing on the primary.
    lost: list[str] = field(default_factory=list)
    # Sites that are read from the primary until the replica has their accounts.
    waiting: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def read_mark(path: Path) -> dict[str, Any]:
    """The last run's mark, empty when there is none or it cannot be read."""
    try:
        mark = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}


def write_mark(settings: Settings, mark: dict[str, Any]) -> None:
    """Write a mark."""
    write_if_different(settings.mark, json.dumps(mark, indent=1) + "\n", 0o644)


def new_mark(
    old: dict[str, Any], settings: Settings, outcome: Outcome, started: float, finished: float
) -> dict[str, Any]:
    """The mark of a run. Times are seconds since the epoch, by this host's clock."""
    counts = asdict(outcome)
    good = not counts.pop("errors")
    return {
        "ok": good,
        "started": round(started, 3),
        "finished": round(finished, 3),
        "last_success": round(finished, 3) if good else old.get("last_success"),
        # The copy has at least what the primary had when this run began.
        "in_step_since": round(started, 3) if good else old.get("in_step_since"),
        "seconds": round(finished - started, 3),
        **counts,
        "sites": len(outcome.sites),
        # Sites that were copied separately since: {site: when that began}.
        "pulled": {} if good else old.get("pulled") or {},
        "error": "; ".join(outcome.errors) or None,
        "config_digest": settings.digest,
    }


def in_step_since(mark: dict[str, Any], site: str) -> float:
    """The time at which the primary had all files that are here now; 0 for never."""
    pulled = (mark.get("pulled") or {}).get(site)
    return max(float(mark.get("in_step_since") or 0), float(pulled or 0))


def log_line(mark: dict[str, Any]) -> str:
    """One line for logs/rsync.log."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(mark["finished"]))
    counts = (
        f"{mark['seconds']:.1f}s sites={mark['sites']} files={mark['files']} sent={mark['sent']}"
        f" deleted={mark['deleted']} settings_changed={mark['configs']}"
    )
    labels = {"removed": "removed", "gone_from_primary": "lost", "replica_does_not_know": "waiting"}
    for label, key in labels.items():
        counts += f" {label}={','.join(mark[key])}" if mark[key] else ""
    if mark["kept"]:
        counts += f" left_to_open_transactions={mark['kept']}"
    return f"{at} ok {counts}" if mark["ok"] else f"{at} FAILED {counts}: {mark['error']}"
