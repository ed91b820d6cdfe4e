"""Notices of an adoption: what it will change that is no reason to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..preflight.problems import Listing

# {id, text, facts}
Notice = Mapping[str, Any]


@dataclass(frozen=True)
class NoticeKind:
    """One kind of notice.

    id: the name for tests and programs; it never changes, and is unique among the notices.
    text: what the operator reads, with the names of facts in braces.
    """

    id: str
    text: str

    def found(self, **facts: Any) -> Notice:
        """A notice of this kind: {id, text, facts}. Raises KeyError for a fact that is missing."""
        return {"id": self.id, "text": Listing().vformat(self.text, (), facts), "facts": facts}
