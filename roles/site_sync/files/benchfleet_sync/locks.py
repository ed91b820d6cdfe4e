"""Locks of the running copy, and of files that open transactions have touched."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import IO, Any

from benchfleet_sync.primary import SyncError
from benchfleet_sync.settings import Settings

# Seconds that a copy waits until no transaction is noting a file.
NOTING_SECONDS = 30.0
# Seconds that a copy waits for its turn: another one may bring large files.
TURN_SECONDS = 600.0


class BusyError(Exception):
    """Another run holds the lock."""


def locked(handle: IO[Any], kind: int, wait: float) -> bool:
    """Whether a file's lock could be taken within ``wait`` seconds."""
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
            raise BusyError("the previous run is still going on")
        yield


@contextlib.contextmanager
def turn(settings: Settings) -> Iterator[None]:
    """Be the only one that copies; who asks is next. Raises SyncError.

    A run copies one folder after another, and without turns nobody else would in between.
    """
    folder = settings.folder
    with (
        (folder / ".site-sync.next").open("w") as asks,
        (folder / ".site-sync.copy").open("w") as mine,
    ):
        if not all(locked(handle, fcntl.LOCK_EX, TURN_SECONDS) for handle in (asks, mine)):
            raise SyncError(f"other copies have gone on for {TURN_SECONDS:g} s")
        fcntl.flock(asks, fcntl.LOCK_UN)
        yield


@contextlib.contextmanager
def standstill(settings: Settings) -> Iterator[list[bytes]]:
    """Keep transactions from touching further files; gives paths that open ones have touched.

    A copy reads the folder at its beginning and deletes at its end: a file made in between would be
    lost.
    """
    settings.touched.mkdir(exist_ok=True)
    with turn(settings), (settings.touched / "lock").open("w") as handle:
        if not locked(handle, fcntl.LOCK_EX, NOTING_SECONDS):
            raise SyncError(f"a process has held the lock of the notes for {NOTING_SECONDS:g} s")
        yield touched_paths(settings)


def touched_paths(settings: Settings) -> list[bytes]:
    """Paths, below the sites folder, in the notes of open transactions.

    Each process holds the lock of its note; a note without a lock was left by a dead process.
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
    """Whether an open transaction on this host has touched (or deleted) a file."""
    wanted = os.fsencode(f"{site}/{name}")
    try:
        notes = list(settings.touched.iterdir())
    except FileNotFoundError:
        return False
    for note in notes:
        # Sockets and folders are no notes.
        if note.name == "lock" or not note.is_file():
            continue
        with contextlib.suppress(FileNotFoundError), note.open("rb") as source:
            # Its process locks it before writing to it.
            if wanted in source.read().split(b"\0")[:-1] and not locked(source, fcntl.LOCK_SH, 0):
                return True
    return False
