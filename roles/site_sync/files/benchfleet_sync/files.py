"""Small files of the sites folder are replaced in one step."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fleet.atomic import write


def write_if_different(path: Path, text: str, mode: int) -> bool:
    """Replace a file by a rename, after it is on disk; returns whether it differed."""
    data = text.encode()
    with suppress(FileNotFoundError):
        if path.read_bytes() == data and path.stat().st_mode & 0o777 == mode:
            return False
    write(path, data, mode)
    return True
