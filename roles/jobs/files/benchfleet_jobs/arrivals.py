"""Apps that come to the bench while its processes run.

Python reads where the apps are, from .pth files, when a process starts. Frappe reads which apps
there are from apps.txt at any time, and cannot go on with one that this process does not find:
from `bench get-app` until the restart, that would end jobs, and calls that clear the cache.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


class _Finder(MetaPathFinder):
    """Finds an app's package in the bench's folder when nobody else has found it."""

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
    """From now on this process finds the apps that come to the bench."""
    sys.meta_path.append(_Finder(bench / "apps"))
