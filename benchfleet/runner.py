"""Runs a playbook and shows its progress, its failures and the results of some modules."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from benchfleet import live, passwords, stopping, timing
from benchfleet.passwords import Secrets
from benchfleet.shell import STARTED, FleetError, Interrupted, clock, number_of, say

ROOT = Path(__file__).resolve().parent.parent
# Ansible's own settings for a run.
VARIABLES = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    # ansible-runner adds its own folder, and what the configuration has no longer counts.
    "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "plugins/callback"),
    # Longer results would come without content: not even whether something was changed.
    "MAX_EVENT_RES": str(2**30),
    # ansible-runner turns it off by default.
    "ANSIBLE_HOST_KEY_CHECKING": "True",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_NOCOLOR": "True",
}
LAB_INVENTORY = ROOT / "inventory/lab"
LOGS_KEPT = 30
# In the folder of the logs.
TIMES = "times.json"
# The module whose results are messages and no table.
MESSAGES = "debug"
# A task that is over sooner needs no line of its own.
QUIET_SECONDS = 2.0
REMIND_SECONDS = 30.0


def log_folder() -> Path:
    """Return where full outputs are kept: root's in /var/log, others' in their home."""
    if os.geteuid() == 0:
        folder = Path("/var/log/benchfleet")
    else:
        folder = Path.home() / ".local/state/benchfleet/log"
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    return folder


def new_log(what: str) -> Path:
    """Return a new log's path; the oldest logs beyond LOGS_KEPT are deleted."""
    folder = log_folder()
    for old in sorted(folder.glob("*Z-*.log"))[:-LOGS_KEPT]:
        old.unlink(missing_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return folder / f"{stamp}-{what}-{os.getpid()}.log"


def names(hosts: list[str]) -> str:
    """Return host names for a line of progress; many are cut short."""
    shown = " ".join(hosts[:4])
    return shown if len(hosts) <= 4 else f"{shown} and {len(hosts) - 4} more"


def failure_text(event: dict[str, Any]) -> str:
    """Return a failed task as text: host, task, message, and the program's own output."""
    data = event.get("event_data", {})
    result = data.get("res") or {}
    lines = [f"{data.get('host')}: {data.get('task')} ({data.get('task_path', 'unknown place')})"]
    for item in result.get("results", []) or [result]:
        if len(result.get("results", [])) > 0 and not item.get("failed"):
            continue
        for name in (
            "msg",
            "reason",
            "censored",
            "stderr",
            "stdout",
            "module_stderr",
            "module_stdout",
        ):
            value = item.get(name)
            if value and str(value).strip():
                text = value if isinstance(value, str) else json.dumps(value, indent=2)
                text = text.strip()
                if name in ("msg", "reason", "censored"):
                    lines.append(text)
                else:
                    lines.append(f"{name}:\n{text}")
    return "\n".join(lines).replace("\n", "\n    ")


def change_of(data: dict[str, Any]) -> Change:
    """Return a task's result on a host, from the data of an event."""
    role, task = (str(data.get(name) or "") for name in ("role", "task"))
    action = str(data.get("task_action") or "").split(".")[-1]
    return Change(str(data.get("host")), role, task, action, data.get("res") or {})


@dataclass
class Task:
    """A task under way."""

    title: str
    number: int
    hosts: list[str] = field(default_factory=list)
    since: float = 0.0
    reported: float = 0.0


class Progress:
    """Turns a run's events into lines of progress, and keeps what is asked for afterwards.

    collect: module names whose results are kept in `results`. now: the clock, in seconds. show:
    prints a line. plain: whether plays and long tasks have lines, too, and not only changes and
    failures.
    """

    def __init__(
        self,
        collect: tuple[str, ...] = (),
        now: Any = time.monotonic,
        show: Any = say,
        *,
        plain: bool = True,
    ) -> None:
        self.collect = collect
        self.now = now
        self.show = show
        self.plain = plain
        self.count = 0
        self.current: Task | None = None
        self.failures: list[str] = []
        self.answers: list[Change] = []
        self.changes: list[Change] = []
        self.reads: dict[str, dict[str, list[str]]] = {}
        self.stats: dict[str, dict[str, int]] = {}
        self.lock = threading.Lock()

    def event(self, event: dict[str, Any]) -> None:
        """Take in one event of ansible-runner."""
        handler = getattr(self, f"_on_{event.get('event')}", None)
        if handler:
            with self.lock:
                handler(event, event.get("event_data", {}))

    def tick(self) -> None:
        """Report a task that takes long; called about once a second."""
        with self.lock:
            task = self.current
            if not task or not task.hosts:
                return
            now = self.now()
            running = now - task.since
            if not task.reported and running >= QUIET_SECONDS:
                self.show(f"{names(task.hosts)}  {task.title} … (task {task.number})")
                task.reported = now
            elif task.reported and now - task.reported >= REMIND_SECONDS:
                state = f"(task {task.number}, for {clock(running)})"
                self.show(f"{names(task.hosts)}  {task.title} … {state}")
                task.reported = now

    def _on_playbook_on_play_start(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        if self.plain:
            self.show(f"== {data.get('name') or data.get('play')}")

    def _on_playbook_on_task_start(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        self.count += 1
        # With its role before it: "bench : Command bench is in place".
        title = str(data.get("name") or data.get("task") or "").split(" : ", 1)[-1]
        self.current = Task(title, self.count)
        self.current.since = self.now()

    def _on_runner_on_start(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        if self.current and data.get("host") not in self.current.hosts:
            self.current.hosts.append(data["host"])

    def _finish(self, host: str | None) -> None:
        if self.current and host in self.current.hosts:
            self.current.hosts.remove(host)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of the modules whose results are wanted."""
        return [answer.result for answer in self.answers]

    def _on_runner_on_ok(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        change = change_of(data)
        result = change.result
        if result.get("reads"):
            self.reads.setdefault(change.host, {}).update(result["reads"])
        self._finish(data.get("host"))
        if change.action in self.collect:
            self.answers.append(change)
        if result.get("changed"):
            self.changes.append(change)
            took = data.get("duration") or 0
            text = f"changed, {took:.0f} s" if took >= 1 else "changed"
            self.show(f"{change.host}  {change.task} ({text})")

    def _on_runner_on_skipped(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        self._finish(data.get("host"))

    def _on_runner_on_failed(self, event: dict[str, Any], data: dict[str, Any]) -> None:
        self._finish(data.get("host"))
        if change_of(data).action in self.collect:
            # The caller shows a result that it collects, and better than as a failed task.
            self.answers.append(change_of(data))
        elif not data.get("ignore_errors"):
            self.failures.append(failure_text(event))
            self.show(f"{data.get('host')}  {data.get('task')} FAILED")

    def _on_runner_on_unreachable(self, event: dict[str, Any], data: dict[str, Any]) -> None:
        self._finish(data.get("host"))
        self.failures.append(failure_text(event))
        self.show(f"{data.get('host')}  UNREACHABLE")

    def _on_playbook_on_stats(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        self.current = None
        kinds = ("ok", "changed", "failures", "dark", "skipped")
        hosts = {host for kind in kinds for host in data.get(kind, {})}
        self.stats = {
            host: {kind: data.get(kind, {}).get(host, 0) for kind in kinds}
            for host in sorted(hosts)
        }


@dataclass(frozen=True)
class Change:
    """A task's result on a host: what it changed, or would change in check mode.

    role: "" outside of roles. action: the module's name without its collection.
    """

    host: str
    role: str
    task: str
    action: str
    result: dict[str, Any]


@dataclass
class Outcome:
    """How a playbook's run ended.

    results: of the modules that the caller asked for; answers: the same with host and task.
    changes: of all tasks, in order. failures: failed tasks as texts. reads: in check mode, host →
    service → files that it reads at its start. restarts: seconds of the last restart of each
    service in this fleet, as far as this controller knows. verbose: -v was given.
    """

    ok: bool
    seconds: float
    log: Path
    results: list[dict[str, Any]]
    stats: dict[str, dict[str, int]]
    changes: list[Change] = field(default_factory=list)
    answers: list[Change] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reads: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    restarts: dict[str, float] = field(default_factory=dict)
    verbose: bool = False


@contextmanager
def ticking(work: Callable[[], None]) -> Iterator[None]:
    """Have something done once a second for the time of the block."""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1.0):
            work()

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()


def known(playbook: str, inventory: Path) -> None:
    """Raise FleetError where there is no such playbook or inventory."""
    for path in (ROOT / playbook, inventory):
        if not path.exists():
            raise FleetError(f"{path} does not exist")


def title_of(playbook: str, arguments: Sequence[str]) -> str:
    """Return what a run is called on the screen: the verb that people type."""
    name = Path(playbook).stem
    checked = timing.in_check_mode(arguments)
    return ("plan" if checked else "apply") if name == "site" else name


def play(
    playbook: str,
    inventory: Path,
    *,
    collect: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    arguments: Sequence[str] = (),
    secrets: Secrets | None = None,
    besides: Path | None = None,
) -> Outcome:
    """Run a playbook of this project, with a live view on a terminal and plain lines elsewhere.

    playbook: its path from the project's root. inventory: a file or folder. collect: modules whose
    results the caller wants. extra: variables for this run, never secrets. environment: further
    environment variables. arguments: further ones for ansible-playbook; relative paths in them
    begin at the current folder. secrets: passwords that were asked for earlier; those that the
    arguments ask for (-K, -k, -J) are asked for here. besides: a second inventory, read after the
    first. Failed tasks are printed in full; the whole
    output is in the log. Raises FleetError where there is no such playbook or inventory or no
    terminal to ask on, and Interrupted after Ctrl-C or SIGTERM.
    """
    known(playbook, inventory)
    asked, arguments = passwords.ask(arguments)
    given = Secrets(
        {**(secrets or Secrets()).passwords, **asked.passwords},
        {**(secrets or Secrets()).vaults, **asked.vaults},
    )
    # Takes long to import, and most commands never run a playbook.
    import ansible_runner

    title = title_of(playbook, arguments)
    times = timing.Times(log_folder() / TIMES, playbook, inventory, arguments)
    board = live.Board(title, live.stages(ROOT / playbook), times.last())
    screen = live.Screen(board) if live.wanted(sys.stderr) else None
    progress = Progress(collect, show=screen.update if screen else say, plain=not screen)
    log = new_log(Path(playbook).stem)
    since = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="benchfleet-") as private,
            log.open("w") as output,
            stopping.stoppable(private) as stop,
            ticking(screen.update if screen else progress.tick),
        ):
            log.chmod(0o640)
            named, options = given.give(Path(private))
            run = ansible_runner.run(
                private_data_dir=private,
                # Ansible's current folder.
                project_dir=os.getcwd(),
                inventory=[str(path.resolve()) for path in (inventory, besides) if path],
                playbook=str(ROOT / playbook),
                cmdline=shlex.join([*arguments, *options]) or None,
                envvars={
                    **VARIABLES,
                    **(environment or {}),
                    **named,
                    stopping.MARK: private,
                },
                extravars=extra or {},
                suppress_env_files=not extra,
                fact_cache_type="",
                settings={"suppress_output_file": True, "pexpect_timeout": 1},
                quiet=True,
                event_handler=lambda event: record(event, output, progress, board),
                cancel_callback=stop.given_up.is_set,
            )
    finally:
        if screen:
            screen.clear()
    seconds = time.monotonic() - since
    ok = run.rc == 0
    if stop.asked and not ok:
        raise Interrupted(
            f"{title} was interrupted after {clock(seconds)}. The same command goes on from there"
            f" (log: {log})"
        )
    if ok:
        times.note(seconds, board.play_seconds, restart_seconds(progress.changes))
    # A module that lists problems has the messages of failed tasks in its list, and more.
    listed = any(result.get("problems") for result in progress.results)
    if not ok and not listed and (progress.failures or not progress.results):
        show_failures(title, seconds, log, progress)
    # A table that the caller makes of results says enough, unless something was changed.
    if ok and (progress.changes or not set(collect) - {MESSAGES}):
        say(f"{title}: done in {clock(seconds)}, {counted(progress.changes)} (log: {log})")
    return Outcome(
        ok,
        seconds,
        log,
        progress.results,
        progress.stats,
        changes=progress.changes,
        answers=progress.answers,
        failures=progress.failures,
        reads=progress.reads,
        restarts=times.restarts(),
        verbose=any(re.fullmatch(r"-v+|--verbose", word) for word in arguments),
    )


def raw(
    playbook: str,
    inventory: Path,
    arguments: Sequence[str],
    extra: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> int:
    """Run a playbook with Ansible's own output and questions on the terminal.

    The arguments are those of `play`. Returns the status of ansible-playbook, and 130 after Ctrl-C
    or SIGTERM. Raises FleetError where there is no such playbook or inventory.
    """
    known(playbook, inventory)
    variables = ["-e", json.dumps(extra)] if extra else []
    command = ["ansible-playbook", "-i", str(inventory), *variables, *arguments]
    settings = {name: value for name, value in VARIABLES.items() if name != "ANSIBLE_NOCOLOR"}
    with tempfile.TemporaryDirectory(prefix="benchfleet-") as private:
        marked = {**os.environ, **settings, **(environment or {}), stopping.MARK: private}
        with stopping.stoppable(private, shared=True) as stop:
            status = subprocess.run(
                [*command, str(ROOT / playbook)], env=marked, check=False
            ).returncode
    return 130 if stop.asked and status else status


def restart_seconds(changes: Sequence[Change]) -> dict[str, float]:
    """Return how long each service was away at its restart, the slowest host's time."""
    found: dict[str, float] = {}
    for change in changes:
        for name, seconds in (change.result.get("restart_seconds") or {}).items():
            found[name] = max(found.get(name, 0.0), float(seconds))
    return found


def counted(changes: Sequence[Change]) -> str:
    """Return the number of changes and of their hosts."""
    if not changes:
        return "no changes"
    number, hosts = len(changes), len({change.host for change in changes})
    return f"{number_of(number, 'change')} on {number_of(hosts, 'host')}"


def record(event: dict[str, Any], output: TextIO, progress: Progress, board: live.Board) -> bool:
    """Write an event's text to the log and show its progress; False keeps it off the disk."""
    if event.get("stdout"):
        elapsed = clock(time.monotonic() - STARTED)
        output.write(f"[{elapsed}] {event['stdout'].replace(chr(13), '')}\n")
        output.flush()
    try:
        board.event(event)
        progress.event(event)
    except (KeyError, TypeError, ValueError) as error:
        # A line that can't be drawn must not end the run it is about.
        progress.show(f"(an event could not be shown: {error!r})")
    return False


def show_failures(title: str, seconds: float, log: Path, progress: Progress) -> None:
    """Print every failed task in full; where none failed, the end of the output.

    Checks that failed are shown by their table alone.
    """
    say(f"{title}: FAILED after {clock(seconds)}, {counted(progress.changes)} (log: {log})")
    for failure in progress.failures:
        print(f"\n  {failure}", file=sys.stderr)
    if not progress.failures and not progress.results:
        end = log.read_text(errors="replace").splitlines()[-25:]
        print("\n".join(end), file=sys.stderr)
    print(file=sys.stderr, flush=True)
