"""Reads the functions and overrides of one module from its source.

The bench's own Python runs this, too, where ours is too old to parse an app, so it needs nothing
but the standard library.
"""

from __future__ import annotations

import ast
import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

DECORATORS = ("whitelist", "read_only")
# Keys of the facts about a function, in the order of the decorators.
KINDS = ("whitelisted", "read_only")
OVERRIDES = "override_whitelisted_methods"


def frappe_names(tree: ast.Module) -> tuple[set[str], dict[str, str]]:
    """Names that mean the package frappe here, and names that mean one of its decorators."""
    packages: set[str] = set()
    decorators: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import frappe.utils` binds frappe; `import frappe.utils as u` does not.
                if alias.name == "frappe" or (
                    alias.name.startswith("frappe.") and not alias.asname
                ):
                    packages.add(alias.asname or "frappe")
        elif isinstance(node, ast.ImportFrom) and node.module == "frappe" and not node.level:
            for alias in node.names:
                if alias.name in DECORATORS:
                    decorators[alias.asname or alias.name] = alias.name
    return packages, decorators


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module that run when it is imported, those in branches included."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body)


def bound_names(node: ast.stmt) -> list[str]:
    """Names that a statement binds, functions apart."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, (ast.ClassDef, ast.AsyncFunctionDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)]


def facts(source: str, *, of_frappe: bool = False) -> dict[str, Any]:
    """Facts about a module's functions and overrides, from its source.

    ``of_frappe``: the source is the package frappe's own ``__init__``, where the decorators have
    bare names. Returns {names: {name: {line, whitelisted, read_only}}, overrides: {name: [target]},
    unclear: [line]}; a name that is bound more than once, or by anything but a plain function, has
    only ``line``. ``unclear`` are lines whose changes of the overrides are known only when they
    run. Raises SyntaxError or ValueError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    packages, decorators = frappe_names(tree)
    if of_frappe:
        decorators.update({name: name for name in DECORATORS})

    def meaning(decorator: ast.expr) -> str | None:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Name):
            return decorators.get(called.id)
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            return called.attr if called.value.id in packages else None
        return None

    names: dict[str, dict[str, Any]] = {}
    overrides: dict[str, list[str]] = {}
    unclear: list[int] = []
    for node in statements(tree.body):
        if isinstance(node, ast.FunctionDef):
            meanings = {meaning(decorator) for decorator in node.decorator_list}
            about: dict[str, Any] = {"line": node.lineno}
            if node.name not in names:
                about.update({kind: DECORATORS[n] in meanings for n, kind in enumerate(KINDS)})
            names[node.name] = about
            continue
        for name in bound_names(node):
            names[name] = {"line": node.lineno}
        if not read_overrides(node, overrides):
            unclear.append(node.lineno)
    return {"names": names, "overrides": overrides, "unclear": unclear}


def read_overrides(node: ast.stmt, overrides: dict[str, list[str]]) -> bool:
    """Add a statement's overrides; False where they are known only when it runs."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == OVERRIDES:
                return add_overrides(node.value, overrides)
            if (
                isinstance(target, ast.Subscript)
                and isinstance(target.value, ast.Name)
                and target.value.id == OVERRIDES
            ):
                pair = ast.Dict(keys=[target.slice], values=[node.value])
                return add_overrides(pair, overrides)
        return True
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        if isinstance(node.target, ast.Name) and node.target.id == OVERRIDES:
            return add_overrides(node.value, overrides)
        return True
    if isinstance(node, (ast.Expr, ast.AugAssign)):
        return not any(isinstance(n, ast.Name) and n.id == OVERRIDES for n in ast.walk(node))
    return True


def add_overrides(value: ast.expr, overrides: dict[str, list[str]]) -> bool:
    """Add a literal dictionary's entries; False when a part of it is not a literal."""
    if not isinstance(value, ast.Dict):
        return False
    clear = True
    for key, target in zip(value.keys, value.values, strict=True):
        found = target.elts if isinstance(target, (ast.List, ast.Tuple)) else [target]
        texts = [n.value if isinstance(n, ast.Constant) else None for n in found]
        name = key.value if isinstance(key, ast.Constant) else None
        if isinstance(name, str) and texts and all(isinstance(text, str) for text in texts):
            overrides.setdefault(name, []).extend(str(text) for text in texts)
        else:
            clear = False
    return clear


def foreign_main() -> None:
    """Print the facts of the file in argv, for a caller whose own Python cannot parse it."""
    path, of_frappe = sys.argv[-2], sys.argv[-1] == "frappe"
    with open(path, "rb") as source:
        print(json.dumps(facts(source.read().decode("utf-8-sig"), of_frappe=of_frappe)))
