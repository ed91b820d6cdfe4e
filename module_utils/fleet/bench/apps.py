"""Which Frappe and which other apps an app needs, read from its files.

Pure functions that need nothing but Python. The files are the app's authors': what cannot be read
counts as empty.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Any

Read = Callable[[str], str | None]

# Of a repository: a URL, HOST:PATH, or a path. The bench CLI takes a name, too: hrms, frappe/hrms.
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|[^/\s]+:|[/.~]", re.IGNORECASE)
# A hooks.py is a page or two.
LONGEST = 200_000
NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
SPECIFIER = re.compile(r"[\w\s.,<>=!~*+-]{1,100}", re.ASCII)


def dependencies(pyproject: str) -> dict[str, str]:
    """``frappe-dependencies`` of a pyproject.toml: {app: version specifier}."""
    try:
        found: Any = tomllib.loads(pyproject)
        for key in ("tool", "bench", "frappe-dependencies"):
            found = found[key]
        said = {app: text for app, text in found.items() if isinstance(text, str)}
        return {app: text for app, text in said.items() if SPECIFIER.fullmatch(text)}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def version(package: str) -> str:
    """``__version__`` of an app's package, "" where it has none."""
    found = re.search(r"^__version__\s*=\s*[\"']([\w.+!-]{1,50})[\"']", package, re.M | re.A)
    return found.group(1) if found else ""


def required(hooks: str) -> list[str]:
    """Names of ``required_apps`` of a hooks.py. An entry may be ORGANISATION/NAME, or a URL."""
    try:
        body = ast.parse(hooks[:LONGEST]).body
        entries = [
            entry
            for statement in body
            if isinstance(statement, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "required_apps" for t in statement.targets)
            for entry in ast.literal_eval(statement.value)
        ]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []
    names = [re.split(r"[/:]", entry)[-1] for entry in entries if isinstance(entry, str)]
    names = [name.partition("@")[0].removesuffix(".git") for name in names]
    return [name for name in names if NAME.fullmatch(name)]


def says(app: str, read: Read, here: bool = False) -> dict[str, Any]:
    """What an app's files say: {version, frappe, requires, same_major, here}.

    ``read`` gives the text of a file of its repository, None without one. frappe is a version
    specifier. same_major: whether it installs on a Frappe of its own major version alone, as
    ERPNext does by a hook of that name. here: whether the app is on the bench.
    """
    hooks = read(f"{app}/hooks.py") or ""
    return {
        "version": version(read(f"{app}/__init__.py") or ""),
        "frappe": dependencies(read("pyproject.toml") or "").get("frappe", ""),
        "requires": required(hooks),
        "same_major": "check_frappe_version" in hooks,
        "here": here,
    }


# What a migration reads, beside patches.txt and hooks.py: the files of DocTypes, reports, fixtures,
# customizations and whatever else an app keeps in JSON. Of public/ only browsers read.
LISTS = ("patches.txt", "hooks.py", "modules.txt")
MIGRATION_HOOKS = {"before_migrate", "after_migrate"}


def migrates(app: str, changed: Iterable[str], hooks: str) -> list[str]:
    """Those of an app's changed files for which its sites need a migration; [] means none.

    changed: paths in its repository. hooks: its hooks.py. An app may have functions that run at
    each migration, and they may use any code of it; Frappe's own such functions only tidy up.
    """
    called = app != "frappe" and bool(MIGRATION_HOOKS & assigned(hooks))
    return [
        path
        for path in changed
        if path.startswith(f"{app}/")
        and not path.startswith(f"{app}/public/")
        and (
            path.split("/")[-1] in LISTS
            or path.endswith(".json")
            or "/fixtures/" in path
            or (called and path.endswith(".py"))
        )
    ]


def assigned(python: str) -> set[str]:
    """The names that a module assigns to."""
    try:
        body = ast.parse(python[:LONGEST]).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Unknown, so all of them count as assigned.
        return set(MIGRATION_HOOKS)
    targets = [
        t for statement in body if isinstance(statement, ast.Assign) for t in statement.targets
    ]
    return {target.id for target in targets if isinstance(target, ast.Name)}
