"""Runs the project's tests: unit, lint and molecule, and sums up what they counted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchfleet.shell import FleetError, clock

ROOT = Path(__file__).resolve().parent.parent
SUITES = ("unit", "lint", "molecule")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CLOSING = re.compile(
    r"=+ (?P<counts>.*\b\d+ (?:passed|failed|error|errors|skipped)\b.*) in [\d.]+s"
)
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)")
# A line of pytest's short summary; molecule puts a border before it.
RED = re.compile(r"^[^\w]*((?:FAILED|ERROR) \S+\.py(?:::.*)?)$")
RED_LETTERS = 500
# In the molecule.yml of a scenario whose tests measure time: nothing else runs beside it.
ALONE = "BENCHFLEET_TEST_ALONE"
# How many of the other programs run at the same time.
LANES = 2
printing = threading.Lock()
LINTERS = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("yamllint", ["yamllint", "--strict", "."]),
    ("ansible-lint", ["ansible-lint", "--offline", "--profile", "production"]),
)


@dataclass
class Result:
    """How one program of the tests ended, what pytest counted in it, and which tests were red."""

    title: str
    ok: bool
    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    red: list[str] = field(default_factory=list)


def closing_counts(line: str) -> Counter[str]:
    """Return the counts in a closing line of pytest's; none for every other line."""
    found = CLOSING.search(COLOURS.sub("", line))
    counts: Counter[str] = Counter()
    for number, kind in COUNT.findall(found["counts"]) if found else []:
        counts["failed" if kind.startswith("error") else kind] += int(number)
    return counts


def red_test(line: str) -> str | None:
    """Return pytest's line on a test that failed, cut to a bearable length; None for others."""
    found = RED.match(COLOURS.sub("", line).rstrip())
    return found[1][:RED_LETTERS] if found else None


def scenarios(wanted: str | None) -> list[str]:
    """Return the molecule scenarios to run; FleetError with the names for one that isn't there."""
    there = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    if wanted is None:
        return there
    if wanted not in there:
        known = ", ".join(there) or "none at all"
        raise FleetError(f"there is no molecule scenario {wanted!r}; there is {known}")
    return [wanted]


def commands(suite: str, scenario: str | None) -> list[tuple[str, list[str]]]:
    """Return the programs of a suite: (title, command line)."""
    if suite == "unit":
        return [("unit", ["pytest", "tests/unit"])]
    if suite == "lint":
        return [(title, list(words)) for title, words in LINTERS]
    return [(f"molecule {s}", ["molecule", "test", "-s", s]) for s in scenarios(scenario)]


def is_alone(scenario: str) -> bool:
    """Whether nothing else may run beside a molecule scenario."""
    return ALONE in (ROOT / "molecule" / scenario / "molecule.yml").read_text()


def may_be_beside(words: list[str]) -> bool:
    """Whether a program may run while others do."""
    return words[0] != "molecule" or not is_alone(words[-1])


def run_all(programs: list[tuple[str, list[str]]]) -> list[Result]:
    """Run programs, one after the other; those that do not mind, a few at a time at the end."""
    # Backwards, for so the longest one begins early.
    beside = [p for p in programs if may_be_beside(p[1])][::-1]
    if len(beside) < LANES:
        beside = []
    results = [run_one(*program) for program in programs if program not in beside]
    with ThreadPoolExecutor(LANES) as lanes:
        return results + list(lanes.map(lambda program: run_one(*program, at_once=True), beside))


def run_one(title: str, words: list[str], at_once: bool = False) -> Result:
    """Run one program and return how it ended.

    Its output is passed through as it comes, or, of one among others, all at once at its end.
    """
    print(f"\n== {title}: {' '.join(words)}", flush=True)
    since = time.monotonic()
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    counts: Counter[str] = Counter()
    red: list[str] = []
    kept: list[str] = []
    process = subprocess.Popen(
        words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        for line in process.stdout or ():
            if at_once:
                kept.append(line)
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
            counts += closing_counts(line)
            red += filter(None, [red_test(line)])
    if kept:
        with printing:
            sys.stdout.write(f"\n== {title}: its output\n{''.join(kept)}")
            sys.stdout.flush()
    return Result(title, process.returncode == 0, time.monotonic() - since, counts, red)


def closing(results: Iterable[Result], seconds: float) -> list[str]:
    """Return the last lines: one per program, its red tests, then the sum in pytest's own form.

    A program counts as one test itself, unless it is pytest and counted its own.
    """
    total: Counter[str] = Counter()
    lines = []
    for result in results:
        words = ", ".join(f"{n} {kind}" for kind, n in sorted(result.counts.items()))
        verdict = "PASSED" if result.ok else "FAILED"
        lines.append(f"{verdict} {result.title} ({clock(result.seconds)}){words and ': ' + words}")
        lines += [f"    {line}" for line in result.red]
        total += result.counts
        if not result.counts or (not result.ok and not result.counts["failed"]):
            total["passed" if result.ok else "failed"] += 1
    order = ("failed", "passed", "skipped", "xfailed", "xpassed")
    summed = ", ".join(f"{total[kind]} {kind}" for kind in order if total[kind])
    return [*lines, f" {summed or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")]


def run(suite: str | None, scenario: str | None) -> int:
    """Run one suite or all of them; returns 0 only if every program passed."""
    since = time.monotonic()
    wanted = [suite] if suite else SUITES
    programs = [program for name in wanted for program in commands(name, scenario)]
    results = run_all(programs)
    print()
    for line in closing(results, time.monotonic() - since):
        print(line, flush=True)
    return 0 if results and all(result.ok for result in results) else 1
