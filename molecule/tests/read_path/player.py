"""Plays failures of the read path against calls of every kind, on a running lab.

The answer to each call, its seconds and where it came from: a table in Markdown, and JSON.
Other reporting nodes are drained meanwhile.
Run as root from the repository:
    .venv/bin/python molecule/tests/read_path/player.py --lab NAME [--json FILE] [FAILURE ...]
A failure is always undone, also when SIGTERM or Ctrl-C ends the player.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from calls import KINDS, Somebody, Taken
from failures import FAILURES, Failure, Field, Strike, nothing
from nodes import wait_until

from benchfleet.lab import state, summary
from benchfleet.shell import FleetError, say

ROUTED = [name for name, kind in KINDS.items() if kind.routed]
LATER = 3
# Seconds that the first call after a failure may take. The guard and the router give up a silent
# server after 1.5 s at most; without them a call waits until its caller gives up.
FIRST_SECONDS = 8
BACK_SECONDS = 90
NORMAL = Failure("none", nothing)


@dataclass
class Cell:
    """The answers to one kind of call during one failure.

    first: the call right after the failure began; None where another kind was first.
    """

    failure: str
    call: str
    first: Taken | None
    later: list[Taken]

    @property
    def taken(self) -> list[Taken]:
        """All calls, in their order."""
        return [*([self.first] if self.first else []), *self.later]

    @property
    def later_seconds(self) -> float:
        """The median of the calls after the first."""
        return statistics.median(taken.seconds for taken in self.later)

    @property
    def fastest(self) -> float:
        """The seconds of the fastest of them."""
        return min(taken.seconds for taken in self.later)


@dataclass
class Played:
    """One failure as it was played: its cells, and the seconds until calls were normal again."""

    failure: str
    cells: dict[str, Cell]
    back: float | None


@dataclass
class Player:
    """A user who makes calls, and a lab in which things fail."""

    field: Field
    somebody: Somebody
    normal: Played | None = None

    def learn(self) -> Played:
        """Make every kind of call while nothing fails, to learn what is normal."""
        for name in KINDS:
            KINDS[name].make(self.somebody)
        self.normal = self.once("none", NORMAL, list(KINDS), 5)
        return self.normal

    def place(self, kind: str) -> tuple[str, str]:
        """The bench and database that answer a kind of call while nothing fails."""
        assert self.normal is not None
        return self.normal.cells[kind].later[-1].place

    def is_normal(self, kind: str) -> bool:
        """Whether a call of that kind is answered as usual, by the same bench and database."""
        taken = KINDS[kind].make(self.somebody)
        return taken.ok and taken.place == self.place(kind)

    def once(self, key: str, failure: Failure, order: Sequence[str], later: int) -> Played:
        """Begin a failure, make all calls `1 + later` times, undo it, wait for normal calls.

        The document that the routed calls look for is saved after the failure began. Only where the
        replica is to die during the first call is it saved before.
        """
        taken: dict[str, list[Taken]] = {kind: [] for kind in order}
        first = next(kind for kind in order if KINDS[kind].routed)
        with failure.play(self.field) as strike:
            if strike:
                taken[first].append(struck(strike, lambda: KINDS[first].make(self.somebody)))
            for number in range(1 + later):
                for kind in order:
                    if not (strike and number == 0 and kind == first):
                        taken[kind].append(KINDS[kind].make(self.somebody))
        back = self.wait(key) if self.normal else None
        meets = {first, *(kind for kind in order if not KINDS[kind].routed)}
        cells = {
            kind: Cell(
                key,
                kind,
                found[0] if kind in meets else None,
                found[1:] if kind in meets else found,
            )
            for kind, found in taken.items()
        }
        return Played(key, cells, back)

    def wait(self, key: str) -> float | None:
        """Seconds until every routed call is normal again; None where that takes too long."""
        begun = time.monotonic()
        try:
            for kind in ROUTED:
                left = BACK_SECONDS - (time.monotonic() - begun)
                wait_until(
                    f"after {key}, {kind} as ever", lambda kind=kind: self.is_normal(kind), left
                )
        except TimeoutError as error:
            say(str(error))
            return None
        back = time.monotonic() - begun
        # The next failure must begin on a whole fleet; the time for this is not measured.
        wait_until(f"after {key}, the replica follows", self.field.replica_follows)
        return back

    def play(self, key: str, *, anew: bool = False, first: str = ROUTED[0]) -> Played:
        """Play one failure; with `anew`, once for each kind of routed call as the first."""
        others = [kind for kind in KINDS if not KINDS[kind].routed]
        plays = []
        for kind in ROUTED if anew else [first]:
            rest = [] if anew else [name for name in ROUTED if name != kind]
            order = ["save", kind, *rest, *(name for name in others if name != "save")]
            plays.append(self.once(key, FAILURES[key], order, LATER))
        cells = {name: cell for played in reversed(plays) for name, cell in played.cells.items()}
        backs = [played.back for played in plays]
        back = None if None in backs else max(filter(None, backs), default=0.0)
        return Played(key, {kind: cells[kind] for kind in KINDS}, back)


def struck(strike: Strike, call: Any) -> Taken:
    """Make a call while `strike` waits for it; raises what the strike raises."""
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            strike()
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        taken = call()
    finally:
        thread.join()
    if trouble:
        raise trouble[0]
    return taken


def place_words(taken: Taken) -> str:
    """Who answered: `rep1`, or `rep1 > erp1 (lost)` where the database is another node's."""
    database, _, reason = taken.database.partition("; reason=")
    words = taken.bench or "nobody"
    if database and database != taken.bench:
        words += f" > {database}"
    return words + (f" ({reason})" if reason else "")


