"""Stops a run of Ansible with all its processes, at Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# In the environment of each process of a run: Ansible's workers have sessions of their own, so no
# process group holds them all.
MARK = "BENCHFLEET_RUN_FOLDER"
# Seconds that the processes get after each signal. SIGINT goes to Ansible alone, which ends its
# workers; the others go to all that still run.
STEPS = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
LOOK_SECONDS = 0.1


def processes(mark: str) -> list[int]:
    """Return the processes of the run that is marked so, oldest first.

    Masters of shared SSH connections are left out: they belong to all runs, and end by themselves.
    """
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # Gone by now, or another account's.
        with suppress(OSError):
            marked = wanted in (folder / "environ").read_bytes().split(b"\0")
            if marked and b"[mux]" not in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def send(number: int, pids: list[int]) -> None:
    """Send a signal to processes that may be gone."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Stop:
    """Whether a run was asked to stop, and what is done about it.

    mark: that of the run's processes. shared: Ansible runs on our terminal, which sends it Ctrl-C,
    too. asked: a signal came. given_up: the run was stopped as well as it can be from here.
    """

    def __init__(self, mark: str, *, shared: bool) -> None:
        self.mark = mark
        # A second SIGINT would end Ansible before its workers.
        self.told = False
        self.shared = shared
        self.asked = False
        self.hurry = threading.Event()
        self.given_up = threading.Event()
        self.thread = threading.Thread(target=self.end, daemon=True)

    def signalled(self, number: int, _frame: Any) -> None:
        """Take a signal: the first begins to stop the run, each further one skips a wait."""
        if self.asked:
            self.hurry.set()
            return
        self.asked = True
        self.told = self.shared and number == signal.SIGINT
        self.thread.start()

    def end(self) -> None:
        """End the run's processes, step by step."""
        for number, patience in STEPS:
            pids = processes(self.mark)
            if not pids:
                break
            if number == signal.SIGINT:
                pids = [] if self.told else pids[:1]
            send(number, pids)
            deadline = time.monotonic() + patience
            while processes(self.mark) and time.monotonic() < deadline:
                if self.hurry.wait(LOOK_SECONDS):
                    self.hurry.clear()
                    break
        self.given_up.set()


@contextmanager
def stoppable(mark: str, *, shared: bool = False) -> Iterator[Stop]:
    """Have SIGINT and SIGTERM stop the run of the block; afterwards none of it runs.

    mark, shared: see Stop.
    """
    stop = Stop(mark, shared=shared)
    former = {
        number: signal.signal(number, stop.signalled) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        if stop.asked:
            stop.thread.join()
            # What Ansible had begun and no longer waited for.
            send(signal.SIGKILL, processes(mark))
        for number, handler in former.items():
            signal.signal(number, handler)
