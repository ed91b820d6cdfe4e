"""What a module changes, line by line, without anything secret."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def diff(before: Iterable[str], after: Iterable[str]) -> dict[str, str]:
    """Lines as Ansible shows them with --diff."""
    return {
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
    }


class Changes:
    """What was, and what is, or would be."""

    def __init__(self) -> None:
        self.before: list[str] = []
        self.after: list[str] = []

    def note(self, before: str, after: str) -> None:
        """One line of each."""
        self.before.append(before)
        self.after.append(after)

    def result(self, **more: Any) -> dict[str, Any]:
        """The module's result."""
        changed = self.before != self.after
        return {"changed": changed, "diff": diff(self.before, self.after), **more}
