"""Access to the primary by rsync and ssh, with the sync key only."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from benchfleet_sync.settings import Settings

RSYNC_ERRORS = {
    5: "the primary refused the request",
    10: "the connection broke",
    11: "a file could not be written here; check the free disk space",
    12: "the connection to the primary broke or was refused",
    20: "rsync was interrupted",
    23: "some files could not be copied",
    24: "some files vanished on the primary while they were copied",
    30: "the primary sent no data for too long",
    35: "the primary did not answer in time",
    255: "the primary cannot be reached by ssh with the sync key",
}


class SyncError(Exception):
    """A step failed; the message says which, and why."""


def ssh_command(settings: Settings) -> str:
    """rsync's option -e: only the sync key, only the fleet's known hosts, no questions."""
    options = {
        "Port": settings.source_port,
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityFile": settings.key,
        "UserKnownHostsFile": settings.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlgorithms": "ssh-ed25519",
        "ConnectTimeout": settings.connect_timeout,
        "ServerAliveInterval": 10,
        "ServerAliveCountMax": 3,
        "ControlPath": "none",
        "LogLevel": "ERROR",
    }
    # -F none: a user's own ssh settings do not count.
    return " ".join(["ssh", "-F", "none", "-T", *(f"-o {k}={v}" for k, v in options.items())])


def environment(settings: Settings) -> dict[str, str]:
    """The environment of rsync and ssh."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(settings.bench.parent)}


def rsync(
    settings: Settings, source: str, target: Path, options: list[str], given: bytes | None = None
) -> str:
    """Run rsync to copy from the primary; returns its statistics. Raises SyncError.

    given: rsync's standard input. Files that vanished on the primary meanwhile are no error: the
    next run copies the new state.
    """
    host = f"[{settings.source_host}]" if ":" in settings.source_host else settings.source_host
    command = [
        "rsync",
        "-rt",
        *options,
        "--stats",
        "--no-human-readable",
        f"--timeout={settings.transfer_timeout}",
        "-e",
        ssh_command(settings),
        f"{settings.source_user}@{host}:{source}",
        f"{target}/",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=environment(settings),
        check=False,
        input=None if given is None else os.fsdecode(given),
    )
    if done.returncode not in (0, 24):
        error = RSYNC_ERRORS.get(done.returncode, f"rsync ended with {done.returncode}")
        output = done.stderr.encode(errors="replace").decode()
        lines = [line for line in output.splitlines() if line and "rsync error:" not in line]
        raise SyncError(f"{error}: {' | '.join(lines[:3]) or 'no further message from rsync'}")
    return done.stdout


def parse_stats(text: str) -> tuple[int, int, int]:
    """(regular files, sent, deleted) from ``rsync --stats --no-human-readable``."""

    def number(pattern: str) -> int:
        found = re.search(pattern, text)
        return int(found.group(1)) if found else 0

    return (
        number(r"Number of files: \d+ \(.*?reg: (\d+)"),
        number(r"Number of regular files transferred: (\d+)"),
        number(r"Number of deleted files: (\d+)"),
    )


def gate_command(settings: Settings, command: str) -> list[str]:
    """The ssh command that runs a command of the primary's gate."""
    there = f"{settings.source_user}@{settings.source_host}"
    return [*shlex.split(ssh_command(settings)), there, command]
