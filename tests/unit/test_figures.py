"""The tables of what benchmarks/site_runs.py has measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchfleet import figures
from benchfleet.references import ROOT


def run(name: str, seconds: float, nodes: list[int], **more: Any) -> dict[str, Any]:
    """A run as the file has it."""
    counts = {"primary": 30, "nodes": nodes}
    used = {"processor_seconds": 9.6, "memory_mib": 70, "load": 0.1, **more}
    return {"run": name, "nodes": 1, "seconds": seconds, "executions": counts, **used}


FOUND = {
    "when": "2026-11-30",
    "machine": {"processors": 2, "model": "m", "memory_mib": 4096, "kernel": "6"},
    "versions": {"benchfleet": "1", "ansible-core": "2", "python": "3", "debian": "bookworm"},
    "runs": [
        run("first", 90.2, [40]),
        run("second", 14.6, [20], hosts_mib={"primary": 448, "node": 209}),
        run("second", 12.2, [20], hosts_mib={"primary": 450, "node": 209}),
        run("second", 20.0, [20], load=1.5, hosts_mib={"primary": 449, "node": 209}),
        run("added", 60.0, [9, 41]),
    ],
}


def test_a_table_has_the_median_and_the_spread() -> None:
    lines = figures.tables(FOUND)
    assert "| 1 | 15 (12-20) | 30 | 20 | 10 | 70 |" in lines
    # On the nodes that were there before, and on the new one.
    assert "| 1 | 60 | 30 | 9 | 41 | 10 | 70 |" in lines
    assert any("0.1 to 1.5" in line for line in lines)
    assert "449 (448-450)" in lines[-1]
    assert "209 " in lines[-1]


def test_the_readme_quotes_the_figures() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = figures.quoted(readme, FOUND)
    assert "| 15 (12-20) | 30 on primary, 20 on a node |" in text
    assert "9 on a node, 41 on the new one" in text
    assert figures.quoted(text, FOUND) == text
    assert text.partition(figures.MARK)[0] == readme.partition(figures.MARK)[0]
    with pytest.raises(ValueError, match="0 lines"):
        figures.quoted("# Benchfleet", FOUND)
