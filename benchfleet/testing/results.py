"""Reads the output of test programs: counts, failed tests, steps; and sums up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchfleet.shell import clock

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CLOSING = re.compile(
    r"=+ (?P<counts>.*\b\d+ (?:passed|failed|error|errors|skipped|deselected)\b.*) in [\d.]+s"
)
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)")
# A line of pytest's short summary.
RED = re.compile(r"^[^\w]*((?:FAILED|ERROR) \S+\.py(?:::.*)?)$")
RED_LETTERS = 500
STAGE = re.compile(r"➜ ([\w ./]+): Executing$")


@dataclass
class Result:
    """How one program ended, what pytest counted in it, which tests were red, how long it took.

    stages: (name, seconds) of a scenario's steps, in their order.
    """

    title: str
    ok: bool
    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    red: list[str] = field(default_factory=list)
    stages: list[tuple[str, float]] = field(default_factory=list)


def closing_counts(line: str) -> Counter[str]:
    """Return the counts in a closing line of pytest's; none for every other line."""
    found = CLOSING.search(COLOURS.sub("", line))
    counts: Counter[str] = Counter()
    for number, kind in COUNT.findall(found["counts"]) if found else []:
        counts["failed" if kind.startswith("error") else kind] += int(number)
    return counts


def red_test(line: str) -> str | None:
    """Return pytest's line on a failed test, cut to RED_LETTERS; None for other lines."""
    found = RED.match(COLOURS.sub("", line).rstrip())
    return found[1][:RED_LETTERS] if found else None


def stage_of(line: str) -> str | None:
    """Return the step of a scenario that a line of molecule's begins; None for other lines."""
    found = STAGE.search(COLOURS.sub("", line).rstrip())
    return found[1] if found else None


def closing(results: Iterable[Result], seconds: float) -> list[str]:
    """Return the last lines: one per program, its red tests, then the sum in pytest's own form.

    A program counts as one test itself, unless it is pytest and counted its own.
    """
    total: Counter[str] = Counter()
    lines = []
    for result in results:
        counts = ", ".join(f"{n} {kind}" for kind, n in sorted(result.counts.items()))
        verdict = "PASSED" if result.ok else "FAILED"
        took = clock(result.seconds)
        lines.append(f"{verdict} {result.title} ({took}){counts and ': ' + counts}")
        lines += [f"    {line}" for line in result.red]
        total += result.counts
        if not result.counts or (not result.ok and not result.counts["failed"]):
            total["passed" if result.ok else "failed"] += 1
    order = ("failed", "passed", "skipped", "xfailed", "xpassed")
    summed = ", ".join(f"{total[kind]} {kind}" for kind in order if total[kind])
    return [*lines, f" {summed or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")]


def stage_lines(results: Iterable[Result]) -> list[str]:
    """Return where the time of each scenario went, a line each."""
    return [
        f"{result.title}: " + ", ".join(f"{name} {clock(took)}" for name, took in result.stages)
        for result in results
        if result.stages
    ]
