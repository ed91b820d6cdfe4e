"""How long runs of playbooks and restarts took the last time, on this controller."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchfleet.shell import write_json

# Options of ansible-playbook after which a run takes another time, with a value and without one.
VALUED = ("-l", "--limit", "-t", "--tags", "--skip-tags", "--start-at-task")
CHECK = ("-C", "--check")
# The oldest beyond these are dropped.
RUNS_KEPT = 100


def in_check_mode(arguments: Sequence[str]) -> bool:
    """Return whether these arguments of ansible-playbook ask for check mode."""
    return any(word in CHECK for word in arguments)


def scope(arguments: Sequence[str]) -> str:
    """Return the arguments that decide how much a run does."""
    words = [
        f"{word} {arguments[n + 1]}" if word in VALUED and n + 1 < len(arguments) else word
        for n, word in enumerate(arguments)
        if word.split("=")[0] in VALUED
    ]
    return " ".join([*words, "check"] if in_check_mode(arguments) else words)


def digest(inventory: Path) -> str:
    """Return a short name of an inventory's path."""
    return hashlib.sha256(str(inventory.resolve()).encode()).hexdigest()[:16]


def numbers(found: Any) -> dict[str, float]:
    """Return the entries of a mapping whose values are seconds; {} of anything else."""
    if not isinstance(found, dict):
        return {}
    return {str(k): float(v) for k, v in found.items() if type(v) in (int, float) and v >= 0}


@dataclass(frozen=True)
class Last:
    """The last run of a playbook that ended well: its seconds, and those of each play."""

    seconds: float | None = None
    plays: Mapping[str, float] = field(default_factory=dict)

    def expected(self, play: str, began: float, now: float, later: Sequence[str]) -> float | None:
        """Return how long the whole run will probably take; None where no run is known.

        play: the one that runs, since second `began`; now: the present second; later: the names of
        the plays to come.
        """
        if self.seconds is None:
            return None
        if not self.plays:
            return self.seconds
        rest = sum(self.plays.get(name, 0.0) for name in later)
        return began + max(now - began, self.plays.get(play, 0.0)) + rest


@dataclass(frozen=True)
class Times:
    """The file with these times, for one playbook and inventory.

    A file that is missing or unreadable is an empty one: the times are only ever shown.
    """

    file: Path
    playbook: str
    inventory: Path
    arguments: Sequence[str] = ()

    def read(self) -> dict[str, Any]:
        """Return what the file holds."""
        try:
            found = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def key(self) -> str:
        """The name of such runs in the file."""
        parts = (self.playbook, digest(self.inventory), scope(self.arguments))
        return " ".join(part for part in parts if part)

    def last(self) -> Last:
        """Return the last run of this kind."""
        runs = self.read().get("runs")
        run = runs.get(self.key) if isinstance(runs, dict) else None
        if not isinstance(run, dict):
            return Last()
        return Last(numbers(run).get("seconds"), numbers(run.get("plays")))

    def restarts(self) -> dict[str, float]:
        """Return the seconds of the last restart of each service in this fleet."""
        known = self.read().get("restarts")
        return numbers(known.get(digest(self.inventory))) if isinstance(known, dict) else {}

    def note(
        self, seconds: float, plays: Mapping[str, float], restarts: Mapping[str, float]
    ) -> None:
        """Keep a run that ended well. The file is replaced whole, so readers see no part of it."""
        found = self.read()
        runs = found.get("runs")
        runs = {k: v for k, v in runs.items() if numbers(v)} if isinstance(runs, dict) else {}
        times = {"seconds": round(seconds, 1), "plays": rounded(plays)}
        runs[self.key] = {"when": round(time.time()), **times}
        known = found.get("restarts")
        known = dict(known) if isinstance(known, dict) else {}
        if restarts:
            name = digest(self.inventory)
            known[name] = numbers(known.get(name)) | rounded(restarts)
        newest = sorted(runs, key=lambda name: numbers(runs[name]).get("when", 0.0))
        kept = {name: runs[name] for name in newest[-RUNS_KEPT:]}
        write_json(self.file, {"runs": kept, "restarts": known})


def rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return seconds to a tenth."""
    return {name: round(value, 1) for name, value in seconds.items()}
