"""Where the fleet keeps its files on this host, and how many: folders.json, by the programs."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "folders.json"


def folder(kind: str) -> Path:
    """A folder of the fleet's: config or state. Raises OSError, ValueError or KeyError."""
    return Path(json.loads(FILE.read_text())[kind])
