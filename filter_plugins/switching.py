"""The host that is prepared to become the primary: a filter of role fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def standby_of(groups: Mapping[str, Sequence[str]], wanted: str | None) -> str:
    """The node that is prepared to become the primary, "" where there is none.

    wanted: fleet_standby, None where it is not set. A host that is the primary now is no standby:
    the first reporting node is.
    """
    reporting = list(groups.get("reporting", []))
    if wanted == "":
        return ""
    if wanted and wanted not in groups.get("primary", []):
        return wanted if wanted in reporting else ""
    return reporting[0] if reporting else ""


class FilterModule:
    """Filter of role fleet."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of the filter and its function."""
        return {"standby_of": standby_of}
