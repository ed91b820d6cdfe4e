"""Settings of the guard, from the inventory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

# Seconds in which a replica has to accept a connection, and to answer after a wait that it was
# asked for. One that takes longer counts as hung.
ANSWER_SECONDS = 1.0
# Seconds between two checks whether a replica is back.
RETRY_SECONDS = 1.0
# Seconds that a call waits for a place among those that may read from the primary.
PLACE_SECONDS = 10.0
# The least number of seconds that a background job waits for the replica: no user waits for it, and
# it would read much data from the primary instead.
JOB_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Settings:
    """One bench's settings: the keys of read-guard.json.

    node, primary: inventory names, for the header of an answer. policy: what a call does that
    cannot read from the replica: ``primary``, ``stale`` (an old answer when the replica is behind,
    else as primary) or ``error``. wait: seconds that a call waits for the replica. fallback_calls
    and fallback_seconds: how many of this node's calls may read from the primary at once, and how
    long a statement of theirs may take there. state_dir: folder that the bench's processes share.
    health: address and port of the health answers, None for none. reports_pool: this is the
    primary's own pool, which has no replica. reads: methods, by their dotted names, that are
    run as if they were read_only. job: whether this process does background jobs.
    """

    node: str
    primary: str
    state_dir: Path
    policy: str
    wait: float
    fallback_calls: int
    fallback_seconds: float
    health: tuple[str, int] | None
    reports_pool: bool
    reads: frozenset[str]
    job: bool = False


def load() -> Settings:
    """Read the file that BENCHFLEET_READ_GUARD names. Raises KeyError, OSError, ValueError."""
    values = json.loads(Path(os.environ["BENCHFLEET_READ_GUARD"]).read_text())
    health = values["health"]
    return Settings(
        node=values["node"],
        primary=values["primary"],
        state_dir=Path(values["state_dir"]),
        policy=values["policy"],
        wait=float(values["wait"]),
        fallback_calls=int(values["fallback_calls"]),
        fallback_seconds=float(values["fallback_seconds"]),
        health=(health[0], int(health[1])) if health else None,
        reports_pool=bool(values["reports_pool"]),
        reads=frozenset(values["reads"]),
    )
