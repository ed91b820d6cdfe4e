"""How the primary is reached: by rsync and ssh, with the sync key alone."""

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
    11: "a file could not be written here (disk full?)",
    12: "the connection to the primary broke or was refused",
    20: "it was interrupted",
    23: "some files could not be copied",
    24: "some files vanished on the primary while they were copied",
    30: "the primary sent nothing for too long",
    35: "the primary did not answer in time",
    255: "the primary cannot be reached by ssh with the sync key",
}


class SyncError(Exception):
    """A step failed; the message says which, and why, in plain words."""


def ssh_command(settings: Settings) -> str:
    """rsync's -e: the sync key alone, the fleet's known hosts alone, no questions."""
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
    # -F none: a user's own ssh settings are not this script's business.
    return " ".join(["ssh", "-F", "none", "-T", *(f"-o {k}={v}" for k, v in options.items())])


def environment(settings: Settings) -> dict[str, str]:
    """What rsync and ssh see of ours."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(settings.bench.parent)}


def rsync(
    settings: Settings, source: str, target: Path, options: list[str], given: bytes | None = None
) -> str:
    """Run one rsync pull. Returns its statistics; raises SyncError in plain words.

    given: what rsync reads from standard input.
    Files that vanished on the primary meanwhile are no error: the next run sees the new state.
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
        words = RSYNC_ERRORS.get(done.returncode, f"rsync ended with {done.returncode}")
        said = done.stderr.encode(errors="replace").decode()
        lines = [line for line in said.splitlines() if line and "rsync error:" not in line]
        raise SyncError(f"{words}: {' | '.join(lines[:3]) or 'no further word from rsync'}")
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
    """The words that run a command of the primary's gate."""
    there = f"{settings.source_user}@{settings.source_host}"
    return [*shlex.split(ssh_command(settings)), there, command]
