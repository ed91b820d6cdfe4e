"""Which files of this package a program imports: they come with it to a host, and go with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
# One line, or names in brackets. Compiling all of it would take a host half a second a run.
IMPORT = re.compile(r"^ *from (\.*)([\w.]*) import (\([^)]*\)|[^\n]+)", re.MULTILINE)


@cache
def source(part: str, package: Path = PACKAGE) -> str:
    """The text of a file of the package."""
    return (package / part).read_text(encoding="utf-8")


@cache
def needed(text: str, package: Path = PACKAGE) -> frozenset[str]:
    """Files of the package that a program imports, and that those import: their paths in it."""
    found: set[str] = set()
    wanted = set(imported(text, package=package))
    while new := wanted - found:
        found |= new
        for part in new:
            wanted |= set(imported(source(part, package), part, package))
    return frozenset(found)


def imported(text: str, part: str = "", package: Path = PACKAGE) -> Iterator[str]:
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
            yield from files_of(path, package)
        for word in re.findall(r"(\w+)(?: as \w+)?", words):
            yield from files_of([*names, word], package)


def files_of(names: list[str], package: Path = PACKAGE) -> Iterator[str]:
    """The file of a module or package by its names below `fleet`, if there is one."""
    for file in ("/".join([*names, "__init__.py"]), f"{'/'.join(names)}.py"):
        if (package / file).is_file():
            yield file


def surplus(package: Path, programs: Iterable[Path]) -> list[Path]:
    """Modules of an installed package that none of these programs imports."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in programs]
    kept = frozenset().union(*(needed(text, package) for text in texts))
    return sorted(p for p in package.rglob("*.py") if str(p.relative_to(package)) not in kept)
