"""Asks the bench's own Python about its jobs, and whether our packages fit its code."""

from __future__ import annotations

import json
import subprocess
from typing import Any, NamedTuple

from .account import BenchError, run_as
from .needs import shown

# Of the sentences that say what does not fit: how many, and how many characters each.
MOST = 30
LONGEST = 1000


def ask(bench: str, user: str, package_dir: str, *arguments: str, timeout: float = 60) -> Any:
    """What ``python -m benchfleet_jobs ARGUMENTS`` prints, as JSON; ``timeout`` in seconds.

    Raises BenchError with the last line of its output.
    """
    done = run_as(
        user,
        [f"{bench}/env/bin/python", "-m", "benchfleet_jobs", *arguments],
        f"{bench}/sites",
        {"PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "PYTHONPATH": package_dir},
        timeout=timeout,
    )
    lines = done.stdout.strip().splitlines() or ["no output"]
    if done.returncode != 0:
        raise BenchError(f"`python -m benchfleet_jobs {arguments[0]}` failed: {lines[-1]}")
    try:
        return json.loads(lines[-1])
    except (ValueError, RecursionError) as error:
        message = f"`python -m benchfleet_jobs {arguments[0]}` printed no JSON: {lines[-1]}"
        raise BenchError(message) from error


class Fit(NamedTuple):
    """Whether a bench could be asked, and what of it does not fit, in sentences."""

    known: bool
    misfits: list[str]


def misfits(bench: str, user: str, package_dir: str, guard: bool) -> list[str]:
    """What of a bench does not fit Benchfleet's packages, in sentences; see `fit`."""
    return fit(bench, user, package_dir, guard).misfits


def fit(bench: str, user: str, package_dir: str, guard: bool) -> Fit:
    """What of a bench does not fit Benchfleet's packages; see the jobs' contract.py.

    guard: whether the bench is to run with the guard of the read path.

    A bench that cannot be asked does not fit either, and its one sentence says why.
    """
    try:
        found = ask(bench, user, package_dir, "contract", *["guard"] * guard, timeout=120)
        # The bench's account could make it answer anything.
        if not isinstance(found, dict) or not isinstance(found.get("misfits"), list):
            raise BenchError("its answer is not a list of sentences")
        return Fit(True, [shown(sentence, LONGEST) for sentence in found["misfits"][:MOST]])
    except (BenchError, OSError, subprocess.TimeoutExpired) as error:
        sentence = f"contract: the bench's Python did not report what fits: {error}"
        return Fit(False, [shown(sentence, LONGEST)])
