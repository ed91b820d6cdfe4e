"""Reads configurations of a bench and its sites; one that cannot be read counts as empty."""

from __future__ import annotations

from typing import Any

from .account import BenchError, read_json


def config_of(path: str) -> dict[str, Any]:
    """The JSON object in a file of the bench, {} where it is missing or cannot be read."""
    try:
        return read_json(path)
    except (BenchError, OSError):
        return {}


def common_config(bench: str) -> dict[str, Any]:
    """The bench's common_site_config.json."""
    return config_of(f"{bench}/sites/common_site_config.json")
