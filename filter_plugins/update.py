"""Messages for what failed in an update."""

from __future__ import annotations

from typing import Any


def failure_message(result: dict[str, Any]) -> str:
    """The message of a failed task; of a loop, those of its failed items, each with its item.

    An item whose host could not be reached has failed, too.
    """
    failed = [
        item
        for item in result.get("results") or []
        if item.get("failed") or item.get("unreachable")
    ]
    if not failed:
        return str(result.get("msg") or "a task failed without a message")
    return "; ".join(f"{item.get('item')}: {item.get('msg') or 'no message'}" for item in failed)


def lost_nodes(results: list[dict[str, Any]]) -> dict[str, str]:
    """Reporting nodes whose programs did not start on the way back, with a message for each.

    results: those of a loop over the nodes with the module supervisor_programs.
    """
    return {
        result["item"]: f"{result['item']}: {result.get('msg') or 'no answer'}; it stays out of"
        " service, and its programs may be stopped. Find the cause, run site.yml, and then"
        f" `./fleet undrain {result['item']} -i INVENTORY`"
        for result in results
        if "did" not in result
    }


class FilterModule:
    """Filters for the update of a fleet."""

    def filters(self) -> dict[str, Any]:
        """Names under which Ansible finds the functions."""
        return {"lost_nodes": lost_nodes, "failure_message": failure_message}
