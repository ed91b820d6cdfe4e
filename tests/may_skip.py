"""A plugin for pytest: the tests that a machine may skip, as it lacks a program or a right.

They run on a host, which lacks nothing. Used as `python -m pytest -p tests.may_skip tests/unit`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest


@cache
def skips(path: Path) -> bool:
    """Return whether a test in this file, or a fixture, decides itself to be skipped."""
    return "pytest.skip(" in path.read_text()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that run everywhere."""
    kept, others = [], []
    for item in items:
        may_skip = item.get_closest_marker("skipif") or skips(item.path)
        (kept if may_skip else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = kept
