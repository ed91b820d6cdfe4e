"""Output of failed commands: the lines that show the cause, and files with all of it."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress

from ..kept import Thing, tidy

# Of the programs that bench calls: git, uv and pip, yarn and npm, compilers, esbuild.
TROUBLE = re.compile(
    r"\s*(?:error\b|fatal: |remote: |cause: |And because|hint: |\S+ ERR! |✘|\u00d7|╰─> (?!\[))"
    r"|.*: (?:fatal )?error: |\s*stderr: ",
    re.IGNORECASE,
)
# Lines of the bench CLI about a command that failed; the command's own lines say more.
ECHO = re.compile(
    r"ERROR: (?:\w+ (?:clone|install|pip|venv|fetch)\b|There was a problem while)"
    r"|Error occured during|\s*error: (?:Command '\[|subprocess-exited|failed-wheel)"
    r"|subprocess\.CalledProcessError|bench\.exceptions\.CommandFailedError"
)
TRACE = "Traceback (most recent call last):"
# Outputs of failed commands, for root only.
LOG_DIR = "/var/log/benchfleet-commands"
# Their names have commits and sites in them, so there are always new ones.
KEEP_LOGS = {"number": 50, "days": 90}


def cause(output: str, most: int = 12) -> list[str]:
    """The lines that show why a command failed; [] when none can be recognised.

    These are the error lines of the programs that it called and the last line of each traceback, in
    their order. bench prints a long traceback of its own after them.
    """
    found: list[str] = []
    traced = False
    for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines():
        # The frames of a traceback are indented, the exception that follows them is not.
        exception = traced and line[:1].strip() != ""
        traced = line == TRACE or (traced and not exception)
        shown = exception or (not traced and TROUBLE.match(line))
        if shown and not ECHO.match(line) and line.strip() not in found:
            found.append(line.strip())
    # The first lines show the cause, the last ones its effect.
    return found if len(found) <= most else [*found[: most - 2], "…", *found[-2:]]


def keep_output(output: str, what: str) -> str:
    """Keep the whole output of a failed command in a file; returns its path, "" if that failed.

    The next failure of the same command overwrites it; the oldest files are removed.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "-", what).strip("-.")[:100]
    path = f"{LOG_DIR}/{name}.log"
    try:
        os.makedirs(LOG_DIR, mode=0o750, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
        with open(handle, "w", encoding="utf-8", errors="replace") as out:
            out.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {what}\n{output}")
    except OSError:
        return ""
    with suppress(OSError):
        entries = list(os.scandir(LOG_DIR))
        logs = [Thing(one.path, one.stat(follow_symlinks=False).st_mtime) for one in entries]
        tidy(logs, KEEP_LOGS, os.unlink)
    return path
