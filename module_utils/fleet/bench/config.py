"""Configurations of a bench and its sites, for those who only look: a broken one says nothing."""

from __future__ import annotations

from typing import Any

from .account import BenchError, read_json


def config_of(path: str) -> dict[str, Any]:
    """A JSON object of the bench's, {} where it is missing or none."""
    try:
        return read_json(path)
    except (BenchError, OSError):
        return {}


def common_config(bench: str) -> dict[str, Any]:
    """What all sites of a bench share."""
    return config_of(f"{bench}/sites/common_site_config.json")
