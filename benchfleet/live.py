"""The live view of a run: hosts and stages, what runs now, and how long it will take.

A stage is an entry of the playbook: a play, or the playbook that it imports.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import yaml

from benchfleet.shell import clock
from benchfleet.timing import Last

COLOURS = {"FAIL": "31", "DOWN": "31", "run": "36", "ok": "32", "ok+": "33"}
# The block never takes more lines than the screen has, and leaves room for lines above it.
LINES_LEFT = 6
NARROWEST = 40


@dataclass(frozen=True)
class Stage:
    """A column: its name, and the names of its plays in order."""

    name: str
    plays: tuple[str, ...]


def play_names(file: Path) -> list[str]:
    """Return the names of a playbook's plays, with those of the playbooks that it imports."""
    found: list[str] = []
    for entry in yaml.safe_load(file.read_text()) or []:
        imported = entry.get("ansible.builtin.import_playbook") or entry.get("import_playbook")
        if imported:
            found += play_names(file.parent / imported)
        else:
            found.append(str(entry.get("name") or entry.get("hosts")))
    return found


def stages(file: Path) -> list[Stage]:
    """Return the stages of a playbook; none where it cannot be read without Ansible."""
    found = []
    try:
        for entry in yaml.safe_load(file.read_text()) or []:
            imported = entry.get("ansible.builtin.import_playbook") or entry.get("import_playbook")
            if imported:
                plays = play_names(file.parent / imported)
                found.append(Stage(Path(imported).stem, tuple(plays)))
            else:
                name = str(entry.get("name") or entry.get("hosts"))
                found.append(Stage(name, (name,)))
    except (OSError, AttributeError, yaml.YAMLError):
        return []
    return found


@dataclass
class Cell:
    """What a stage did on a host."""

    changed: int = 0
    failed: bool = False
    unreachable: bool = False


