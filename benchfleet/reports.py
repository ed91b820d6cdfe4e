"""Tables for people, from the results of playbooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def collected(results: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return all entries of a list that modules returned under `key`."""
    return [entry for result in results for entry in result.get(key) or []]


def unasked(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return why hosts could not be asked, as lines between empty ones; none where all could."""
    texts = [str(result["text"]) for result in results if result.get("problems")]
    return [line for text in texts for line in ("", *text.splitlines(), "")]


def cell(value: Any) -> str:
    """Return a value as a cell of a table, on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(cell(part) for part in value)
    return " ".join(str("" if value is None else value).split())


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return rows as lines with aligned columns, headed by their keys, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    grid = [columns, *([cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[n]) for line in grid) for n in range(len(columns))]
    return [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in grid
    ]


def size(number: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def space_tables(
    file_systems: Sequence[dict[str, Any]], kept: Sequence[dict[str, Any]]
) -> list[str]:
    """Return how full the disks are and what old files are kept, as lines after empty ones.

    The variable fleet_keep says for how long.
    """
    disks = [
        {
            "host": row["host"],
            "file system of": row["path"],
            "holds": row["holds"],
            "size": size(row["bytes"]),
            "free": size(row["free"]),
            "used": f"{row['used']:.0%}" + (", too full" if row["full"] else ""),
        }
        for row in file_systems
    ]
    left = [
        {
            "host": row["host"],
            "kept": row["what"],
            "in": row["path"],
            "number": row["number"],
            "size": size(row["bytes"]),
            "oldest": row["oldest"],
        }
        for row in kept
    ]
    return [line for rows in (disks, left) if rows for line in ("", *table(rows))]


def status_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the status of hosts as lines; `state` has the troubles as a text."""
    return table([{key: row[key] for key in row if key != "troubles"} for row in rows])


def versions_table(versions: Sequence[dict[str, Any]]) -> list[str]:
    """Return what software is in force where, and how to upgrade it, as lines after an empty one.

    Versions that are installed and not recorded, or the other way round, are marked.
    """
    shown = [
        {
            "software": row["software"],
            "of": row["hosts"],
            "in force": row["in_force"] or "not installed",
            "recorded": row["recorded"] or "not yet",
            "could be": row["available"],
            "to upgrade": row["upgrade"],
        }
        for row in versions
    ]
    return ["", *table(shown)] if shown else []


def routes_table(routes: Sequence[dict[str, Any]]) -> list[str]:
    """Return routes as lines, and how many methods go where."""
    if not routes:
        return []
    shown = [
        {
            "method": route["method"],
            "goes to": route["bench"]
            + (", or the primary when that is busy" if route.get("light") else ""),
            "why": route["why"],
            "defined in": route["where"],
        }
        for route in routes
    ]
    away = sum(route["bench"] == "reporting" for route in routes)
    return [
        *table(shown),
        f"{away} methods go to the reporting nodes; every other call goes to the primary",
    ]


def jobs_tables(found: dict[str, Any]) -> list[str]:
    """Return where jobs are placed, and every queue, as lines."""
    placed = [
        {"job": entry["job"], "done on": entry["server"], "queue": entry["queue"]}
        for entry in found["placement"]
    ]
    queues = [
        {
            "queue": row["queue"],
            "waiting": row["length"],
            "oldest": "" if row["oldest_seconds"] is None else f"{row['oldest_seconds']:.0f} s",
            "running": row["running"],
            "workers": row["workers"],
            "of": row["hosts"],
            "state": row["state"],
        }
        for row in found["queues"]
    ]
    nothing = ["no job is placed: the workers of the general queues do them all"]
    return [*(table(placed) or nothing), "", *table(queues)]


def verdict_table(checks: Sequence[dict[str, Any]]) -> list[str]:
    """Return verify's checks as lines; a failed one with what was wanted and the remedy.

    Those of a host that could not be asked are only counted: another list has the host's remedy.
    """
    missed = sum(check.get("asked") is False for check in checks)
    checks = [check for check in checks if check.get("asked") is not False]
    unmade = f"{missed} checks could not be made"
    if not checks:
        return [unmade] if missed else []
    widths = {key: max(len(cell(check.get(key))) for check in checks) for key in ("row", "host")}
    lines = []
    for check in checks:
        holds = check.get("ok") is True
        mark = ("ok  " if applies(check) else "n/a ") if holds else "FAIL"
        row, host = (cell(check.get(key)).ljust(widths[key]) for key in ("row", "host"))
        lines.append(f"{mark}  {row}  {host}  {cell(check.get('check'))}")
        lines.append(f"      saw: {cell(check.get('saw'))}")
        if check.get("id"):
            lines.append(f"      id: {cell(check['id'])}")
        if not holds:
            lines.append(f"      wanted: {cell(check.get('wanted'))}")
            lines.append(f"      remedy: {cell(check.get('remedy'))}")
    made = [check for check in checks if applies(check)]
    held = sum(check.get("ok") is True for check in made)
    left = len(checks) - len(made)
    besides = (f", {left} not applicable" if left else "") + (f", {unmade}" if missed else "")
    return [*lines, f"{held} of {len(made)} checks hold{besides}"]


def applies(check: dict[str, Any]) -> bool:
    """Return whether there was anything to check."""
    return check.get("applicable") is not False
