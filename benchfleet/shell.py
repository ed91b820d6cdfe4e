"""Small helpers: messages on standard error, commands, files, locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

STARTED = time.monotonic()


# Exit statuses: something is not as it should be; the command is wrong; nobody could be asked.
NOT_FINE, USAGE, NOT_ASKED, INTERRUPTED = 1, 2, 3, 130


class FleetError(Exception):
    """An error for the operator: the text names the value, the place and the remedy.

    status: the exit status of the command that ends with it.
    """

    status = NOT_FINE

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status


class Interrupted(FleetError):  # noqa: N818 -- the operator asked for it
    """A run that was stopped by Ctrl-C or SIGTERM; nothing of it runs on this machine any more."""

    status = 130


def clock(seconds: float) -> str:
    """Return a duration in seconds as mm:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes:02d}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def number_of(number: int, what: str) -> str:
    """Return a number of things: 1 host, 2 hosts."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def say(message: str) -> None:
    """Print one line of progress, with the time since the start, to standard error."""
    print(f"[{clock(time.monotonic() - STARTED)}] {message}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path], *, stdin: str | None = None, env: dict[str, str] | None = None
) -> str:
    """Run a command and return its standard output.

    Raises FleetError with the command and the end of its output when it fails.
    """
    argv = [str(word) for word in command]
    try:
        done = subprocess.run(
            argv, input=stdin, env=env, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise FleetError(f"`{argv[0]}` is not installed on this machine") from error
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise FleetError(f"`{' '.join(argv)}` failed with status {done.returncode}:\n{end}")
    return done.stdout


def succeeds(command: Sequence[str | Path]) -> bool:
    """Return whether a command ends with status 0; its output is dropped."""
    argv = [str(word) for word in command]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def write_file(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file in one step: readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
    fresh.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, in one step."""
    write_file(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def free_bytes(path: Path) -> int:
    """Return the bytes free for root on the file system that holds, or will hold, `path`."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def mounts_under(path: Path) -> list[str]:
    """Return the mount points at or below `path`, deepest first."""
    prefix = str(path)
    points = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point = line.split()[1].encode().decode("unicode_escape")
        if point == prefix or point.startswith(prefix + "/"):
            points.append(point)
    return sorted(points, key=len, reverse=True)


def remove_tree(path: Path) -> None:
    """Delete a tree; what is mounted in it is unmounted first and never deleted through."""
    for point in mounts_under(path):
        if not succeeds(["umount", point]):
            run(["umount", "--lazy", point])
    if path.exists():
        run(["rm", "-rf", "--one-file-system", "--", path])


@contextlib.contextmanager
def locked(path: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file for the time of the block.

    path: the lock file; it holds the pid of its owner. busy: the message, with {pid}, when another
    process holds it: raised as FleetError, or printed before waiting where `wait` is set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 20, 0).decode().strip() or "unknown"
            if not wait:
                os.close(descriptor)
                raise FleetError(busy.format(pid=pid)) from None
            say(busy.format(pid=pid))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Its last owner may have removed the file while we waited: that lock would protect nothing.
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            break
        os.close(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
