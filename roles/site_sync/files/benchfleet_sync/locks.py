"""Locks: of the run that is under way, and of what open transactions have touched."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import IO, Any

from benchfleet_sync.primary import SyncError
from benchfleet_sync.settings import Settings

# Seconds that a copy waits for the moment in which no transaction is noting a file; and a pull for
# the copy that is under way.
NOTING_SECONDS = 30.0


class BusyError(Exception):
    """Another run holds the lock."""


def locked(handle: IO[Any], kind: int, wait: float) -> bool:
    """Whether a file's lock could be taken within so many seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(min(0.02, max(wait, 0.001)))


@contextlib.contextmanager
def lock(settings: Settings, wait: float) -> Iterator[None]:
    """Hold the bench's sync lock. Raises BusyError when it is not free within ``wait`` seconds."""
    with (settings.folder / ".site-sync.lock").open("w") as handle:
        if not locked(handle, fcntl.LOCK_EX, wait):
            raise BusyError("the run before this one is still going on")
        yield


@contextlib.contextmanager
def standstill(settings: Settings) -> Iterator[list[bytes]]:
    """Keep transactions from touching further files; gives what the open ones have touched.

    A copy sees the folder as it is when it begins and deletes at its end: a file that came in
    between would be lost.
    """
    settings.touched.mkdir(exist_ok=True)
    with (settings.touched / "lock").open("w") as handle:
        if not locked(handle, fcntl.LOCK_EX, NOTING_SECONDS):
            raise SyncError(f"a process has been noting a file for {NOTING_SECONDS:g} s")
        yield touched_paths(settings)


def touched_paths(settings: Settings) -> list[bytes]:
    """Paths, from the sites folder on, in the notes of open transactions.

    Each process holds the lock of its note; a note without one was left by a process that is dead.
    """
    found: list[bytes] = []
    for note in settings.touched.iterdir():
        if note.name == "lock":
            continue
        with contextlib.suppress(FileNotFoundError), note.open("rb") as source:
            if locked(source, fcntl.LOCK_EX, 0):
                note.unlink()
            else:
                found += source.read().split(b"\0")[:-1]
    return found


def is_touched(settings: Settings, site: str, name: str) -> bool:
    """Whether an open transaction on this host has touched a file, as one that has deleted it."""
    wanted = os.fsencode(f"{site}/{name}")
    try:
        notes = list(settings.touched.iterdir())
    except FileNotFoundError:
        return False
    for note in notes:
        # A socket, a folder: nobody's note.
        if note.name == "lock" or not note.is_file():
            continue
        with contextlib.suppress(FileNotFoundError), note.open("rb") as source:
            # Locked by its process before anything is in it.
            if wanted in source.read().split(b"\0")[:-1] and not locked(source, fcntl.LOCK_SH, 0):
                return True
    return False
