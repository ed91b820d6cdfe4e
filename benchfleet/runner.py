"""Runs a playbook and shows its progress, its failures and the results of some modules."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from benchfleet.shell import STARTED, FleetError, clock, say

ROOT = Path(__file__).resolve().parent.parent
# Ansible's own settings for a run.
VARIABLES = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    # ansible-runner adds its own folder, and what the configuration has no longer counts.
    "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "plugins/callback"),
    # ansible-runner turns it off by default.
    "ANSIBLE_HOST_KEY_CHECKING": "True",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_NOCOLOR": "True",
}
LAB_INVENTORY = ROOT / "inventory/lab"
LOGS_KEPT = 30
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

    collect: module names whose results are kept in `results`.
    now: the clock, in seconds; show: prints a line.
    """

    def __init__(
        self, collect: tuple[str, ...] = (), now: Any = time.monotonic, show: Any = say
    ) -> None:
        self.collect = collect
        self.now = now
        self.show = show
        self.count = 0
        self.current: Task | None = None
        self.failures: list[str] = []
        self.results: list[dict[str, Any]] = []
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

    def _on_runner_on_ok(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        result = data.get("res") or {}
        self._finish(data.get("host"))
        if str(data.get("task_action", "")).split(".")[-1] in self.collect:
            self.results.append(result)
        if result.get("changed"):
            took = data.get("duration") or 0
            change = f"changed, {took:.0f} s" if took >= 1 else "changed"
            self.show(f"{data.get('host')}  {data.get('task')} ({change})")

    def _on_runner_on_skipped(self, _event: dict[str, Any], data: dict[str, Any]) -> None:
        self._finish(data.get("host"))

    def _on_runner_on_failed(self, event: dict[str, Any], data: dict[str, Any]) -> None:
        self._finish(data.get("host"))
        if str(data.get("task_action", "")).split(".")[-1] in self.collect:
            # The caller shows a result that it collects, and better than as a failed task.
            self.results.append(data.get("res") or {})
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


@dataclass
class Outcome:
    """How a playbook's run ended."""

    ok: bool
    seconds: float
    log: Path
    results: list[dict[str, Any]]
    stats: dict[str, dict[str, int]]


@contextmanager
def signals_cancel() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM, for the time of the block, into a request to stop the run."""
    cancelled = threading.Event()
    former = {
        number: signal.signal(number, lambda *_: cancelled.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield cancelled
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def ticking(progress: Progress) -> Iterator[None]:
    """Have tasks that still run reported once a second."""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1.0):
            progress.tick()

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()


def play(
    playbook: str,
    inventory: Path,
    *,
    collect: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> Outcome:
    """Run a playbook of this project.

    playbook: its path from the project's root. inventory: a file or folder. collect: modules whose
    results the caller wants. extra: variables for this run, never secrets. environment: further
    environment variables. Failed tasks are printed in full; the whole output is in the log.
    Raises FleetError where there is no such playbook or inventory, or the run was interrupted.
    """
    for path in (ROOT / playbook, inventory):
        if not path.exists():
            raise FleetError(f"{path} does not exist")
    # Takes long to import, and most commands never run a playbook.
    import ansible_runner

    progress = Progress(collect)
    log = new_log(Path(playbook).stem)
    since = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="benchfleet-") as private,
        log.open("w") as output,
        signals_cancel() as cancelled,
        ticking(progress),
    ):
        log.chmod(0o640)
        run = ansible_runner.run(
            private_data_dir=private,
            project_dir=str(ROOT),
            inventory=str(inventory.resolve()),
            playbook=playbook,
            envvars={**VARIABLES, **(environment or {})},
            extravars=extra or {},
            suppress_env_files=not extra,
            fact_cache_type="",
            settings={"suppress_output_file": True},
            quiet=True,
            event_handler=lambda event: record(event, output, progress),
            cancel_callback=cancelled.is_set,
        )
    if cancelled.is_set():
        raise FleetError(f"{playbook} was interrupted (log: {log})")
    ok = run.rc == 0
    # A module that lists problems has the messages of failed tasks in its list, and more.
    listed = any(result.get("problems") for result in progress.results)
    if not ok and not listed and (progress.failures or not progress.results):
        show_failures(playbook, log, progress)
    return Outcome(ok, time.monotonic() - since, log, progress.results, progress.stats)


def record(event: dict[str, Any], output: TextIO, progress: Progress) -> bool:
    """Write an event's text to the log and show its progress; False keeps it off the disk."""
    if event.get("stdout"):
        elapsed = clock(time.monotonic() - STARTED)
        output.write(f"[{elapsed}] {event['stdout'].replace(chr(13), '')}\n")
        output.flush()
    try:
        progress.event(event)
    except (KeyError, TypeError, ValueError) as error:
        # A line that can't be drawn must not end the run it is about.
        say(f"(an event could not be shown: {error!r})")
    return False


def show_failures(playbook: str, log: Path, progress: Progress) -> None:
    """Print every failed task in full; where none failed, the end of the output.

    Checks that failed are shown by their table alone.
    """
    say(f"{playbook} failed (whole output: {log})")
    for failure in progress.failures:
        print(f"\n  {failure}", file=sys.stderr)
    if not progress.failures and not progress.results:
        end = log.read_text(errors="replace").splitlines()[-25:]
        print("\n".join(end), file=sys.stderr)
    print(file=sys.stderr, flush=True)