@dataclass
class Board:
    """A run as rows of text, from its events. now: the clock, in seconds."""

    title: str
    stages: Sequence[Stage]
    last: Last = field(default_factory=Last)
    now: Callable[[], float] = time.monotonic
    current: int = -1
    play: str = ""
    task: str = ""

    def __post_init__(self) -> None:
        self.began = self.play_began = self.task_began = self.now()
        self.flat = [(n, name) for n, stage in enumerate(self.stages) for name in stage.plays]
        self.position = -1
        self.cells: dict[tuple[str, int], Cell] = {}
        self.running: list[str] = []
        self.play_seconds: dict[str, float] = {}

    def event(self, event: Mapping[str, Any]) -> None:
        """Take in one event of ansible-runner."""
        kind, data = event.get("event"), event.get("event_data") or {}
        host = data.get("host")
        if kind == "playbook_on_play_start":
            self.start_play(str(data.get("name") or data.get("play") or ""))
        elif kind == "playbook_on_task_start":
            self.task = str(data.get("task") or data.get("name") or "")
            self.task_began, self.running = self.now(), []
        elif kind == "playbook_on_stats":
            self.end_play()
            self.running, self.current = [], len(self.stages)
        elif kind == "runner_on_start" and host:
            self.cells.setdefault((host, self.current), Cell())
            self.running.append(host)
        elif kind in (
            "runner_on_ok",
            "runner_on_skipped",
            "runner_on_failed",
            "runner_on_unreachable",
        ):
            self.end_task(str(kind), str(host), data)

    def start_play(self, name: str) -> None:
        """Begin a play: the next of this name, else one of the present stage."""
        self.end_play()
        self.play, self.play_began = name, self.now()
        for position in range(max(self.position, 0), len(self.flat)):
            if self.flat[position][1] == name:
                self.position, self.current = position, self.flat[position][0]
                return

    def end_play(self) -> None:
        """Add the time of the play that ends; batches of one play are one."""
        if self.play:
            before = self.play_seconds.get(self.play, 0.0)
            self.play_seconds[self.play] = before + self.now() - self.play_began

    def end_task(self, kind: str, host: str, data: Mapping[str, Any]) -> None:
        """Note a host's result of a task."""
        if host in self.running:
            self.running.remove(host)
        cell = self.cells.setdefault((host, self.current), Cell())
        if kind == "runner_on_ok" and (data.get("res") or {}).get("changed"):
            cell.changed += 1
        cell.failed |= kind == "runner_on_failed" and not data.get("ignore_errors")
        cell.unreachable |= kind == "runner_on_unreachable"

    def hosts(self) -> list[str]:
        """Return the hosts that took part, in the order in which they appeared."""
        return list(dict.fromkeys(host for host, _ in self.cells if host != "localhost"))

    def mark(self, host: str, stage: int) -> str:
        """Return the text of a cell."""
        cell = self.cells.get((host, stage))
        if cell and cell.failed:
            return "FAIL"
        if cell and cell.unreachable:
            return "DOWN"
        if stage == self.current and host in self.running:
            return "run"
        if cell:
            return f"ok+{cell.changed}" if cell.changed else "ok"
        return "." if stage >= self.current and not self.lost(host) else "-"

    def lost(self, host: str) -> bool:
        """Return whether a host failed, and takes no further part."""
        return any(
            name == host and (cell.failed or cell.unreachable)
            for (name, _), cell in self.cells.items()
        )

    def head(self, width: int) -> str:
        """Return the line with the stage, the time so far and the time expected."""
        elapsed = self.now() - self.began
        later = [name for _, name in self.flat[self.position + 1 :]]
        played = self.play_began - self.began
        expected = self.last.expected(self.play, played, elapsed, later)
        time_text = clock(elapsed)
        if expected is not None:
            time_text += f" of about {clock(expected)}"
        where = ""
        if 0 <= self.current < len(self.stages):
            name = self.stages[self.current].name
            where = f": {name} ({self.current + 1} of {len(self.stages)})"
        return spread(f"{self.title}{where}", time_text, width)

    def doing(self) -> str:
        """Return the line about what runs now."""
        if not self.running:
            return ""
        names = " ".join(self.running[:3])
        more = f" and {len(self.running) - 3} more" if len(self.running) > 3 else ""
        return f"{clock(self.now() - self.task_began)}  {names}{more}  {self.task}"

    def rows(self, width: int, height: int) -> list[list[str]]:
        """Return the block as lines, each a list of parts; together no wider than `width`."""
        hosts = self.hosts()
        room = max(height - LINES_LEFT, 1)
        folded: list[str] = []
        if len(hosts) > room:
            first = sorted(hosts, key=lambda host: (not self.lost(host), host not in self.running))
            shown = set(first[: room - 1])
            folded = [host for host in hosts if host not in shown]
            hosts = [host for host in hosts if host in shown]
        lines = [[self.head(width)]]
        if hosts and self.stages:
            lines += self.grid(hosts, width)
        if folded:
            lines.append([cut(f"and {len(folded)} more: {self.counts(folded)}", width)])
        lines.append([cut(self.doing(), width)])
        return lines

    def counts(self, hosts: Sequence[str]) -> str:
        """Return how hosts are, in numbers."""
        lost = sum(self.lost(host) for host in hosts)
        running = sum(host in self.running and not self.lost(host) for host in hosts)
        rest = len(hosts) - lost - running
        named = ((lost, "failed"), (running, "running"), (rest, "without a task now"))
        return ", ".join(f"{number} {what}" for number, what in named if number)

    def grid(self, hosts: Sequence[str], width: int) -> list[list[str]]:
        """Return the table of hosts and stages; stages that are over leave where room is short."""
        name_width = min(max(len(host) for host in [*hosts, "HOST"]), width // 3)
        columns = fitting(self.stages, self.current, width - name_width)
        widths = shrunk([len(self.stages[n].name) for n in columns], width - name_width)
        head = ["HOST".ljust(name_width)]
        head += [
            f" {cut(self.stages[n].name, w).ljust(w)}" for n, w in zip(columns, widths, strict=True)
        ]
        rows = []
        for host in hosts:
            marks = [self.mark(host, n) for n in columns]
            row = [cut(host, name_width).ljust(name_width)]
            rows.append(row + [f" {m.ljust(w)}" for m, w in zip(marks, widths, strict=True)])
        return [head, *rows]


# The least width of a column: "ok+12".
COLUMN = 5


def fitting(found: Sequence[Stage], current: int, width: int) -> list[int]:
    """Return which stages have room: all, else those around the present one."""
    number = max(width // (COLUMN + 1), 1)
    first = max(min(current - number // 2, len(found) - number), 0)
    return list(range(len(found)))[first : first + number]


def shrunk(lengths: Sequence[int], width: int) -> list[int]:
    """Return widths for columns of these lengths, the longest made shorter until all fit."""
    widths = [max(length, COLUMN) for length in lengths]
    while sum(widths) + len(widths) > width and max(widths) > COLUMN:
        widths[widths.index(max(widths))] -= 1
    return widths


def cut(text: str, width: int) -> str:
    """Return a text on one line, cut where it is longer than `width`."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}~"


def spread(left: str, right: str, width: int) -> str:
    """Return two texts at both ends of a line."""
    room = max(width - len(right) - 2, 0)
    return cut(f"{cut(left, room).ljust(room)}  {right}", width)


def coloured(part: str) -> str:
    """Return a part of a line in its colour; its text says the same."""
    mark = part.strip()
    code = COLOURS.get("ok+" if mark.startswith("ok+") else mark)
    return part.replace(mark, f"\x1b[{code}m{mark}\x1b[0m") if code else part


def wanted(stream: TextIO) -> bool:
    """Return whether a live view can be drawn on a stream."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """Draws a board on a terminal and keeps it up to date; other lines scroll above it."""

    def __init__(self, board: Board, stream: TextIO = sys.stderr) -> None:
        self.board = board
        self.stream = stream
        self.colours = not os.environ.get("NO_COLOR")
        self.drawn: list[int] = []
        self.lock = threading.Lock()

    def size(self) -> tuple[int, int]:
        """Return the terminal's columns and lines, less the column at which lines wrap."""
        try:
            columns, lines = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            columns, lines = shutil.get_terminal_size()
        return max(columns - 1, NARROWEST), max(lines, 1)

    def erased(self, width: int) -> str:
        """Return what takes the block off the screen, also where a narrower window wrapped it."""
        lines = sum(max(-(-length // (width + 1)), 1) for length in self.drawn)
        return f"\r\x1b[{lines}A\x1b[J" if lines else ""

    def update(self, *lines: str) -> None:
        """Draw the board as it is now, with these lines above it."""
        with self.lock:
            width, height = self.size()
            rows = self.board.rows(width, height)
            above = "".join(f"{cut(line, width)}\n" for line in lines)
            texts = ["".join(map(coloured, row) if self.colours else row).rstrip() for row in rows]
            self.stream.write(self.erased(width) + above + "".join(f"{t}\n" for t in texts))
            self.stream.flush()
            self.drawn = [len("".join(row).rstrip()) for row in rows]

    def clear(self) -> None:
        """Take the block off the screen."""
        with self.lock:
            self.stream.write(self.erased(self.size()[0]))
            self.stream.flush()
            self.drawn = []
