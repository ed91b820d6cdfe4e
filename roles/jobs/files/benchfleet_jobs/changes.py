"""Files that an open transaction has touched, and the note about them for site-sync."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import threading
import time
from contextlib import suppress

# A running copy may be large; a user's call ends after 120 s in any case.
NOTE_SECONDS = 110.0


class Transaction:
    """The files that one open transaction has touched, and its note for site-sync."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.guard = threading.RLock()
        # {site: {path: None}}, in the order in which they were touched.
        self.paths: dict[str, dict[str, None]] = {}
        self.note: int | None = None
        self.note_path = ""

    def touch(self, site: str, path: str) -> None:
        """Note a file that is about to be touched. Raises TimeoutError after a too long copy."""
        with self.guard:
            if path in self.paths.get(site, ()):
                return
            try:
                self._write_note(f"{site}/{path}")
            except TimeoutError:
                raise
            except OSError as error:
                # It is still sent to the primary, unless a copy undoes the change before that.
                print(f"benchfleet: {path} could not be noted: {error}", file=sys.stderr)
            self.paths.setdefault(site, {})[path] = None

    def _write_note(self, name: str) -> None:
        os.makedirs(self.folder, exist_ok=True)
        lock = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _wait_for_standstill_to_end(lock)
            if self.note is None:
                self.note_path = f"{self.folder}/{os.getpid()}-{time.monotonic_ns()}"
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self.note = os.open(self.note_path, flags, 0o644)
                # Held as long as this process lives: a note without a lock belongs to a dead
                # process.
                fcntl.flock(self.note, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self.note, os.fsencode(name) + b"\0")
        finally:
            os.close(lock)

    def forget(self) -> None:
        """Forget the files and remove the note."""
        with self.guard:
            self.paths.clear()
            if self.note is not None:
                with suppress(OSError):
                    os.unlink(self.note_path)
                os.close(self.note)
                self.note = None

    def leave(self) -> None:
        """In a child process: leave the note to the parent."""
        # The parent has the same descriptor, so closing it here does not unlock the note.
        if self.note is not None:
            os.close(self.note)


def _wait_for_standstill_to_end(lock: int) -> None:
    deadline = time.monotonic() + NOTE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"a copy of the sites' files from the primary still runs after"
                    f" {NOTE_SECONDS:g} s, and no file can be written meanwhile",
                ) from None
            time.sleep(0.005)
