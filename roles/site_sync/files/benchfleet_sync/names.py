"""What a site's files are called, on both hosts, and what of them is never copied."""

from __future__ import annotations

import re
from typing import Any

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
CONFIG = "site_config.json"
ASSET_LISTS = ("assets/assets.json", "assets/assets-rtl.json")
FOLDERS = ("public/files", "private/files")
# In each of the folders, beside the files, as a rename needs it, and closed to the web server: what
# is not in place yet, of a push on the primary, and of fetched files on a node.
STAGING = ".fleet-push"
# Patterns for what no copy takes along, and none leaves here: DuckDB files, and what DuckDB keeps
# beside them. They are written in place, for minutes, and nobody can see from outside when they
# are whole.
NEVER_COPIED = ("*.duckdb", "*.duckdb.*")
# Bytes that are read or written at a time.
CHUNK = 1 << 20


class RefusedError(Exception):
    """Somebody asked for something that is not done for him."""


def place_of(name: Any) -> tuple[str, list[str]]:
    """Which of the two folders a name is in, and its parts below. Raises RefusedError."""
    parts = name.split("/") if isinstance(name, str) else []
    folder, below = "/".join(parts[:2]), parts[2:]
    if folder not in FOLDERS or not below or below[0] == STAGING:
        raise RefusedError(f"{name!r} is not below {' or '.join(FOLDERS)}")
    if any(part in ("", ".", "..") or "\0" in part for part in below):
        raise RefusedError(f"{name!r} is not a plain path")
    return folder, below
