"""One run of tests: programs side by side, each scenario on hosts of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from benchfleet.lab import machines, network, state
from benchfleet.runner import ROOT
from benchfleet.shell import clock, run, say
from benchfleet.testing.programs import SAVER, SAVES, Program, ordered, settings
from benchfleet.testing.results import COLOURS, Result, closing_counts, red_test, stage_of

SHOWN_LINES = 150
# Memory of a scenario, which has up to three hosts.
LANE_BYTES = 3 * 1024**3
# Logs below a host's root; what is in memory alone, such as the journal, is asked for by command.
LOGS = ("var/log", "home/frappe/frappe-bench/logs")
ASKED = {
    "journal": "journalctl --no-pager --output short-precise",
    "processes": "ps -ef; supervisorctl status",
}


class Run:
    """One run of tests.

    folder: where outputs and, of a scenario that fails, its hosts' logs are kept.
    fail_fast: whether the first program that fails ends the others.
    """

    def __init__(self, folder: Path, *, fail_fast: bool = False) -> None:
        self.folder = folder
        self.fail_fast = fail_fast
        self.over = threading.Event()
        # Set unless a fleet is still to be saved by this run.
        self.saved = threading.Event()
        self.saved.set()
        self.running: list[subprocess.Popen[str]] = []
        self.lock = threading.Lock()

    def all(self, programs: list[Program]) -> list[Result]:
        """Run programs, some at a time; returns how those ended that were begun."""
        if SAVER in [program.title for program in programs]:
            self.saved.clear()
        waiting = ordered(programs)
        with ThreadPoolExecutor(lanes()) as pool:
            futures = [pool.submit(lambda: self.one(self.take(waiting))) for _ in programs]
            try:
                found = [future.result() for future in futures]
            except BaseException:
                # Leaving the block waits for what runs.
                self.end()
                raise
        return [result for result in found if result]

    def take(self, waiting: list[Program]) -> Program:
        """Take the next program from those that wait: one that can begin now, if there is any."""
        with self.lock:
            ready = (each for each in waiting if self.saved.is_set() or not each.copies)
            program = next(ready, waiting[0])
            waiting.remove(program)
        return program

    def one(self, program: Program) -> Result | None:
        """Run one program, a scenario on hosts of its own; None where the run is over before."""
        if program.copies:
            self.saved.wait()
        if self.over.is_set():
            return None
        say(f"{program.title} begins")
        if program.scenario:
            with hosts_of(str(program.lab)):
                result = self.play(program)
                if not result.ok and not self.over.is_set():
                    keep_logs(str(program.lab), self.folder / program.title)
        else:
            result = self.play(program)
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(result.counts.items()))
        verdict = "passed" if result.ok else "FAILED"
        if program.title == SAVER:
            self.saved.set()
        say(f"{program.title} {verdict} after {clock(result.seconds)}{counts and ': ' + counts}")
        if not result.ok:
            self.show(program)
            if self.fail_fast:
                self.end()
        return result

    def play(self, program: Program) -> Result:
        """Run a program, keep its output in a file, and take from that what it counted."""
        since = began = time.monotonic()
        result = Result(program.title, ok=False, seconds=0)
        steps = iter(settings(program.title)["steps"] if program.scenario else [])
        stage = ""
        # Of each step: a failed test may show the output of a pytest that it ran itself.
        counted: list[Counter[str]] = [Counter()]
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.start(program) as process, self.log_path(program).open("w") as log:
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                counted[-1] = closing_counts(line) or counted[-1]
                result.red += filter(None, [red_test(line)])
                if name := stage_of(line):
                    if stage:
                        result.stages.append((stage, time.monotonic() - began))
                    if stage == SAVES:
                        self.saved.set()
                    # molecule's line names no playbook or folder.
                    stage, began = next(steps, name), time.monotonic()
                    counted.append(Counter())
                    say(f"{program.title}: {stage}")
        if stage:
            result.stages.append((stage, time.monotonic() - began))
        result.counts = sum(counted, Counter())
        with self.lock:
            self.running.remove(process)
        result.ok = process.returncode in program.accepted
        result.seconds = time.monotonic() - since
        return result

    def start(self, program: Program) -> subprocess.Popen[str]:
        """Start a program from the project's folder, with its output to be read."""
        # Not of an earlier run, which would have its hosts.
        own = {"MOLECULE_EPHEMERAL_DIRECTORY": f"{self.folder}/{program.title}.molecule"}
        with self.lock:
            process = subprocess.Popen(
                [*(inside(program.lab) if program.lab else []), *program.argv],
                cwd=ROOT,
                env={**environment(), **(own if program.scenario else {}), **program.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            self.running.append(process)
        return process

    def log_path(self, program: Program) -> Path:
        """Return the place of a program's output."""
        return self.folder / f"{program.title.replace(' ', '-')}.log"

    def show(self, program: Program) -> None:
        """Print the end of a failed program's output, and where all of it is."""
        path = self.log_path(program)
        lines = COLOURS.sub("", path.read_text(errors="replace")).splitlines()
        with self.lock:
            print(f"\n== {program.title} FAILED; its output ends with (all of it: {path}):")
            print("\n".join(lines[-SHOWN_LINES:]), flush=True)

    def end(self) -> None:
        """End what runs, and begin nothing more."""
        self.over.set()
        self.saved.set()
        with self.lock:
            for process in self.running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


def lanes() -> int:
    """Return how many programs run at the same time on this machine.

    One more than it has processors, as scenarios also wait: for timers, minutes and restarts. Fewer
    where they would not have the memory.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min((os.cpu_count() or 1) + 1, total // LANE_BYTES))


def environment() -> dict[str, str]:
    """Return the environment of every program: wide lines, written as they come."""
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "COLUMNS": "200",
    }


@contextmanager
def hosts_of(name: str) -> Iterator[None]:
    """Give a lab a network of its own, and remove all of it afterwards."""
    # By a process of its own: in this one it would collect the exit status of children of others.
    down = [str(ROOT / "fleet"), "lab", "down", "--name", name]
    run(down)
    network.space_up(name)
    try:
        yield
    finally:
        run(down)


def inside(name: str) -> list[str]:
    """Return how a command begins that runs in a lab's own network space."""
    return ["nsenter", f"--net={network.space_of(name)}", "--"]


def keep_logs(name: str, folder: Path) -> None:
    """Copy what a lab's hosts have logged into a folder, one below it for each host."""
    there = state.load(name)
    if not there:
        return
    for host in there.hosts:
        target = folder / host.name
        target.mkdir(parents=True, exist_ok=True)
        root = there.disk(host)
        for part in LOGS:
            if (root / "root" / part).is_dir():
                run(["cp", "--recursive", "--no-dereference", root / "root" / part, target])
        with suppress(FileNotFoundError):
            shutil.copy2(root / "console.log", target)
        for what, question in ASKED.items():
            argv = [*inside(name), *machines.ssh_command(there, host), "--", question]
            with suppress(subprocess.TimeoutExpired), (target / what).open("w") as file:
                subprocess.run(argv, stdout=file, stderr=subprocess.STDOUT, check=False, timeout=60)


def in_turn(tests: Run, programs: list[Program]) -> Iterator[Result]:
    """Run programs one after the other, until one of them fails."""
    for program in programs:
        result = tests.one(program)
        if result is None:
            return
        yield result
        if not result.ok:
            return
