"""Programs of ours on the hosts, with the shared code that they import."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1] / "module_utils/fleet"
# One line, or names in brackets. Compiling all of it would take a host half a second a run.
IMPORT = re.compile(r"^ *from (\.*)([\w.]*) import (\([^)]*\)|[^\n]+)", re.MULTILINE)


def with_imports(files: Iterable[Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Entries for the module ``files``, and before them those of the code that they import.

    ``folder`` is where the package `fleet` stands on the host. Programs come with their own part of
    it, so that none is installed or replaced without it, whichever playbook does that.
    """
    entries = [dict(entry) for entry in files]
    texts = [str(entry["content"]) for entry in entries if "content" in entry]
    parts = sorted(set().union(*(needed(text) for text in texts)))
    if not parts:
        return entries
    owned = {"owner": "root", "group": "root"}
    places = [folder, *sorted({str(Path(folder, "fleet", part).parent) for part in parts})]
    shared: list[dict[str, Any]] = [
        {"path": place, "state": "directory", "mode": "0755", **owned} for place in places
    ]
    shared += [
        {"path": f"{folder}/fleet/{part}", "content": source(part), "mode": "0644", **owned}
        for part in parts
    ]
    return shared + entries


@cache
def source(part: str) -> str:
    """The text of a file of the package."""
    return (PACKAGE / part).read_text(encoding="utf-8")


@cache
def needed(text: str) -> frozenset[str]:
    """Files of the package that a program imports, and that those import: their paths in it."""
    found: set[str] = set()
    wanted = set(imported(text))
    while new := wanted - found:
        found |= new
        for part in new:
            wanted |= set(imported(source(part), part))
    return frozenset(found)


def imported(text: str, part: str = "") -> Iterator[str]:
    """Files of the package that a text imports by itself; ``part`` is its own path, "" outside."""
    here = Path(part).parts
    for dots, module, words in IMPORT.findall(text):
        names = module.split(".") if module else []
        if dots and here:
            names = [*here[: len(here) - len(dots)], *names]
        elif dots or names[0] != "fleet":
            continue
        else:
            names = names[1:]
        # A package's own file, too, and what is imported out of it by name.
        for path in (names[:n] for n in range(len(names) + 1)):
            yield from files_of(path)
        for word in re.findall(r"(\w+)(?: as \w+)?", words):
            yield from files_of([*names, word])


def files_of(names: list[str]) -> Iterator[str]:
    """The file of a module or package by its names below `fleet`, if there is one."""
    for file in ("/".join([*names, "__init__.py"]), f"{'/'.join(names)}.py"):
        if (PACKAGE / file).is_file():
            yield file


class FilterModule:
    """Makes the function above usable in playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"with_imports": with_imports}
