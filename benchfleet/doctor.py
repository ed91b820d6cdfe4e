"""The screen of `./fleet doctor`: each cause in words, with the commands that mend it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from typing import Any

from benchfleet import reports
from benchfleet.runner import Outcome
from benchfleet.screen import WIDTH
from benchfleet.shell import NOT_ASKED, NOT_FINE


def wrapped(text: str, indent: str, width: int) -> list[str]:
    """Return a text as lines."""
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def is_quoted(text: str) -> bool:
    """Return whether a shell's quotation marks are open at the end of a text."""
    mark = ""
    for sign in text:
        if sign in "'\"" and mark in ("", sign):
            mark = "" if mark else sign
    return bool(mark)


def command(line: str, width: int) -> list[str]:
    """Return a command as lines that a shell takes together.

    Between quotation marks it goes on without a backslash, which would become a part of the text.
    """
    lines = textwrap.wrap(
        line,
        width - 2,
        initial_indent="    ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [
        part if is_quoted("\n".join(lines[: at + 1])) else f"{part} \\"
        for at, part in enumerate(lines[:-1])
    ] + lines[-1:]


def cure(cause: dict[str, Any], width: int) -> list[str]:
    """Return the commands of a cause in their order, with the place where each is run."""
    places = {"host": f"on {cause['host']}, as root", "primary": "on the primary, as root"}
    lines: list[str] = []
    where = ""
    for line in cause["cure"]:
        if line["where"] != where:
            where = line["where"]
            lines.append(f"  {places.get(where, 'here')}:")
        lines += command(line["command"], width)
    return lines


def cause_lines(cause: dict[str, Any], width: int) -> list[str]:
    """Return one cause as lines."""
    head = wrapped(f"! {cause['title']} (id: {cause['id']})", "", width)
    lines = [*head[:1], *(f"  {line}" for line in head[1:])]
    lines += wrapped(cause["explanation"], "  ", width)
    if cause["follows"]:
        lines += wrapped(f"Mend first: {', '.join(cause['follows'])}.", "  ", width)
    lines += cure(cause, width)
    if cause["destroys"]:
        lines += wrapped(f"This destroys {cause['destroys']}.", "  ", width)
    if cause["fix"]:
        lines += wrapped(
            f"`./fleet doctor {cause['host']} --fix -i INVENTORY` would {cause['fix']}.",
            "  ",
            width,
        )
    return lines


def host_lines(row: dict[str, Any], width: int) -> list[str]:
    """Return what is wrong on one host, and what was mended, as lines."""
    name = row["host"]
    if not row["asked"]:
        return wrapped(f"{name}: NOT ASKED: {row['trouble']}", "", width)
    number = len(row["causes"])
    lines = [f"{name}: {'nothing found' if not number else f'{number} FOUND'}"]
    for one in row["done"]:
        verb = "done" if one["done"] else "would do"
        said = f" ({one['said']})" if one["said"] else ""
        lines += wrapped(f"{verb}: {one['will']}{said}", "  ", width)
    for cause in row["causes"]:
        lines += ["", *cause_lines(cause, width)]
    return lines


def lines_of(rows: Iterable[dict[str, Any]], width: int) -> list[str]:
    """Return the whole screen as lines."""
    return [line for row in rows for line in (*host_lines(row, width), "")][:-1]


def show(outcome: Outcome, *, as_json: bool, wide: bool) -> int:
    """Print what is wrong on the hosts that were asked, to standard output.

    Returns the exit status: 0 nothing is wrong or all is mended, 1 something is left, or a host was
    not asked; 3 no host could be asked.
    """
    rows = reports.collected(outcome.results, "doctor")
    problems = reports.collected(outcome.results, "problems")
    asked = [row for row in rows if row["asked"]]
    left = len(asked) < len(rows) or any(row["causes"] for row in rows)
    status = NOT_ASKED if not asked else NOT_FINE if left else 0
    if as_json:
        print(json.dumps({"ok": status == 0, "doctor": rows, "problems": problems}, indent=2))
        return status
    for line in lines_of(rows, 120 if wide else WIDTH):
        print(line)
    for line in reports.unasked(outcome.results):
        print(line)
    return status
