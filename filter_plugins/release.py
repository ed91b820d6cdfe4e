"""Which Benchfleet writes to the hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet import release


def release_version(root: str) -> str:
    """The version of the Benchfleet in a folder, such as 0.2.0."""
    return release.version(Path(root))


class FilterModule:
    """Filters of role fleet."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {"release_version": release_version}
