"""Changes to modules of other packages, made when they are imported and not before.

Every process of the bench's Python loads this package; most need neither RQ nor Frappe.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from benchfleet_jobs import contract

Change = Callable[[ModuleType], None]

_wanted: dict[str, list[tuple[Change, str]]] = {}


def when_imported(name: str, change: Change, part: str = "") -> None:
    """Call ``change`` with a module as soon as it is imported; at once if it already is.

    part: the part of the contract that the module has to fit; otherwise it is not changed. A change
    that fails is reported on standard error, and the module is used as it then is.
    """
    if name in sys.modules:
        _apply(change, part, sys.modules[name])
        return
    _wanted.setdefault(name, []).append((change, part))
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def _apply(change: Change, part: str, module: ModuleType) -> None:
    if unmet := contract.unmet(part, module):
        for sentence in unmet:
            print(f"benchfleet: {sentence}; so {contract.PARTS[part]}", file=sys.stderr)
        return
    try:
        change(module)
    except Exception:
        print(f"benchfleet: {module.__name__} could not be changed:", file=sys.stderr)
        traceback.print_exc()


class _Finder(MetaPathFinder):
    """Finds the wanted modules by the other finders, and loads them with their changes."""

    def __init__(self) -> None:
        self.looking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders have, for a wanted module; None for the rest."""
        if fullname not in _wanted or fullname in self.looking:
            return None
        self.looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Another loader, with the changes after it."""

    def __init__(self, stock: Loader) -> None:
        self.stock = stock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stock, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the other loader does."""
        return self.stock.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then the changes."""
        self.stock.exec_module(module)
        for change, part in _wanted.pop(module.__name__, []):
            _apply(change, part, module)


_finder = _Finder()
