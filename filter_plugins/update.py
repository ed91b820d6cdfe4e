"""Words for what failed in an update."""

from __future__ import annotations

from typing import Any


def task_words(result: dict[str, Any]) -> str:
    """The message of a failed task; of a loop, those of its failed items, with their items."""
    failed = [item for item in result.get("results") or [] if item.get("failed")]
    if not failed:
        return str(result.get("msg") or "a task failed and gave no reason")
    return "; ".join(f"{item.get('item')}: {item.get('msg') or 'no reason'}" for item in failed)


class FilterModule:
    """Filters for the update of a fleet."""

    def filters(self) -> dict[str, Any]:
        """Names under which Ansible finds the functions."""
        return {"task_words": task_words}
