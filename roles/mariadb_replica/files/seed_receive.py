#!/usr/bin/python3
"""Fetch a copy of the primary's data and put it in the place of this server's own.

It comes from a replica that follows the primary, to spare the primary, or from the primary.

Runs as a unit of its own (benchfleet-seed-*), so that neither a lost ssh session nor a killed
controller ends it. Every step is written to the state file before it begins; started again after
a kill or a power cut at any point, it goes on from there or, while nothing has been replaced
yet, starts over. It needs no password: the caller connects replication afterwards, from the
position that this script leaves in the state file.

Phases: stream, prepare, prepared, swap_out, swap_in, start, seeded (and, by the caller, done).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.atomic import sync_folder, write
from fleet.channel import command
from fleet.folders import folder
from fleet.mariadb.seed_folders import copy_with_owner, empty, gtid_of, move_all, work_folder
from fleet.mariadb.seed_stream import (
    FRAME,
    MIB,
    BusyError,
    SeedError,
    TornError,
    check_header,
    read_exactly,
    read_line,
)

# Files of the package that belong to this server's data folder; a copy does not have them.
KEPT = ("debian-", "mysql_upgrade_info", "mariadb_upgrade_info")
# Seconds between two requests to a source that already sends as many copies as it may.
AGAIN_SECONDS = 5.0
# A copy comes from another host: it is unpacked and prepared with MariaDB's rights, not root's.
AS_SERVER: dict[str, Any] = {"user": "mysql", "group": "mysql", "extra_groups": []}
# Phases from which a restart goes on, never back: the old data is being replaced.
FORWARD = ("prepared", "swap_out", "swap_in", "start")


def fence() -> Path:
    """The file that keeps the server from being started on an incomplete data folder."""
    return folder("state") / "mariadb-swap"


class State:
    """The seed's phase and figures, on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = {}
        self.written = 0.0
        if path.exists():
            self.data = json.loads(path.read_text())

    def write(self, durable: bool = True) -> None:
        """Replace the file; durable before a step, not for figures."""
        self.data["updated"] = time.time()
        write(self.path, json.dumps(self.data, indent=2), durable=durable)
        self.written = time.monotonic()

    def enter(self, phase: str, **figures: Any) -> None:
        """Begin a phase."""
        self.data.update(figures, phase=phase, phase_since=time.time(), failed=None)
        self.write()
        print(f"benchfleet: seed: {phase}", flush=True)

    def figures(self, **figures: Any) -> None:
        """Note figures of the running phase, on disk at most once a second."""
        self.data.update(figures)
        if time.monotonic() - self.written >= 1:
            self.write(durable=False)


def tail(path: Path, lines: int = 6) -> str:
    """The last lines of a log as one."""
    if not path.exists():
        return "(no log)"
    return " | ".join(path.read_text(errors="replace").strip().splitlines()[-lines:])


