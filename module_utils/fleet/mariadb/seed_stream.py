"""The stream by which one server sends a copy of its data to another.

One JSON line (the header), then frames of a four-byte length and that many bytes of zstd-compressed
mbstream, a frame of length 0, and one JSON line (how the copy ended). A stream without that last
line, or with ``complete`` false in it, is incomplete. A server that has no sound copy to send, or
that already sends as many as it may, writes so in the first line and ends.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import IO, Any

FRAME = struct.Struct(">I")
MIB = 1024 * 1024


class SeedError(Exception):
    """The seed cannot go on; the message says what was seen and what to do."""


class BusyError(SeedError):
    """The source already sends as many copies as it may; it can be asked again later."""


class TornError(SeedError):
    """The stream ended before the copy was complete."""


class FormatError(SeedError):
    """The source sends another format than this host reads."""


class SeriesError(SeedError):
    """The source runs another release series of MariaDB."""


class SpaceError(SeedError):
    """There is not enough free space for the copy."""


class PositionError(SeedError):
    """The copy has no GTID from which replication could start."""


def series(version: str) -> tuple[int, int]:
    """Release series of a version text, (10, 11) for 10.11.6-MariaDB."""
    found = re.search(r"(\d+)\.(\d+)\.\d+", version)
    if not found:
        raise SeedError(f"no version in {version!r}")
    return int(found.group(1)), int(found.group(2))


def needed_bytes(copied: int) -> int:
    """Free space that a copy needs: its size, a tenth for the log applied to it, and a reserve."""
    return int(copied * 1.1) + 256 * MIB


def read_exactly(source: IO[bytes], length: int) -> bytes:
    """The next bytes of the stream, exactly so many. Raises TornError when it ends before."""
    parts = bytearray()
    while len(parts) < length:
        piece = source.read(length - len(parts))
        if not piece:
            raise TornError("the stream ended before the copy was complete")
        parts += piece
    return bytes(parts)


def read_line(source: IO[bytes]) -> dict[str, Any]:
    """One JSON line of the stream."""
    line = source.readline(65536)
    if not line.endswith(b"\n"):
        raise TornError("the stream ended before the copy was complete")
    try:
        found = json.loads(line)
    except ValueError as error:
        raise SeedError(f"the source did not send a copy but {line[:200]!r}") from error
    return dict(found)


def check_header(header: dict[str, Any], own_version: str, free: int, work: Path) -> None:
    """Refuse a copy that cannot be used here, before any of it is stored.

    free: free bytes in work, the folder where the copy is staged. Raises FormatError, SeriesError
    or SpaceError; the server still runs on its own data.
    """
    if header.get("format") != 1:
        raise FormatError(
            f"the source sends format {header.get('format')}, this host reads format 1: run"
            " site.yml on all hosts with the same version of Benchfleet"
        )
    theirs, ours = series(str(header["version"])), series(own_version)
    if theirs != ours:
        raise SeriesError(
            f"the source runs MariaDB {theirs[0]}.{theirs[1]}, this host {ours[0]}.{ours[1]}:"
            " a copy works only within one release series, so use the same release of the"
            " distribution on both hosts"
        )
    needed = needed_bytes(int(header["bytes"]))
    if free < needed:
        former = ", ".join(sorted(str(path) for path in work.glob("replaced-*")))
        raise SpaceError(
            f"the copy needs {needed // MIB} MiB in {work}, where {free // MIB} MiB are free: free"
            " space on that file system, then run again"
            + (f". Data that earlier reseeds replaced is in {former}" if former else "")
        )
