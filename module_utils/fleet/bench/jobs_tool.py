"""Ask the bench's own Python what its jobs are doing, and whether our packages fit it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from .account import BenchError, run_as
from .needs import shown

# Of the sentences that say what does not fit: how many, and how many characters each.
MOST = 30
LONGEST = 1000
# How the sentence begins that says why a bench could not be asked.
UNKNOWN = "contract: the bench's Python cannot say what fits: "


def ask(bench: str, user: str, package_dir: str, *words: str, timeout: float = 60) -> Any:
    """What ``python -m benchfleet_jobs WORDS`` prints, as JSON; ``timeout`` in seconds.

    Raises BenchError with its last words.
    """
    done = run_as(
        user,
        [f"{bench}/env/bin/python", "-m", "benchfleet_jobs", *words],
        f"{bench}/sites",
        {"PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "PYTHONPATH": package_dir},
        timeout=timeout,
    )
    lines = done.stdout.strip().splitlines() or ["no word"]
    if done.returncode != 0:
        raise BenchError(f"the bench's jobs cannot be asked: {lines[-1]}")
    try:
        return json.loads(lines[-1])
    except (ValueError, RecursionError) as error:
        raise BenchError(f"the bench's jobs gave an answer that is no JSON: {lines[-1]}") from error


def misfits(bench: str, user: str, package_dir: str, guard: bool) -> list[str]:
    """What of a bench does not fit Benchfleet's packages, in sentences; see the jobs' contract.py.

    guard: whether the bench is to run with the guard of the read path.

    A bench that cannot be asked does not fit either, and the sentence says why.
    """
    try:
        found = ask(bench, user, package_dir, "contract", *["guard"] * guard, timeout=120)
        # The bench's account could have it say anything.
        if not isinstance(found, dict) or not isinstance(found.get("misfits"), list):
            raise BenchError("its answer is no list of sentences")
        return [shown(words, LONGEST) for words in found["misfits"][:MOST]]
    except (BenchError, OSError, subprocess.TimeoutExpired) as error:
        return [shown(f"{UNKNOWN}{error}", LONGEST)]
