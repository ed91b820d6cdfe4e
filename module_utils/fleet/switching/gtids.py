"""How far a server is, by its positions in the binary log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..mariadb.server import parse_gtids


def numbers(position: str) -> dict[int, int]:
    """The last number of each domain of a position, whichever server wrote it."""
    found: dict[int, int] = {}
    for (domain, _server), number in parse_gtids(position).items():
        found[domain] = max(number, found.get(domain, 0))
    return found


def lacks(position: str, wanted: str) -> int:
    """How many transactions of `wanted` a position does not have."""
    have = numbers(position)
    return sum(max(0, last - have.get(domain, 0)) for domain, last in numbers(wanted).items())


def furthest(look: Mapping[str, Any]) -> str:
    """The furthest position of a replica: received, applied, or in its own log."""
    found = [str(look.get(key) or "") for key in ("received", "slave_pos", "binlog_pos")]
    return max(found, key=lambda position: sum(numbers(position).values()))