def verdict_words(calls: Iterable[Taken]) -> str:
    """What was wrong: `500`, `no answer`, `stale`."""
    found = []
    for taken in calls:
        word = str(taken.status) if taken.status else "no answer"
        if not taken.ok and word not in found:
            found.append(word)
        if taken.fresh is False and "stale" not in found:
            found.append("stale")
    return ", ".join(found)


def cell_words(cell: Cell) -> str:
    """One cell of the table."""
    times = f"{cell.later_seconds:.2f}"
    if cell.first:
        times = f"{cell.first.seconds:.2f}, {times}"
    trouble = verdict_words(cell.taken)
    places = []
    for taken in cell.taken:
        if (words := place_words(taken)) not in places:
            places.append(words)
    return f"{'**' + trouble + '** ' if trouble else ''}{times} {' then '.join(places)}"


def markdown(played: Sequence[Played]) -> list[str]:
    """The table, one line a failure."""
    titles = [kind.title for kind in KINDS.values()]
    lines = [
        "| failure | " + " | ".join(titles) + " | back after |",
        "|---" * (len(titles) + 2) + "|",
    ]
    for one in played:
        title = FAILURES[one.failure].title if one.failure in FAILURES else "none"
        back = "" if one.failure == "none" else "never" if one.back is None else f"{one.back:.1f} s"
        cells = " | ".join(cell_words(one.cells[kind]) for kind in KINDS)
        lines.append(f"| {title} | {cells} | {back} |")
    return lines


def ended(*_: Any) -> None:
    """On SIGTERM, leave through every `finally`."""
    raise SystemExit(143)


def password_of(lab: state.Lab, site: str, file: Path | None) -> str:
    """The password from a file, or the lab's own secrets."""
    if file:
        return file.read_text().strip()
    import yaml

    return yaml.safe_load(summary.secrets_file(lab).read_text())["sites"][site]["admin_password"]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--lab", default=state.name_from_environment(), help="(BENCHFLEET_LAB)")
    found.add_argument("--node", default="rep1", help="the reporting node that is hit (rep1)")
    found.add_argument("--router", help="address that is called (the primary's)")
    found.add_argument("--site", default=state.SITE)
    found.add_argument("--user", default="Administrator")
    found.add_argument("--password-file", type=Path, help="else the lab's own secrets")
    found.add_argument("--bench", default="/home/frappe/frappe-bench", help="the benches' folder")
    found.add_argument("--timeout", type=float, default=20, help="seconds a caller waits (20)")
    found.add_argument("--anew", action="store_true", help="begin anew for each routed kind")
    found.add_argument("--json", type=Path, metavar="FILE")
    found.add_argument("failures", nargs="*", metavar="FAILURE", help=", ".join(FAILURES))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the chosen failures; returns 0 once all were played, whatever calls got."""
    given = parser().parse_args(arguments)
    if unknown := [name for name in given.failures if name not in FAILURES]:
        raise FleetError(f"no such failure: {', '.join(unknown)}; there is {', '.join(FAILURES)}")
    signal.signal(signal.SIGTERM, ended)
    lab = state.load(given.lab)
    if lab is None:
        raise FleetError(f"there is no lab {given.lab!r} (--lab)")
    password = password_of(lab, given.site, given.password_file)
    router = given.router or lab.hosts[0].ip
    somebody = Somebody(router, given.site, given.user, password, given.timeout)
    player = Player(Field(lab, given.node, given.site, given.bench), somebody)
    played = []
    try:
        with player.field.alone():
            played.append(player.learn())
            for key in given.failures or FAILURES:
                say(FAILURES[key].title)
                played.append(player.play(key, anew=given.anew))
    finally:
        for line in markdown(played):
            print(line, flush=True)
        if given.json:
            given.json.write_text(json.dumps([asdict(one) for one in played], indent=1) + "\n")
        with contextlib.suppress(OSError):
            somebody.tidy()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FleetError as error:
        say(f"error: {error}")
        sys.exit(1)
