"""Calls of supervisor's programs by root."""

from __future__ import annotations

import os
import subprocess

# Debian's unit names the first of these.
CONFIGURATIONS = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf")
# For calls by root, whatever folder and account a run came from: supervisorctl takes a
# configuration, and code that this names, from the folder in which it is called.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}


def control_file() -> str:
    """The configuration for supervisorctl: of several, the one with which supervisord answers."""
    there = [path for path in CONFIGURATIONS if os.path.exists(path)]
    if len(there) > 1:
        there = [path for path in there if reaches(path)] + there
    return (there or CONFIGURATIONS)[0]


def reaches(path: str) -> bool:
    """Whether supervisord answers when supervisorctl uses this configuration."""
    try:
        return run(["supervisorctl", "-c", path, "pid"]).stdout.strip().isdigit()
    except (OSError, subprocess.TimeoutExpired):
        return False


def control_words(*words: str) -> list[str]:
    """The command line for supervisorctl with supervisor's own configuration and no other."""
    return ["supervisorctl", "-c", control_file(), *words]


def run(
    command: list[str], timeout: float | None = 30, seen: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command as root, in ``/`` and with ENVIRONMENT; ``timeout`` is in seconds.

    ``seen``: its output goes to ours and is not captured.
    """
    return subprocess.run(
        command,
        cwd="/",
        env=ENVIRONMENT,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=not seen,
        timeout=timeout,
        check=False,
    )
