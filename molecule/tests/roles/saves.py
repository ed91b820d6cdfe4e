"""Users who save through the fleet's routers, and what became of each save: a row of a table."""

from __future__ import annotations

import os
import shlex
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPException

from calls import Somebody, Taken
from fleet.http import Visitor
from nodes import Node, wait_until

# Each saves once a second, or as soon as the call before is answered.
USERS = 20
SIGN_IN_SECONDS = 60
# What a router or a bench answers to a call that it refused before anything was done.
REFUSED = (401, 403, 503)
SIGNED_OUT = (401, 403)
# Limits of time are for a machine with so many processes for each processor, or fewer.
BUSY = 4
COLUMNS = (
    *("what happened", "saves", "lost", "twice", "unknown (of them done)", "errors"),
    *("longest call", "first save after the command"),
)


@dataclass(frozen=True)
class Save:
    """A save: its text, which no other has, when it began (seconds since 1970), and its answer."""

    text: str
    begun: float
    taken: Taken


def slowness() -> float:
    """By what limits are multiplied: 1, more while others keep this machine's processors busy.

    All hosts and the controller share them: a switchover with nothing beside takes 5 s, and took
    20 s beside ten processes for each processor.
    """
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / BUSY)


def first_after(saves: Iterable[Save], since: float) -> float | None:
    """Seconds from a moment to the answer of the first save that began later and was taken."""
    ends = [s.begun + s.taken.seconds for s in saves if s.begun > since and s.taken.ok]
    return min(ends) - since if ends else None


@dataclass
class Savers:
    """Twenty users who save while the block runs.

    sign_in: signs a user in at an address. addresses: of the routers that they use, in turn; they
    sign in at the first.
    """

    sign_in: Callable[[str], Somebody]
    addresses: list[str]
    saves: list[Save] = field(default_factory=list)
    mark: str = field(default_factory=lambda: f"roles-{uuid.uuid4().hex[:8]}")

    def __enter__(self) -> Savers:
        self.somebody = wait_until("a user can sign in", self._signed_in, SIGN_IN_SECONDS)
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(USERS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _signed_in(self) -> Somebody | None:
        """A user, None while none can sign in: a host that has just booted starts its bench."""
        try:
            return self.sign_in(self.addresses[0])
        except (OSError, HTTPException, AssertionError):
            return None

    def _work(self, number: int) -> None:
        due = time.monotonic() + number / USERS
        count = 0
        while not self.over.wait(max(0.0, due - time.monotonic())):
            count += 1
            self.save(f"{self.mark}-{number}-{count}", self.addresses[number % len(self.addresses)])
            due = max(due + 1, time.monotonic())

    def at(self, address: str) -> Visitor:
        """The user at another router, with the same session."""
        return self.somebody.visitor.at(address, self.somebody.port)

    def save(self, text: str, address: str) -> None:
        """Save one document."""
        begun = time.time()
        visitor, values = self.at(address), {"description": text}
        taken = self.somebody.timed(
            lambda: visitor.call("POST", "/api/resource/ToDo", values=values)
        )
        self.saves.append(Save(text, begun, taken))

    def wait(self, seconds: float = 60) -> None:
        """Wait until a save that begins now, or later, is taken. Raises TimeoutError."""
        since = time.time()
        taken = lambda: first_after(list(self.saves), since) is not None  # noqa: E731
        wait_until("a save is taken", taken, seconds)


@dataclass(frozen=True)
class Tally:
    """What became of saves.

    rows: {text: how often it is in the primary's database}. since: when the command began that they
    had to wait for, if that is of interest.
    """

    what: str
    saves: list[Save]
    rows: Counter[str]
    since: float | None = None

    @property
    def lost(self) -> list[Save]:
        """Acknowledged, and not there."""
        return [save for save in self.saves if save.taken.ok and not self.rows[save.text]]

    @property
    def twice(self) -> list[str]:
        """Texts that are there more than once."""
        return [text for text, number in self.rows.items() if number > 1]

    @property
    def errors(self) -> list[Save]:
        """Saves that failed, as the user sees it."""
        return [save for save in self.saves if not save.taken.ok]

    @property
    def unknown(self) -> list[Save]:
        """Errors that do not say whether the save was done."""
        return [save for save in self.errors if save.taken.status not in REFUSED]

    @property
    def signed_out(self) -> list[Save]:
        """Answers that ask the user to sign in."""
        return [save for save in self.saves if save.taken.status in SIGNED_OUT]

    @property
    def longest(self) -> float:
        """Seconds of the longest call, whatever its answer."""
        return max(save.taken.seconds for save in self.saves)

    @property
    def first(self) -> float | None:
        """Seconds from the command to the first save that was taken after it."""
        return first_after(self.saves, self.since) if self.since is not None else None

    def row(self) -> str:
        """A row of the table in docs/failures.md."""
        done = sum(1 for save in self.unknown if self.rows[save.text])
        first = "" if self.first is None else f"{self.first:.1f} s"
        cells = [self.what, len(self.saves), len(self.lost), len(self.twice)]
        cells += [f"{len(self.unknown)} ({done})", len(self.errors), f"{self.longest:.1f} s", first]
        return f"| {' | '.join(map(str, cells))} |"


def headed(tallies: list[Tally]) -> list[str]:
    """The table of tallies, in Markdown."""
    head = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    return [*head, *(tally.row() for tally in tallies)]


def tally(
    what: str, savers: Savers, primary: Node, database: str, since: float | None = None
) -> Tally:
    """Look for the saves in the primary's database, and delete them there."""
    table, which = f"`{database}`.tabToDo", f"WHERE description LIKE '{savers.mark}-%'"
    query = f"SELECT description, COUNT(*) FROM {table} {which} GROUP BY description"
    found = primary.run(f"mariadb -NBe {shlex.quote(query)}")
    rows = Counter({text: int(n) for text, n in (line.split("\t") for line in found.splitlines())})
    primary.sql(f"DELETE FROM {table} {which}")
    return Tally(what, list(savers.saves), rows, since)
