"""Reads the source of a bench's apps, each file when it is needed."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from ..bench.account import run_as
from ..foreign import read_bytes
from . import facts as of_text
from .facts import DECORATORS, OVERRIDES, facts

# Large folders that have no Python code of the app itself.
SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})

Reader = Callable[[str, bool], dict[str, Any]]


def read_facts(path: str, of_frappe: bool) -> dict[str, Any]:
    """Facts of one file; SyntaxError, ValueError or OSError when it cannot be read."""
    return facts(read_bytes(path).decode("utf-8-sig"), of_frappe=of_frappe)


def newer_python(bench: str, user: str, path: str, of_frappe: bool) -> dict[str, Any]:
    """Facts of a file as the bench's own Python reads it, as the bench's account.

    Python runs isolated and without site, so that no other code of the bench runs.
    Raises SyntaxError when it cannot either.
    """
    script = inspect.getsource(of_text) + "\nforeign_main()\n"
    python = f"{bench}/env/bin/python"
    argv = [python, "-I", "-S", "-", path, "frappe" if of_frappe else ""]
    done = run_as(user, argv, "/", {"PATH": "/usr/bin:/bin"}, stdin=script, timeout=60)
    if done.returncode != 0:
        raise SyntaxError((done.stdout.strip().splitlines() or ["cannot be parsed"])[-1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reader(bench: str, user: str) -> Reader:
    """A function that reads a file by this Python, or by the bench's where that fails."""

    def read(path: str, of_frappe: bool) -> dict[str, Any]:
        try:
            return read_facts(path, of_frappe)
        except SyntaxError:
            if not os.path.exists(f"{bench}/env/bin/python"):
                raise
            return newer_python(bench, user, path, of_frappe)

    return read


class Apps:
    """The source of a bench's apps, each file read when it is needed.

    ``reader`` returns a file's facts, and is called once for each. ``troubles`` are the files that
    cannot be read and the lines that are unclear: {place: what that means}.
    """

    def __init__(self, bench: str, reader: Reader = read_facts) -> None:
        self.bench = bench
        self.reader = reader
        self.cache: dict[str, dict[str, Any]] = {}
        self.troubles: dict[str, str] = {}
        self.names = app_names(bench)

    def folder(self, app: str) -> str:
        """The folder of an app's package."""
        return f"{self.bench}/apps/{app}/{app}"

    def facts(self, path: str) -> dict[str, Any]:
        """Facts of one file, empty ones when it cannot be read."""
        if path not in self.cache:
            found: dict[str, Any] = {"names": {}, "overrides": {}, "unclear": []}
            try:
                found = self.reader(path, path == f"{self.folder('frappe')}/__init__.py")
            except FileNotFoundError:
                pass
            except (SyntaxError, ValueError, RecursionError, OSError) as error:
                why = " ".join(str(error).split()) or type(error).__name__
                self.troubles[path] = f"{why}; its methods stay on the primary"
            self.cache[path] = found
        return self.cache[path]

    def where(self, path: str, line: int) -> str:
        """A line of a file, as a path below the bench's folder of apps."""
        return f"{os.path.relpath(path, self.bench + '/apps')}:{line}"

    def decorated(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Every whitelisted read_only function: (dotted name, facts, place)."""
        for app in self.names:
            root = self.folder(app)
            for path in python_files(root):
                if not mentions_both(path):
                    continue
                module = module_name(app, root, path)
                for name, about in self.facts(path)["names"].items():
                    if about.get("whitelisted") and about.get("read_only"):
                        yield f"{module}.{name}", about, self.where(path, about["line"])

    def find(self, method: str) -> tuple[dict[str, Any], str] | None:
        """A name at the top of a module, by its dotted name: (facts, place); None without it."""
        module, _, name = method.rpartition(".")
        app, *rest = module.split(".")
        if app not in self.names:
            return None
        stem = "/".join([self.folder(app), *rest])
        for path in (f"{stem}/__init__.py", f"{stem}.py"):
            about = self.facts(path)["names"].get(name)
            if about is not None:
                return about, self.where(path, about["line"])
        return None

    def overrides(self) -> dict[str, list[tuple[str, str]]]:
        """Methods that apps replace: {method: [(app, replacement)]}."""
        found: dict[str, list[tuple[str, str]]] = {}
        for app in self.names:
            path = f"{self.folder(app)}/hooks.py"
            about = self.facts(path)
            for line in about["unclear"]:
                self.troubles[f"{path}:{line}"] = (
                    f"changes {OVERRIDES} in a way that is known only when it runs; if it replaces"
                    " a method by one that writes, add that method to router_primary_methods"
                )
            for method, targets in about["overrides"].items():
                found.setdefault(method, []).append((app, targets[-1]))
        return found


def app_names(bench: str) -> list[str]:
    """The apps in a bench's folder that are packages, sorted, frappe first."""
    try:
        names = os.listdir(f"{bench}/apps")
    except OSError:
        return []
    packages = [n for n in names if os.path.isfile(f"{bench}/apps/{n}/{n}/__init__.py")]
    return sorted(packages, key=lambda name: (name != "frappe", name))


def python_files(root: str) -> Iterator[str]:
    """Python files that can be imported by a dotted name, in a steady order."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name.isidentifier() and name not in SKIPPED_FOLDERS
        )
        for name in sorted(files):
            path = f"{folder}/{name}"
            # Reading a pipe, for example, would wait without end.
            if name.endswith(".py") and name[:-3].isidentifier() and os.path.isfile(path):
                yield path


def mentions_both(path: str) -> bool:
    """Whether a file's text has both decorators' names; other files are not parsed."""
    try:
        text = read_bytes(path)
    except OSError:
        return False
    return all(word.encode() in text for word in DECORATORS)


def module_name(app: str, root: str, path: str) -> str:
    """Dotted name of the module in a file of an app's package."""
    parts = os.path.relpath(path, root)[:-3].split(os.sep)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join([app, *parts])
