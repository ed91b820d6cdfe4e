"""Change a module of somebody else's when it is imported, and not before.

Every process of the bench's Python starts with us, and most of them need neither RQ nor Frappe.
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
    """Call ``change`` with a module as soon as it has been imported; at once if it has been.

    part: that of the contract which the module has to fit, else it stays as it is. A change that
    fails is told on standard error and undoes nothing: the module serves as it is.
    """
    if name in sys.modules:
        _apply(change, part, sys.modules[name])
        return
    _wanted.setdefault(name, []).append((change, part))
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def _apply(change: Change, part: str, module: ModuleType) -> None:
    if words := contract.unmet(part, module):
        for sentence in words:
            print(f"benchfleet: {sentence}; so {contract.PARTS[part]}", file=sys.stderr)
        return
    try:
        change(module)
    except Exception:
        print(f"benchfleet: {module.__name__} is not what was expected:", file=sys.stderr)
        traceback.print_exc()


class _Finder(MetaPathFinder):
    """Finds the wanted modules as anybody else would, and loads them with their changes."""

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
