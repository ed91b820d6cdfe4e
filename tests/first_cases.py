"""A plugin for pytest: what another Python and another ansible-core have to prove again.

That is the first case of each test, as its further ones run the same lines with other values, and
all cases of files that import ansible. Used as `python -m pytest -p tests.first_cases tests/unit`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

IMPORTS = re.compile(r"^\s*(?:from|import) ansible\b", re.MULTILINE)


@cache
def imports_ansible(path: Path) -> bool:
    """Return whether a file of tests imports ansible."""
    return bool(IMPORTS.search(path.read_text()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the further cases of tests."""
    seen: set[str] = set()
    kept, further = [], []
    for item in items:
        name = item.nodeid if imports_ansible(item.path) else item.nodeid.partition("[")[0]
        (further if name in seen else kept).append(item)
        seen.add(name)
    config.hook.pytest_deselected(items=further)
    items[:] = kept
