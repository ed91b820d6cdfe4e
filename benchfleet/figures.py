"""What benchmarks/site_runs.py has measured, as tables for docs/benchmarks.md and README.md."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "benchmarks/site_runs.json"
TITLES = {
    "first": "First run, on bare hosts",
    "second": "Second run, nothing to change",
    "added": "A run that adds one bare node",
}
# Before the table in README.md.
MARK = "<!-- the table: made by `python -m benchfleet.references` -->\n"


def spread(values: Iterable[float]) -> str:
    """The median, with the least and the most in brackets where these differ."""
    rounded = sorted(round(value) for value in values)
    median = f"{statistics.median(rounded):.0f}"
    return median if rounded[0] == rounded[-1] else f"{median} ({rounded[0]}-{rounded[-1]})"


def by_nodes(found: dict[str, Any], run: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The runs of one kind, by the number of reporting nodes before them."""
    runs = [one for one in found["runs"] if one["run"] == run]
    for nodes in sorted({one["nodes"] for one in runs}):
        yield nodes, [one for one in runs if one["nodes"] == nodes]


def executions(runs: list[dict[str, Any]]) -> list[str]:
    """Ssh executions on the primary, on the nodes (the most of one), and on the node that is new.

    For other runs, nothing stands for the new node.
    """
    new = runs[0]["run"] == "added"
    cells = [spread(one["executions"]["primary"] for one in runs)]
    cells.append(spread(max(one["executions"]["nodes"][: one["nodes"]]) for one in runs))
    return [*cells, *([spread(one["executions"]["nodes"][-1] for one in runs)] if new else [])]


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, *rows]
    lines.insert(1, ["---"] * len(lines[0]))
    return [f"| {' | '.join(row)} |".replace(" --- ", "---") for row in lines]


def tables(found: dict[str, Any]) -> list[str]:
    """The lines of docs/benchmarks.md below its head. found: the file's content."""
    machine, versions = found["machine"], found["versions"]
    loads = [one["load"] for one in found["runs"]]
    lines = [
        "",
        f"- measured on {found['when']}: Benchfleet {versions['benchfleet']}, ansible-core"
        f" {versions['ansible-core']}, Python {versions['python']}",
        f"- machine: {machine['processors']} processors ({machine['model']}),"
        f" {machine['memory_mib']} MiB, Linux {machine['kernel']}; controller and hosts share it",
        f"- hosts: Debian {versions['debian']}, demo framework",
        f"- load average before a run: {min(loads)} to {max(loads)}",
    ]
    for run, title in TITLES.items():
        head = ["reporting nodes", "seconds", "ssh executions on the primary", "on a node"]
        head += ["on the new node"] if run == "added" else []
        head += ["processor seconds of the controller", "its largest process, MiB"]
        rows = [
            [
                str(nodes),
                spread(one["seconds"] for one in runs),
                *executions(runs),
                spread(one["processor_seconds"] for one in runs),
                spread(one["memory_mib"] for one in runs),
            ]
            for nodes, runs in by_nodes(found, run)
        ]
        lines += ["", f"## {title}", "", *table(head, rows)]
    memory = [one["hosts_mib"] for one in found["runs"] if one["run"] == "second"]
    lines += ["", "## Memory of the hosts", ""]
    lines.append(
        f"All processes together, in MiB: {spread(one['primary'] for one in memory)} on the"
        f" primary, {spread(one['node'] for one in memory)} on a reporting node."
    )
    return lines


def quoted(readme: str, found: dict[str, Any]) -> str:
    """README.md with the figures of the fewest nodes. Raises ValueError where it has no MARK."""
    rows = []
    for run, title in TITLES.items():
        nodes, runs = next(by_nodes(found, run))
        on = zip(executions(runs), ("primary", "a node", "the new one"), strict=False)
        counts = ", ".join(f"{number} on {place}" for number, place in on)
        name = f"{title[0].lower()}{title[1:]} ({nodes} reporting)"
        rows.append([name, spread(one["seconds"] for one in runs), counts])
    made = table(["run of site.yml", "seconds", "ssh executions"], rows)
    lines = "".join(f"{line}\n" for line in made)
    text, times = re.subn(f"{re.escape(MARK)}(\\|.*\n)*", lambda _: MARK + lines, readme)
    if times != 1:
        raise ValueError(f"README.md has {times} lines {MARK}")
    return text


def read() -> dict[str, Any]:
    """The file's content."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found
