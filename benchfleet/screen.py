"""Text for a terminal: tables and paragraphs that fit into its width, and colours."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

WIDTH = 80
# Where the output goes to no terminal, --wide has no other measure.
WIDE = 200
# A column that is made narrower keeps this many characters.
NARROWEST = 6
COLOURS = {"red": "\033[31m", "amber": "\033[33m"}


def width(*, wide: bool) -> int:
    """Return how many columns lines may have: 80, and with --wide those of the terminal."""
    return max(WIDTH, shutil.get_terminal_size((WIDE, 0)).columns) if wide else WIDTH


def plain(value: object) -> str:
    """Return a value on one line, without characters that would steer a terminal."""
    text = " ".join(str("" if value is None else value).split())
    return "".join(one if one.isprintable() else "?" for one in text)


def cut(text: str, most: int) -> str:
    """Return a text with at most so many characters; … stands for the rest."""
    return text if len(text) <= most else text[: most - 1] + "…"


def end_of(text: str, most: int) -> str:
    """Return the last characters of a text, at most so many; … stands for the rest."""
    return text if len(text) <= most else "…" + text[1 - most :]


def fitted(widths: dict[str, int], most: int, flexible: Sequence[str]) -> dict[str, int]:
    """Return the widths of columns; the widest flexible ones are narrowed until all fit."""
    found = dict(widths)
    room = most - 2 * (len(found) - 1)
    while sum(found.values()) > room:
        widest = max(flexible, key=lambda name: found[name], default="")
        if not widest or found[widest] <= NARROWEST:
            break
        found[widest] -= 1
    return found


def table(
    rows: Sequence[Mapping[str, object]],
    most: int,
    *,
    flexible: Sequence[str],
    right: Sequence[str] = (),
) -> list[str]:
    """Return rows as lines with aligned columns, headed by their keys in capitals; [] of no rows.

    flexible: columns whose values may be cut, so that a line has at most `most` characters.
    right: columns that are aligned at their right end.
    """
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    grid = [{name: name.upper() for name in names}]
    grid += [{name: plain(row.get(name)) for name in names} for row in rows]
    natural = {name: max(len(line[name]) for line in grid) for name in names}
    widths = fitted(natural, most, flexible)
    lines = []
    for line in grid:
        cells = [
            (str.rjust if name in right else str.ljust)(cut(line[name], space), space)
            for name, space in widths.items()
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def paragraph(start: str, text: object, most: int, indent: str = "  ") -> list[str]:
    """Return a text after `start` as lines of at most `most` characters, indented from line 2."""
    # An id stays on one line with its label.
    whole = re.sub(r"\(id: (\w+)\)", "(id:\0\\1)", start + plain(text))
    lines = textwrap.wrap(whole, most, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def coloured() -> bool:
    """Return whether standard output is a terminal with colours (https://no-color.org)."""
    terminal = os.environ.get("TERM", "dumb") != "dumb"
    return sys.stdout.isatty() and terminal and not os.environ.get("NO_COLOR")


def paint(lines: Sequence[str], level: str) -> list[str]:
    """Return lines in the colour of a level, where there are colours."""
    if level not in COLOURS or not coloured():
        return list(lines)
    return [f"{COLOURS[level]}{line}\033[0m" for line in lines]
