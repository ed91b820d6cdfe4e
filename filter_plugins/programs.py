"""Programs of ours on the hosts, with the shared code that they import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.imports import needed, source


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


class FilterModule:
    """Makes the function above usable in playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"with_imports": with_imports}
