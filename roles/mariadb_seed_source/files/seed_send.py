#!/usr/bin/python3
"""Stream a consistent copy of this server's data to standard output.

Started by sshd for the key of one reporting host, as root through sudo, without arguments.
What it writes: see fleet.mariadb.seed_stream.

The server keeps taking writes while it is copied. At the end mariadb-backup blocks commits for a
moment. A receiver that stops reading then would prolong this, so the copy is given up.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder
from fleet.mariadb.by_client import ask
from fleet.mariadb.seed_stream import FRAME

# The folder that mariadb-backup wants: it stays empty while streaming, and a reboot clears it.
SCRATCH = Path("/run")
CHUNK = 1024 * 1024
# Seconds without a read by the receiver after which the copy is given up: normally, and while
# commits wait.
PATIENCE = 60.0
PATIENCE_COMMITS_WAIT = 5.0
# How often the tool reads the redo log. Commits wait for one more reading at the end, so its own
# figure of 1000 holds every writer back for a second.
LOG_COPY_INTERVAL_MS = 50
# Copies that this server sends at the same time; further replicas wait or ask another source.
PLACES = 3
NO_COPY = "it holds no copy yet"


class StalledError(Exception):
    """The receiver stopped reading."""


class Log:
    """The backup tool's log: kept in a file, and watched for a few lines."""

    def __init__(self, source: IO[bytes], path: Path) -> None:
        self.commits_wait = False
        self.completed = False
        self.last: list[str] = []
        self.path = path
        self.thread = threading.Thread(target=self.follow, args=(source,), daemon=True)
        self.thread.start()

    def follow(self, source: IO[bytes]) -> None:
        """Read line by line until the tool ends."""
        with self.path.open("wb") as copy:
            for line in source:
                copy.write(line)
                copy.flush()
                self.hear(line.decode(errors="replace").rstrip())

    def hear(self, line: str) -> None:
        """Note what one line says."""
        if "BLOCK_COMMIT" in line or "FLUSH TABLES WITH READ LOCK" in line:
            self.commits_wait = True
        elif "BACKUP STAGE END" in line or "UNLOCK TABLES" in line:
            self.commits_wait = False
        if line.endswith("completed OK!"):
            self.completed = True
        self.last = [*self.last[-7:], line]


def send(out: int, data: bytes, patience: float | None = None, log: Log | None = None) -> None:
    """Write all the data. Raises StalledError when the receiver does not read for too long."""
    rest = memoryview(data)
    poller = select.poll()
    poller.register(out, select.POLLOUT)
    since = time.monotonic()
    while rest:
        if poller.poll(100):
            written = os.write(out, rest)
            rest = rest[written:]
            since = time.monotonic()
            continue
        limit = patience or PATIENCE
        if log is not None and log.commits_wait:
            limit = PATIENCE_COMMITS_WAIT
        if time.monotonic() - since > limit:
            raise StalledError(f"the receiver read nothing for {limit:.0f} s")


def unsound() -> str | None:
    """Why this server's data must not be copied; None where it may.

    The primary is open for writes; a replica may be copied as long as it follows the primary.
    """
    status = ask("SHOW SLAVE STATUS", "--vertical")
    lines = (line.strip().partition(": ") for line in status.splitlines())
    fields = {name: value for name, _, value in lines}
    if not status:
        return NO_COPY if ask("SELECT @@GLOBAL.read_only") == "1" else None
    for thread in ("Slave_IO_Running", "Slave_SQL_Running"):
        if fields.get(thread) != "Yes":
            return f"it does not follow the primary ({thread}: {fields.get(thread)})"
    return None


def take_place() -> IO[bytes] | None:
    """One of the places for copies, taken until the file is closed; None where all are taken."""
    for number in range(PLACES):
        place = (folder("state") / f"seed-place-{number}.lock").open("wb")
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            place.close()
            continue
        return place
    return None


def refusal() -> str | None:
    """Why the source sends no copy, for the header; None where it sends one."""
    try:
        return unsound()
    except (OSError, subprocess.SubprocessError) as error:
        return f"its server does not answer: {error}"


def data_bytes(datadir: Path, binlog: str) -> int:
    """Size of what a copy contains: the data folder without binary logs and temporary files."""
    total = 0
    skipped = (f"{binlog}.", "ibtmp", "relay.", "aria_log.")
    for inside, names, files in os.walk(datadir):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if inside == str(datadir) and name.startswith(skipped):
                continue
            try:
                total += os.stat(Path(inside, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def trailer(error: str | None) -> bytes:
    """The end of the stream."""
    ending = {"complete": error is None, "error": error}
    return FRAME.pack(0) + json.dumps(ending).encode() + b"\n"


def copy(out: int, scratch: Path, log_path: Path) -> str | None:
    """Stream the copy. Returns what went wrong, None when it is complete."""
    workers = str(max(1, min(4, os.cpu_count() or 1)))
    backup = subprocess.Popen(
        [
            *("nice", "-n", "10", "ionice", "-c", "2", "-n", "7"),
            *("mariadb-backup", "--backup", "--stream=mbstream", f"--parallel={workers}"),
            *(f"--target-dir={scratch}", f"--log-copy-interval={LOG_COPY_INTERVAL_MS}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    squeezed = subprocess.Popen(
        ["nice", "-n", "10", "zstd", "-1", "--quiet", "--stdout"],
        stdin=backup.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert backup.stdout is not None
    assert backup.stderr is not None
    assert squeezed.stdout is not None
    backup.stdout.close()
    log = Log(backup.stderr, log_path)
    try:
        while chunk := os.read(squeezed.stdout.fileno(), CHUNK):
            send(out, FRAME.pack(len(chunk)) + chunk, log=log)
    except (StalledError, BrokenPipeError):
        for process in (backup, squeezed):
            process.send_signal(signal.SIGKILL)
        raise
    finally:
        backup.wait()
        squeezed.wait()
        log.thread.join(timeout=10)
    if backup.returncode == 0 and squeezed.returncode == 0 and log.completed:
        return None
    return (
        f"mariadb-backup ended with {backup.returncode}, zstd with {squeezed.returncode};"
        f" the end of its log: {' | '.join(log.last)}"
    )


def main() -> int:
    """Send header, data, trailer."""
    out = sys.stdout.fileno()
    os.set_blocking(out, False)
    place = take_place()
    refused = refusal() if place else "busy"
    if refused:
        send(out, json.dumps({"format": 1, "refused": refused}).encode() + b"\n")
        return 0
    datadir, binlog, version = ask(
        "SELECT @@datadir, REPLACE(@@log_bin_basename, @@datadir, ''), @@version"
    ).split("\t")
    header = {"format": 1, "version": version, "bytes": data_bytes(Path(datadir), binlog)}
    caller = os.environ.get("SSH_CONNECTION", "unknown").split()[0].replace("/", "_")
    try:
        send(out, json.dumps(header).encode() + b"\n")
        with tempfile.TemporaryDirectory(prefix="benchfleet-seed-", dir=SCRATCH) as scratch:
            error = copy(out, Path(scratch), folder("state") / f"seed-to-{caller}.log")
        send(out, trailer(error))
    except (StalledError, BrokenPipeError) as broken:
        print(f"benchfleet: seed given up: {broken}", file=sys.stderr)
        return 1
    return 0 if error is None else 1


if __name__ == "__main__":
    sys.exit(main())
