"""The service that fetches a single file when a process opens it before it has been copied.

It is asked on its socket for ``SITE/private/files/a.pdf`` and answers ``here``, ``missing`` (the
primary has none, or this host may not have it) or ``away`` (the primary does not answer). It keeps
a connection to the primary. A file gets its name once it is complete, and never replaces another
one.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import benchfleet_sync
from benchfleet_sync.line import AwayError, EndedError, Line
from benchfleet_sync.locks import is_touched
from benchfleet_sync.names import CHUNK, FOLDERS, STAGING, RefusedError, place_of
from benchfleet_sync.primary import SyncError
from benchfleet_sync.settings import ConfigError, Settings
from benchfleet_sync.sites import read_list

FETCHED = "fetched-"
# Seconds within which a process gets its answer, a little less than it waits; for which it is
# remembered that the primary has no such file; and between two attempts to reach the primary.
ANSWER_SECONDS = 1.9
LACKING_SECONDS = 2.0
REACH_SECONDS = 1.0
# Seconds between two checks whether the service has been replaced.
CHANGED_SECONDS = 5.0
# Links that are followed one after the other for one file.
MOST_LINKS = 8


class Fetcher:
    """Fetches single files, each only once at a time, over connections that stay open."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.guard = threading.Lock()
        self.lines: list[Line] = []
        # Whether the primary cannot be reached: then only reach() tries.
        self.away = False
        # {file: (lock of the thread that fetches it, number of threads that hold it or wait)}
        self.turns: dict[str, tuple[threading.Lock, int]] = {}
        # {file: until when it is remembered that the primary lacks it}
        self.lacking: dict[str, float] = {}

    def serve(self, peer: socket.socket) -> None:
        """Answer one process in time; a large file is still being fetched then."""
        with contextlib.suppress(OSError), peer:
            peer.settimeout(ANSWER_SECONDS)
            wanted = b""
            while chunk := peer.recv(CHUNK):
                wanted += chunk
            answers: list[str] = []
            work = threading.Thread(
                target=lambda: answers.append(self.fetch(os.fsdecode(wanted))), daemon=True
            )
            work.start()
            work.join(ANSWER_SECONDS)
            peer.sendall((answers or ["away"])[0].encode())

    def fetch(self, wanted: str) -> str:
        """Fetch a file; returns ``here``, ``missing`` or ``away``."""
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            with self.turn(wanted, deadline):
                return "here" if self.bring(wanted, deadline) else "missing"
        except (RefusedError, ValueError):
            return "missing"
        except AwayError:
            return "away"
        except (SyncError, OSError) as error:
            print(f"{wanted!r} could not be fetched: {error}", file=sys.stderr)
            return "missing"

    @contextlib.contextmanager
    def turn(self, wanted: str, deadline: float) -> Iterator[None]:
        """Be the only thread that fetches a file. Raises AwayError when the wait is too long."""
        with self.guard:
            lock, count = self.turns.get(wanted, (threading.Lock(), 0))
            self.turns[wanted] = lock, count + 1
        got = lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        try:
            if not got:
                raise AwayError("another thread is still fetching it")
            yield
        finally:
            if got:
                lock.release()
            with self.guard:
                lock, count = self.turns.pop(wanted)
                if count > 1:
                    self.turns[wanted] = lock, count - 1

    def bring(self, wanted: str, deadline: float) -> bool:
        """Fetch a file; returns whether it is here now."""
        site, _, name = wanted.partition("/")
        place_of(name)
        if site not in read_list(self.settings.list):
            return False
        home = self.settings.folder / site
        for _ in range(MOST_LINKS):
            name = led_to(home, name)
            if os.path.lexists(home / name):
                return True
            if self.is_known_to_lack(f"{site}/{name}") or is_touched(self.settings, site, name):
                return False
            line, answer = self.ask(site, name, deadline)
            if "file" in answer:
                if self.take(line, home, name, *answer["file"]):
                    return True
            else:
                self.keep(line)
                if "link" in answer:
                    (home / name).parent.mkdir(parents=True, exist_ok=True)
                    with contextlib.suppress(FileExistsError):
                        (home / name).symlink_to(answer["link"])
                    continue
                if "lacks" in answer:
                    self.lacking[f"{site}/{name}"] = time.monotonic() + LACKING_SECONDS
                    return False
            # The file was being written.
            if time.monotonic() + 0.1 > deadline:
                return False
            time.sleep(0.05)
        return False

    def is_known_to_lack(self, wanted: str) -> bool:
        """Whether the primary answered within LACKING_SECONDS that it has no such file."""
        now = time.monotonic()
        with self.guard:
            self.lacking = {name: until for name, until in self.lacking.items() if until > now}
            return wanted in self.lacking

    def ask(self, site: str, name: str, deadline: float) -> tuple[Line, dict[str, Any]]:
        """Ask the primary for a file, on a connection of its own. Raises AwayError."""
        while True:
            with self.guard:
                kept = self.lines.pop() if self.lines else None
                if kept is None and self.away:
                    raise AwayError("the primary does not answer")
            try:
                line = kept or Line(self.settings, deadline)
            except AwayError as error:
                self.lose(error)
                raise
            try:
                return line, line.ask(site, name, deadline)
            except AwayError as error:
                line.close()
                # An idle connection may have been ended, as when the gate is replaced.
                if not (kept and isinstance(error, EndedError)):
                    self.lose(error)
                    raise

    def take(self, line: Line, home: Path, name: str, size: int, mtime: int) -> bool:
        """Receive a file and put it in place; returns whether it, or another one, is there."""
        target = home / name
        staging = home.joinpath(*name.split("/")[:2], STAGING)
        own = staging / f"{FETCHED}{threading.get_ident()}-{time.monotonic_ns()}"
        try:
            with contextlib.ExitStack() as when_it_fails:
                when_it_fails.callback(line.close)
                staging.mkdir(mode=0o700, exist_ok=True)
                with own.open("xb") as out:
                    whole = line.pour(size, out)
                    out.flush()
                    # The next copy must find nothing to do.
                    os.utime(out.fileno(), ns=(time.time_ns(), mtime))
                    os.fsync(out.fileno())
                when_it_fails.pop_all()
            self.keep(line)
            if whole and not is_touched(self.settings, home.name, name):
                target.parent.mkdir(parents=True, exist_ok=True)
                # Not a rename, so that a file that a process made here meanwhile stays.
                with contextlib.suppress(FileExistsError):
                    os.link(own, target)
        finally:
            own.unlink(missing_ok=True)
        return os.path.lexists(target)

    def keep(self, line: Line) -> None:
        """Keep one connection open for the next file."""
        with self.guard:
            spare = bool(self.lines) or self.away
            if not spare:
                self.lines.append(line)
        if spare:
            line.close()

    def lose(self, error: AwayError) -> None:
        """Stop asking the primary until it has been reached again."""
        with self.guard:
            lines, self.lines = self.lines, []
            already, self.away = self.away, True
        for line in lines:
            line.close()
        if not already:
            print(f"the primary is not asked for files until it answers: {error}", flush=True)
            threading.Thread(target=self.reach, daemon=True).start()

    def reach(self) -> None:
        """Try to connect until it succeeds."""
        while True:
            try:
                line = Line(self.settings, time.monotonic() + self.settings.connect_timeout)
                break
            except (AwayError, OSError):
                with self.guard:
                    self.away = True
                time.sleep(REACH_SECONDS)
        with self.guard:
            self.away = False
        self.keep(line)
        print("connected to the primary", flush=True)


