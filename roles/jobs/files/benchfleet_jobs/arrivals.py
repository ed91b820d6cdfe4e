"""Apps that are added to the bench while its processes run.

Python reads the apps' folders from .pth files when a process starts. Frappe reads the list of apps
from apps.txt at any time, and fails with one that this process cannot import: from `bench get-app`
until the restart, jobs would fail, and calls that clear the cache.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


class _Finder(MetaPathFinder):
    """Finds an app's package in the bench's folder when no other finder has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an app's package; None for everything else."""
        place = self.folder / fullname
        if path is None and (place / fullname / "__init__.py").is_file():
            return PathFinder.find_spec(fullname, [str(place)])
        return None


def install(bench: Path) -> None:
    """Have this process find apps that are added to the bench."""
    sys.meta_path.append(_Finder(bench / "apps"))
