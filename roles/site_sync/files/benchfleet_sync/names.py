"""Names of a site's files, on both hosts, and those that are never copied."""

from __future__ import annotations

import re
from typing import Any

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
CONFIG = "site_config.json"
ASSET_LISTS = ("assets/assets.json", "assets/assets-rtl.json")
FOLDERS = ("public/files", "private/files")
# A folder in each of these, on the same filesystem so that files can be renamed, and closed to the
# web server: for incomplete files of a push on the primary, and of a fetch on a node.
STAGING = ".fleet-push"
# Patterns of files that are never copied, and are deleted here: DuckDB files, and those that DuckDB
# keeps beside them. They are written in place, for minutes, and no other process can find out when
# they are complete.
NEVER_COPIED = ("*.duckdb", "*.duckdb.*")
# Bytes that are read or written at a time.
CHUNK = 1 << 20


class RefusedError(Exception):
    """The caller asked for something that it may not have."""


def place_of(name: Any) -> tuple[str, list[str]]:
    """The folder of a name, one of the two, and its parts below. Raises RefusedError."""
    parts = name.split("/") if isinstance(name, str) else []
    folder, below = "/".join(parts[:2]), parts[2:]
    if folder not in FOLDERS or not below or below[0] == STAGING:
        raise RefusedError(f"{name!r} is not below {' or '.join(FOLDERS)}")
    if any(part in ("", ".", "..") or "\0" in part for part in below):
        raise RefusedError(f"{name!r} is not a plain path")
    return folder, below
