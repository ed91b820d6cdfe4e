"""Kinds of problems: each text gets all facts that it names."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import fleet
import pytest
from fleet.preflight.problems import Kind

PACKAGE = Path(str(fleet.__file__)).parent
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if ".found(" in path.read_text()]


def named(kind: Kind) -> set[str]:
    """The facts that a kind's texts name."""
    texts = (kind.what, kind.place, kind.remedy)
    fields = [field for text in texts for _, field, _, _ in Formatter().parse(text) if field]
    return {field.split(".")[0].split("[")[0] for field in fields}


def calls(path: Path) -> Iterator[tuple[str, set[str], bool]]:
    """Where a file makes problems: (name of the kind, facts given, whether there may be more)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr == "found" and isinstance(node.func.value, ast.Name):
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            yield node.func.value.id, given, len(given) < len(node.keywords)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_problems_are_made_with_all_their_facts(path: Path) -> None:
    dotted = ".".join(["fleet", *path.relative_to(PACKAGE).with_suffix("").parts])
    module = importlib.import_module(dotted)
    for name, given, open_end in calls(path):
        kind = getattr(module, name, None)
        if isinstance(kind, Kind) and not open_end:
            assert named(kind) <= given, f"{name} in {dotted}"
