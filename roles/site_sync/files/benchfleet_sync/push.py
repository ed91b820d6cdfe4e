"""Files that a transaction here has touched are sent to the primary: all of them or none.

gate_push.py reads a push: a line of JSON, then the files one after another.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchfleet_sync.names import CHUNK, place_of
from benchfleet_sync.primary import RSYNC_ERRORS, SyncError, environment, gate_command
from benchfleet_sync.settings import Settings


@dataclass(frozen=True)
class Parcel:
    """A push as the primary's gate expects it: a line of JSON, then the files one after another.

    put: (name, size, mtime in ns). link: (name, target). gone: names.
    """

    put: list[tuple[str, int, int]]
    link: list[tuple[str, str]]
    gone: list[str]

    @property
    def header(self) -> bytes:
        """The line of JSON."""
        return json.dumps({"put": self.put, "link": self.link, "gone": self.gone}).encode() + b"\n"


def pack(home: Path, names: list[str]) -> Parcel:
    """The present state of the named files of a site. Raises SyncError for other kinds of files."""
    parcel = Parcel([], [], [])
    for name in dict.fromkeys(names):
        try:
            state = (home / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            parcel.gone.append(name)
            continue
        if stat.S_ISREG(state.st_mode):
            parcel.put.append((name, state.st_size, state.st_mtime_ns))
        elif stat.S_ISLNK(state.st_mode):
            parcel.link.append((name, os.readlink(home / name)))
        elif not stat.S_ISDIR(state.st_mode):
            raise SyncError(f"{name} is neither a file nor a link")
    return parcel


def pour(home: Path, parcel: Parcel, out: IO[bytes]) -> None:
    """Write a parcel. Raises SyncError when a file has changed since it was packed."""
    out.write(parcel.header)
    for name, size, mtime in parcel.put:
        with open(os.open(home / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
            state, left = os.fstat(source.fileno()), size
            if (state.st_size, state.st_mtime_ns) != (size, mtime):
                raise SyncError(f"{name} changed while it was sent")
            while left and (chunk := source.read(min(CHUNK, left))):
                out.write(chunk)
                left -= len(chunk)
        if left:
            raise SyncError(f"{name} became shorter while it was sent")
    out.flush()


def push(settings: Settings, site: str, names: list[str]) -> str:
    """Send the named files to the primary as they are here. Raises SyncError."""
    for name in names:
        place_of(name)
    home = settings.folder / site
    parcel = pack(home, names)
    if not (parcel.put or parcel.link or parcel.gone):
        return f"{site}: nothing to take over"
    deliver(settings, f"push {site}", lambda out: pour(home, parcel, out))
    return f"{site}: taken={len(parcel.put) + len(parcel.link)} removed={len(parcel.gone)}"


def deliver(settings: Settings, command: str, write: Callable[[IO[bytes]], None]) -> None:
    """Run a command of the primary's gate, with input from ``write``. Raises SyncError."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        gate_command(settings, command),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=environment(settings),
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        try:
            # When the end is missing, the gate takes nothing.
            with contextlib.suppress(BrokenPipeError), process.stdin as out:
                write(out)
        except BaseException:
            process.kill()
            raise
        answer, errors = process.stdout.read(), process.stderr.read()
    if process.returncode or not answer.startswith(b"ok"):
        lines = errors.decode(errors="replace").splitlines()
        message = " | ".join(line for line in lines[-3:] if line) or "no further message"
        reason = (
            RSYNC_ERRORS[255] if process.returncode == 255 else "the primary did not take the files"
        )
        raise SyncError(f"{reason}: {message}")
