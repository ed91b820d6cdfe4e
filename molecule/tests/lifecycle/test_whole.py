"""What the tests before this one have done to the fleet has left it whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_each_row_holds(verify: Callable[[], dict[tuple[str, str], dict[str, Any]]]):
    assert [place for place, check in verify().items() if not check["ok"]] == []
