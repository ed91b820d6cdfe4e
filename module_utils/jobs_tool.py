"""Ask the bench's own Python what its jobs are doing."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.bench import BenchError, run_as


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
    except ValueError as error:
        raise BenchError(f"the bench's jobs gave an answer that is no JSON: {lines[-1]}") from error
