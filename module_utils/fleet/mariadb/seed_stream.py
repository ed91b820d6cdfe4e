"""What goes from the server that gives a copy of its data to the one that takes it.

One JSON line (what comes), then frames of a four-byte length and that many bytes of zstd-compressed
mbstream, a frame of length 0, and one JSON line (how it ended). A stream without that last line, or
with ``complete`` false in it, is torn. A server that has no sound copy to give, or gives as many as
it can already, says so in the first line and ends.
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
    """A source gives as many copies as it can already."""


def series(version: str) -> tuple[int, int]:
    """Release series of a version text, (10, 11) for 10.11.6-MariaDB."""
    found = re.search(r"(\d+)\.(\d+)\.\d+", version)
    if not found:
        raise SeedError(f"no version in {version!r}")
    return int(found.group(1)), int(found.group(2))


def needed_bytes(copied: int) -> int:
    """Free space a copy needs: itself, a tenth for the log applied to it, and some air."""
    return int(copied * 1.1) + 256 * MIB


def read_exactly(source: IO[bytes], length: int) -> bytes:
    """So many bytes. Raises SeedError when the stream ends before."""
    parts = bytearray()
    while len(parts) < length:
        piece = source.read(length - len(parts))
        if not piece:
            raise SeedError("the stream broke off")
        parts += piece
    return bytes(parts)


def read_line(source: IO[bytes]) -> dict[str, Any]:
    """One JSON line of the stream."""
    line = source.readline(65536)
    if not line.endswith(b"\n"):
        raise SeedError("the stream broke off")
    try:
        found = json.loads(line)
    except ValueError as error:
        raise SeedError(f"the source sent something else than a seed: {line[:200]!r}") from error
    return dict(found)


def check_header(header: dict[str, Any], own_version: str, free: int, work: Path) -> None:
    """Refuse a seed that cannot work here, before a byte of it is stored.

    free: bytes where the copy is staged, the folder work. The server still runs on its own data.
    """
    if header.get("format") != 1:
        raise SeedError(
            f"the source sends format {header.get('format')}, this host reads 1: run site.yml on"
            " all hosts with one version of Benchfleet"
        )
    theirs, ours = series(str(header["version"])), series(own_version)
    if theirs != ours:
        raise SeedError(
            f"the source runs MariaDB {theirs[0]}.{theirs[1]}, this host {ours[0]}.{ours[1]}:"
            " a copy needs the same series, use the same Debian release on both"
        )
    needed = needed_bytes(int(header["bytes"]))
    if free < needed:
        former = ", ".join(sorted(str(path) for path in work.glob("replaced-*")))
        raise SeedError(
            f"the copy needs {needed // MIB} MiB in {work}, where {free // MIB} MiB are free: make"
            " room on that file system, then run again"
            + (f". Data that former reseeds have replaced is in {former}" if former else "")
        )
