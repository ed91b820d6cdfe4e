"""Arguments of modules that look the same in many of them."""

from __future__ import annotations

from typing import Any


def required(kind: str, *names: str) -> dict[str, Any]:
    """Arguments of one type that have to be given."""
    return {name: {"type": kind, "required": True} for name in names}
