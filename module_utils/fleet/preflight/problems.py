"""What a problem is, and how problems are shown: used by every check, whatever it judges."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, TypeVar

Host = Mapping[str, Any]
Settings = Mapping[str, Any]
Problem = dict[str, Any]

Key = TypeVar("Key")
Value = TypeVar("Value")


class Listing(Formatter):
    """Writes a text with its facts.

    A list is written as "a, b", and as "none" when it is empty; a mapping of lists as
    "key (a, b); other (c)".
    """

    def format_field(self, value: Any, format_spec: str) -> str:
        """One fact."""
        if isinstance(value, list | tuple):
            return ", ".join(str(one) for one in value) or "none"
        if isinstance(value, Mapping):
            return "; ".join(f"{key} ({self.format_field(of, '')})" for key, of in value.items())
        return str(super().format_field(value, format_spec))


@dataclass(frozen=True)
class Kind:
    """One kind of problem: docs/problems.md shows all of them.

    id: the name by which tests and programs know it, such as "port_taken"; unique, and never
    changed. what: what is wrong, with the value that was seen; place: where it is set or found;
    remedy: how to mend it. The texts have the names of facts in braces.
    """

    id: str
    what: str
    place: str
    remedy: str

    def found(self, **facts: Any) -> Problem:
        """A problem of this kind: {id, what, place, remedy, facts}.

        facts: the values that the texts name, each a text, a number or a list of them. Raises
        KeyError where a text names a fact that is not given.
        """
        write = Listing().vformat
        texts = {"what": self.what, "place": self.place, "remedy": self.remedy}
        written = {part: write(text, (), facts) for part, text in texts.items()}
        return {"id": self.id, **written, "facts": facts}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a question, "" when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """The values of each key, such as all hosts that share a setting, in their order."""
    found: dict[Key, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def listed(problems: Iterable[Problem], numbered: bool = True) -> str:
    """Problems as a text for people, a paragraph each; the caller puts a headline before it."""
    lines = []
    for number, found in enumerate(problems, start=1):
        lines += [
            "",
            f"{number}. {found['what']}" if numbered else found["what"],
            f"   place:  {found['place']}",
            f"   remedy: {found['remedy']}",
            f"   id:     {found['id']}",
        ]
    return "\n".join(lines)


def preflight_text(
    problems: list[Problem], touched: str = "Nothing was touched on any host."
) -> str:
    """All problems that preflight found; touched says what the run had changed before."""
    number = len(problems)
    head = f"Preflight found {number} problem{'' if number == 1 else 's'}. {touched}"
    return f"{head}\n{listed(problems)}"
