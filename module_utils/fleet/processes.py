"""Programs that are run for what they say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

Done = subprocess.CompletedProcess[str]
# What has run() below in its place in tests.
Run = Callable[..., Done]


def run(words: list[str], stdin: str = "", seconds: float = 30) -> Done:
    """The result of a program, which speaks English.

    One that is missing, or takes longer, has failed: status 1, and stderr says why.
    """
    try:
        return subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))
