"""State that all processes of a bench share: the replica's state, places, and counts.

It is in small files in one folder. Each is replaced in one step, or locked by an flock that ends
with its process, so nothing has to be cleaned up after a kill.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

log = logging.getLogger("benchfleet.read_guard")

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Replica:
    """The state of a replica.

    away: since when it cannot be read from, in seconds of the epoch; 0 when it can. reason: why.
    """

    away: float = 0
    reason: str = ""


class State:
    """The shared folder. ``account`` names the site's account on the replica."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def replica(self, account: str) -> Replica:
        """The state of the replica; without a readable file it counts as up."""
        return _read(self._file(account))

    def set_replica(self, account: str, state: Replica) -> None:
        """Write the replica's state for all processes."""
        with _despite_full_disk():
            _replace(self._file(account), asdict(state))

    def troubled(self) -> bool:
        """Whether a site's replica cannot be read from, and a process waits for its return.

        Without such a process the state may be old: the next call checks it, and starts one.
        """
        for path in self.folder.glob("replica-*.json"):
            account = unquote(path.stem.removeprefix("replica-"))
            if _read(path).away:
                with self.sole(lookout(account)) as alone:
                    if not alone:
                        return True
        return False

    def _file(self, account: str) -> Path:
        return self.folder / f"replica-{quote(account, safe='')}.json"

    @contextmanager
    def sole(self, name: str) -> Iterator[bool]:
        """Whether this process is the only one that does a thing; held until the block ends."""
        lock = _lock(self.folder / f"{quote(name, safe='')}.lock")
        try:
            yield lock is not None
        finally:
            if lock is not None:
                os.close(lock)

    def take_place(self, places: int, seconds: float) -> int | None:
        """Wait for a free place; returns the argument of give_place, None when all stay taken."""
        deadline = time.monotonic() + seconds
        while True:
            for number in range(places):
                lock = _lock(self.folder / f"place-{number}.lock")
                if lock is not None:
                    return lock
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_SECONDS)

    @staticmethod
    def give_place(place: int) -> None:
        """Free a place for another call."""
        os.close(place)

    def count(self, kind: str, name: str, **details: Any) -> int:
        """Add one to the count of a kind and name, with details; returns the count.

        0 when it could not be written.
        """
        path = self.folder / "counts.json"

        def more(counts: dict[str, Any]) -> int:
            entry = counts.setdefault(kind, {}).setdefault(name, {"count": 0})
            count: int = entry["count"] + 1
            entry.update(details, count=count, last=round(time.time(), 3))
            return count

        with _despite_full_disk():
            return _update(path, more)
        return 0


def lookout(account: str) -> str:
    """Name of the lock of the one process that waits for a replica's return."""
    return f"return-{account}"


@contextmanager
def _despite_full_disk() -> Iterator[None]:
    """Log files that cannot be written: processes are slower then, but calls are answered."""
    try:
        yield
    except OSError as error:
        log.warning("the bench's shared state cannot be written: %s", error)


def _read(path: Path) -> Replica:
    try:
        return Replica(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Replica()


def _lock(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _replace(path: Path, value: Any) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    new.write_text(json.dumps(value))
    new.replace(path)


def _update(path: Path, change: Callable[[dict[str, Any]], int]) -> int:
    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        known: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            known = json.loads(path.read_text())
        outcome = change(known)
        _replace(path, known)
        return outcome
    finally:
        os.close(handle)