def led_to(home: Path, name: str) -> str:
    """The name behind the links that are here. Raises RefusedError outside of the two folders."""
    real = os.path.realpath(home / name)
    for folder in FOLDERS:
        root = os.path.realpath(home / folder)
        if real.startswith(f"{root}/"):
            there = folder + real[len(root) :]
            place_of(there)
            return there
    raise RefusedError(f"{name!r} leads out of {' and '.join(FOLDERS)}")


def serve(settings: Settings) -> int:
    """Answer this host's processes on the socket that systemd has opened, until stopped."""
    if os.environ.get("LISTEN_FDS") != "1":
        raise ConfigError("`--serve` is run by systemd, with the socket of benchfleet-files.socket")
    for site in read_list(settings.list):
        for folder in FOLDERS:
            for left in (settings.folder / site / folder / STAGING).glob(f"{FETCHED}*"):
                left.unlink(missing_ok=True)
    fetcher = Fetcher(settings)
    threading.Thread(target=fetcher.reach, daemon=True).start()
    _, began = versions(settings)
    # Systemd passes it on. Callers wait in its queue until the next service accepts them.
    with socket.socket(fileno=3) as listener:
        while versions(settings) == (benchfleet_sync.BEGAN, began) or fetcher.turns:
            if select.select([listener], [], [], CHANGED_SECONDS)[0]:
                peer, _ = listener.accept()
                threading.Thread(target=fetcher.serve, args=(peer,), daemon=True).start()
    print("the service restarts: its program or its configuration has changed", flush=True)
    return 0


def versions(settings: Settings) -> tuple[object, object]:
    """Values that change when this package or its settings change."""
    state = settings.path.stat()
    return benchfleet_sync.version(), (state.st_ino, state.st_mtime_ns)