class Seed:
    """One seed, from the beginning or from where the last one stopped."""

    def __init__(self, arguments: argparse.Namespace, state: State) -> None:
        self.arguments = arguments
        self.state = state
        self.datadir = Path(arguments.datadir)
        self.work = work_folder(self.datadir)
        self.staged = self.work / "incoming"

    def run(self) -> None:
        """Go through the phases."""
        if self.state.data.get("phase") not in FORWARD:
            self.stream()
            self.prepare()
        self.swap()
        self.start()

    def stream(self) -> None:
        """Fetch the copy into the staging folder, from the first source that sends one.

        Replicas are asked first, and busy ones are waited for, to spare the primary.
        """
        self.state.enter(
            "stream", bytes=0, expected=None, rate=None, gtid=None, source=None, started=time.time()
        )
        self.work.mkdir(exist_ok=True)
        # MariaDB's account has to pass through it.
        self.work.chmod(0o711)
        *replicas, primary = self.arguments.source
        while True:
            busy = []
            for source in replicas:
                try:
                    return self.fetch(source)
                except SeedError as error:
                    print(f"benchfleet: seed: no copy from {source}: {error}", flush=True)
                    busy += [source] if isinstance(error, BusyError) else []
            if not busy:
                try:
                    return self.fetch(primary)
                except BusyError:
                    busy = [primary]
            names = " or ".join(source.partition("=")[0] for source in busy)
            self.state.figures(source=None, waits_for=names)
            time.sleep(AGAIN_SECONDS)

    def fetch(self, source: str) -> None:
        """Fetch the copy from one source (name=address) into the staging folder.

        Raises BusyError where it can send one later, SeedError where it has none or the copy is
        incomplete.
        """
        name, _, address = source.partition("=")
        empty(self.staged)
        self.staged.mkdir(mode=0o700)
        shutil.chown(self.staged, "mysql", "mysql")
        errors = folder("state") / "seed-ssh.log"
        with errors.open("wb") as log:
            ssh = subprocess.Popen(
                command(address, self.arguments.port, self.arguments.user, "seed"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
            assert ssh.stdout is not None
            try:
                self.receive(ssh.stdout, name)
            except SeedError as error:
                ssh.kill()
                ssh.wait()
                output = tail(errors)
                empty(self.staged)
                raise type(error)(f"{error}; output of ssh: {output or 'none'}") from error
            ssh.wait()

    def receive(self, source: IO[bytes], name: str) -> None:
        """Read the stream of a server into the staging folder.

        Raises BusyError where the server has no free place, SeedError where the copy is incomplete.
        """
        header = read_line(source)
        if header.get("refused"):
            kind = BusyError if header["refused"] == "busy" else SeedError
            raise kind(f"{name} sends no copy: {header['refused']}")
        version = subprocess.run(
            ["mariadbd", "--version"], capture_output=True, text=True, check=True
        ).stdout
        check_header(header, version, shutil.disk_usage(self.work).free, self.work)
        self.state.figures(expected=header["bytes"], source=name, waits_for=None)
        log_path = folder("state") / "seed-unpack.log"
        with log_path.open("wb") as log:
            unzip = subprocess.Popen(
                ["zstd", "-d", "--quiet", "--stdout"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                **AS_SERVER,
            )
            unpack = subprocess.Popen(
                ["mbstream", "-x", "-C", str(self.staged)],
                stdin=unzip.stdout,
                stderr=log,
                **AS_SERVER,
            )
            assert unzip.stdin is not None
            assert unzip.stdout is not None
            unzip.stdout.close()
            try:
                ending = self.pump(source, unzip.stdin)
            except BrokenPipeError:
                ending = {"complete": False, "error": "unpacking stopped"}
            finally:
                with contextlib.suppress(BrokenPipeError):
                    unzip.stdin.close()
                codes = (unzip.wait(), unpack.wait())
        if not ending.get("complete"):
            free = shutil.disk_usage(self.work).free
            raise TornError(
                f"the copy is incomplete: {ending.get('error')}; output of the unpacking:"
                f" {tail(log_path) or 'none'}; {free // MIB} MiB are free"
            )
        if codes != (0, 0):
            raise SeedError(
                f"unpacking failed (zstd {codes[0]}, mbstream {codes[1]}): {tail(log_path)}"
            )

    def pump(self, source: IO[bytes], target: IO[bytes]) -> dict[str, Any]:
        """Pass the frames to the unpacker; returns the source's last line."""
        total, mark, mark_total = 0, time.monotonic(), 0
        while True:
            (length,) = FRAME.unpack(read_exactly(source, FRAME.size))
            if length == 0:
                return read_line(source)
            target.write(read_exactly(source, length))
            total += length
            now = time.monotonic()
            if now - mark >= 1:
                rate = (total - mark_total) / (now - mark)
                self.state.figures(bytes=total, rate=rate, stored=self.stored())
                mark, mark_total = now, total

    def stored(self) -> int:
        """Bytes in the staging folder, measured like the expected size."""
        total = 0
        for inside, _, files in os.walk(self.staged):
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    total += os.stat(Path(inside, name)).st_blocks * 512
        return total

    def prepare(self) -> None:
        """Apply the log to the copy, note its position, and write it to disk for good."""
        self.state.enter("prepare", stored=self.stored())
        log_path = folder("state") / "seed-prepare.log"
        with log_path.open("wb") as log:
            code = subprocess.run(
                [
                    "mariadb-backup",
                    "--prepare",
                    f"--target-dir={self.staged}",
                    f"--use-memory={self.arguments.memory}M",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                **AS_SERVER,
            ).returncode
        if code != 0 or not tail(log_path, 1).endswith("completed OK!"):
            raise SeedError(f"preparing the copy failed (exit {code}): {tail(log_path)}")
        gtid = gtid_of(self.staged)
        for entry in self.staged.iterdir():
            if (
                entry.name.startswith(("xtrabackup_", "mariadb_backup_"))
                or entry.name == "backup-my.cnf"
            ):
                entry.unlink()
        for entry in self.datadir.iterdir():
            if entry.name.startswith(KEPT) and entry.is_file():
                copy_with_owner(str(entry), str(self.staged / entry.name))
        subprocess.run(["chown", "-R", "mysql:mysql", str(self.staged)], check=True)
        subprocess.run(["sync", "-f", str(self.staged)], check=True)
        old = self.work / time.strftime("replaced-%Y%m%d-%H%M%S")
        self.state.enter("prepared", gtid=gtid, old=str(old))

    def swap(self) -> None:
        """Stop the server, move its data aside and the copy in. The fence keeps it stopped."""
        phase = self.state.data["phase"]
        if phase == "start":
            return
        stop = ["systemctl", "stop", "mariadb"]
        # Before the fence, so that a server that cannot be stopped is not kept from starting later;
        # and after it, because it may have been started in between.
        subprocess.run(stop, check=True)
        fence().write_text("a seed is being moved into place; the seed removes this\n")
        sync_folder(folder("state"))
        subprocess.run(stop, check=True)
        old = Path(self.state.data["old"])
        if phase in ("prepared", "swap_out"):
            self.state.enter("swap_out")
            old.mkdir(mode=0o700, exist_ok=True)
            move_all(self.datadir, old, self.work)
        self.state.enter("swap_in")
        move_all(self.staged, self.datadir, self.work)
        subprocess.run(["sync", "-f", str(self.datadir)], check=True)
        self.state.enter("start")

    def start(self) -> None:
        """Start the server on the copy."""
        fence().unlink(missing_ok=True)
        sync_folder(folder("state"))
        done = subprocess.run(
            ["systemctl", "start", "mariadb"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            log = subprocess.run(
                ["journalctl", "-u", "mariadb", "-n", "10", "--no-pager", "-o", "cat"],
                capture_output=True,
                text=True,
                check=False,
            ).stdout
            raise SeedError(
                f"the server does not start on the copy: {done.stderr.strip()} {log.strip()};"
                f" the old data is in {self.state.data['old']}"
            )
        empty(self.staged)
        self.state.enter("seeded", finished=time.time())


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line: addresses and names, nothing secret."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source",
        required=True,
        action="append",
        help="name=address of a server that may send the copy; the primary last",
    )
    parser.add_argument("--port", type=int, default=22, help="their ssh port")
    parser.add_argument("--user", required=True, help="unix account that sends copies")
    parser.add_argument("--fleet", required=True, help="fleet_id")
    parser.add_argument("--datadir", required=True, help="where the server keeps its data")
    parser.add_argument("--memory", type=int, default=128, help="MiB for applying the log")
    parser.add_argument("--keep-old", action="store_true", help="the replaced data is not removed")
    parser.add_argument("--anew", action="store_true", help="give up a seed that cannot finish")
    return parser.parse_args(arguments)


def begin(arguments: argparse.Namespace, state: State) -> None:
    """Begin with a clean state, or go on with what is there.

    With --keep-old the replaced data is kept, also where a seed goes on that began without it.
    """
    keep_old = arguments.keep_old or bool(state.data.get("keep_old"))
    if arguments.anew or state.data.get("phase") not in FORWARD:
        state.data = {"fleet_id": arguments.fleet}
    state.data["keep_old"] = keep_old


def main() -> int:
    """Run one seed; the caller finds the result in the state file."""
    arguments = parse(sys.argv[1:])
    lock = (folder("state") / "mariadb-seed.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("benchfleet: a seed is running already", file=sys.stderr)
        return 0
    state = State(folder("state") / "mariadb-seed.json")
    begin(arguments, state)
    try:
        Seed(arguments, state).run()
    except (SeedError, OSError, subprocess.SubprocessError) as error:
        state.data["failed"] = str(error)
        state.write()
        print(f"benchfleet: seed failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
