"""Runs the project's tests: unit, lint and molecule, and sums up what they counted."""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchfleet import lab, network, state
from benchfleet.runner import LAB_INVENTORY, ROOT, log_folder
from benchfleet.shell import FleetError, clock, remove_tree, run, say

SUITES = ("unit", "lint", "molecule", "long")
# Saves the fleet that others start copies of, and begins first; then what takes longest.
SAVER, SAVES = "default", "side_effect ../save.yml"
FIRST = (SAVER, "interrupted", "trixie", "own_inventory", "lifecycle", "jobs", "adopt")
# What `--fast` runs beside unit tests and linters.
FAST = "read_path"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CLOSING = re.compile(
    r"=+ (?P<counts>.*\b\d+ (?:passed|failed|error|errors|skipped|deselected)\b.*) in [\d.]+s"
)
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)")
# A line of pytest's short summary.
RED = re.compile(r"^[^\w]*((?:FAILED|ERROR) \S+\.py(?:::.*)?)$")
RED_LETTERS = 500
STAGE = re.compile(r"➜ ([\w ./]+): Executing$")
SHOWN_LINES = 150
FOLDERS_KEPT = 5
# Two at once, where they have the memory: a scenario has up to three hosts.
LANES, LANE_BYTES = 2, 3 * 1024**3
NOTHING_MATCHED = 5
LINTERS = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("yamllint", ["yamllint", "--strict", "."]),
    ("ansible-lint", ["ansible-lint", "--offline", "--profile", "production"]),
)
PYTEST = ("--connection", "ansible", "--hosts", "all", "-p", "no:cacheprovider")
# What a host logs, below its root; what it keeps in memory alone, its journal above all, is asked.
LOGS = ("var/log", "home/frappe/frappe-bench/logs")
ASKED = {
    "journal": "journalctl --no-pager --output short-precise",
    "processes": "ps -ef; supervisorctl status",
}


@dataclass
class Program:
    """One program of the tests.

    lab: the lab in whose network it runs. scenario: whether it is a molecule scenario, whose lab is
    made and taken away with it; copies: on a copy of the saved fleet. fine: statuses that are no
    failure.
    """

    title: str
    words: list[str]
    lab: str | None = None
    scenario: bool = False
    copies: bool = False
    env: dict[str, str] = field(default_factory=dict)
    fine: tuple[int, ...] = (0,)


@dataclass
class Result:
    """How one program ended, what pytest counted in it, which tests were red, how long it took.

    stages: (name, seconds) of a scenario's steps, in their order.
    """

    title: str
    ok: bool
    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    red: list[str] = field(default_factory=list)
    stages: list[tuple[str, float]] = field(default_factory=list)


def closing_counts(line: str) -> Counter[str]:
    """Return the counts in a closing line of pytest's; none for every other line."""
    found = CLOSING.search(COLOURS.sub("", line))
    counts: Counter[str] = Counter()
    for number, kind in COUNT.findall(found["counts"]) if found else []:
        counts["failed" if kind.startswith("error") else kind] += int(number)
    return counts


def red_test(line: str) -> str | None:
    """Return pytest's line on a test that failed, cut to a bearable length; None for others."""
    found = RED.match(COLOURS.sub("", line).rstrip())
    return found[1][:RED_LETTERS] if found else None


def stage_of(line: str) -> str | None:
    """Return the step of a scenario that a line of molecule's begins; None for other lines."""
    found = STAGE.search(COLOURS.sub("", line).rstrip())
    return found[1] if found else None


def scenarios() -> list[str]:
    """Return the molecule scenarios, in the order in which they are to begin."""
    there = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    return [name for name in FIRST if name in there] + [n for n in there if n not in FIRST]


def settings(scenario: str) -> dict[str, Any]:
    """Return a scenario's settings, its own over those that all of them share.

    env: its environment. arguments: of ansible-playbook. steps: molecule's test_sequence.
    """
    files = (ROOT / ".config/molecule/config.yml", ROOT / f"molecule/{scenario}/molecule.yml")
    shared, own = (
        yaml.safe_load(path.read_text().replace("${MOLECULE_PROJECT_DIRECTORY}", str(ROOT)))
        for path in files
    )
    executor = own["ansible"].get("executor") or shared["ansible"]["executor"]
    return {
        "env": {**shared["ansible"]["env"], **own["ansible"].get("env", {})},
        "arguments": executor["args"]["ansible_playbook"],
        "steps": own["scenario"]["test_sequence"],
    }


def scenario_program(name: str) -> Program:
    """Return the program that plays a whole scenario."""
    words = ["molecule", "test", "--no-command-borders", "-s", name]
    env = settings(name)["env"]
    copies = "--copy" in env["BENCHFLEET_TEST_LAB"].split()
    return Program(name, words, env["BENCHFLEET_LAB"], scenario=True, copies=copies)


def chosen(wanted: Sequence[str]) -> list[Program]:
    """Return the programs of suites and scenarios by name, all without one.

    Raises FleetError with the names there are for one that isn't there.
    """
    known = [*SUITES, *scenarios()]
    if strange := [name for name in wanted if name not in known]:
        raise FleetError(f"there is no test {strange[0]!r}; there is {', '.join(known)}")
    programs = []
    if not wanted or "unit" in wanted:
        programs.append(Program("unit", ["pytest", "tests/unit"]))
    if not wanted or "lint" in wanted:
        programs += [Program(title, list(words)) for title, words in LINTERS]
    for name in scenarios():
        if not wanted or "molecule" in wanted or name in wanted:
            programs.append(scenario_program(name))
    return programs


def lanes() -> int:
    """Return how many programs run at the same time on this machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(LANES, total // LANE_BYTES))


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
        with ThreadPoolExecutor(lanes()) as pool:
            futures = [pool.submit(self.one, program) for program in ordered(programs)]
            try:
                found = [future.result() for future in futures]
            except BaseException:
                # Leaving the block waits for what runs.
                self.end()
                raise
        return [result for result in found if result]

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
        words = ", ".join(f"{number} {kind}" for kind, number in sorted(result.counts.items()))
        verdict = "passed" if result.ok else "FAILED"
        if program.title == SAVER:
            self.saved.set()
        say(f"{program.title} {verdict} after {clock(result.seconds)}{words and ': ' + words}")
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
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.start(program) as process, self.log_path(program).open("w") as log:
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                result.counts += closing_counts(line)
                result.red += filter(None, [red_test(line)])
                if name := stage_of(line):
                    if stage:
                        result.stages.append((stage, time.monotonic() - began))
                    if stage == SAVES:
                        self.saved.set()
                    # molecule's line names no playbook or folder.
                    stage, began = next(steps, name), time.monotonic()
                    say(f"{program.title}: {stage}")
        if stage:
            result.stages.append((stage, time.monotonic() - began))
        with self.lock:
            self.running.remove(process)
        result.ok = process.returncode in program.fine
        result.seconds = time.monotonic() - since
        return result

    def start(self, program: Program) -> subprocess.Popen[str]:
        """Start a program from the project's folder, with its output to be read."""
        with self.lock:
            process = subprocess.Popen(
                [*(inside(program.lab) if program.lab else []), *program.words],
                cwd=ROOT,
                env={**environment(), **program.env},
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


def environment() -> dict[str, str]:
    """Return the environment of every program: wide lines, written as they come."""
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "COLUMNS": "200",
        # Scenarios leave taking their lab away to this process (molecule/destroy.yml).
        "BENCHFLEET_TEST_RUN": "1",
    }


def ordered(programs: list[Program]) -> list[Program]:
    """Return programs in the order in which they begin: the first scenario, then what is short."""
    hosts = [program for program in programs if program.scenario]
    return hosts[:1] + [program for program in programs if not program.scenario] + hosts[1:]


@contextmanager
def hosts_of(name: str) -> Iterator[None]:
    """Give a lab a network of its own, and leave nothing of it behind."""
    # By a process of its own: this one's children are not to be collected by anybody else.
    down = [ROOT / "fleet", "lab", "down", "--name", name]
    run(down)
    network.space_up(name)
    try:
        yield
    finally:
        run(down)


def inside(name: str) -> list[str]:
    """Return the words that run a command in a lab's own network space."""
    return ["nsenter", f"--net={network.space_of(name)}", "--"]


def keep_logs(name: str, folder: Path) -> None:
    """Copy what a lab's hosts have logged into a folder, one below it for each host."""
    there = state.load(name)
    for host in there.hosts if there else []:
        target = folder / host.name
        target.mkdir(parents=True, exist_ok=True)
        root = there.disk(host)
        for part in LOGS:
            if (root / "root" / part).is_dir():
                run(["cp", "--recursive", "--no-dereference", root / "root" / part, target])
        with suppress(FileNotFoundError):
            shutil.copy2(root / "console.log", target)
        for what, question in ASKED.items():
            words = [*inside(name), *lab.ssh_command(there, host), "--", question]
            with suppress(subprocess.TimeoutExpired), (target / what).open("w") as file:
                subprocess.run(
                    words, stdout=file, stderr=subprocess.STDOUT, check=False, timeout=60
                )


def steps_on_kept_lab(scenario: str, expression: str | None) -> list[Program]:
    """Return what tests a scenario on its lab, which is made where it is not up, and stays.

    expression: pytest's -k. A copy is brought up to date by site.yml first.
    """
    found = settings(scenario)
    name, words = found["env"]["BENCHFLEET_LAB"], found["env"]["BENCHFLEET_TEST_LAB"].split()
    env = {**found["env"], "BENCHFLEET_SSH_COUNT": os.devnull}
    is_new = state.load(name) is None
    if not network.space_of(name).exists():
        network.space_up(name)
    if "--copy" in words:
        words.insert(words.index("--copy") + 1, "newest")
    commands = [("lab", [str(ROOT / "fleet"), "lab", "up", *words])]
    if "--copy" in words or ("converge" in found["steps"] and is_new):
        commands.append(("site.yml", ["ansible-playbook", *found["arguments"], "site.yml"]))
    for step in found["steps"]:
        verb, _, place = step.partition(" ")
        if verb == "verify":
            folder = (ROOT / "molecule" / scenario / (place or "../tests/fleet")).resolve()
            command = ["pytest", str(folder), f"--ansible-inventory={LAB_INVENTORY}", *PYTEST]
            commands.append((folder.name, [*command, *(["-k", expression] if expression else [])]))
    return [
        Program(
            f"{scenario} {what}",
            command,
            name,
            env=env,
            fine=(0, NOTHING_MATCHED) if command[0] == "pytest" and expression else (0,),
        )
        for what, command in commands
    ]


def in_turn(tests: Run, programs: list[Program]) -> Iterator[Result]:
    """Run programs one after the other, until one of them fails."""
    for program in programs:
        result = tests.one(program)
        if result is None:
            return
        yield result
        if not result.ok:
            return


def fast(tests: Run) -> list[Result]:
    """Run what is worth a look after each change: unit, lint, and one scenario on a kept lab."""
    with ThreadPoolExecutor(1) as pool:
        hosts = pool.submit(lambda: list(in_turn(tests, steps_on_kept_lab(FAST, None))))
        return [*filter(None, map(tests.one, chosen(["unit", "lint"]))), *hosts.result()]


def long(tests: Run, minutes: float, seed: int) -> list[Result]:
    """Play what takes long, again and again with other seeds, until the minutes are over.

    Each round plays kills of runs on a lab of its own, then, on a copy that stays until the end,
    requests made at random and every failure of the read path.
    """
    until = time.monotonic() + minutes * 60
    name, python = "long", sys.executable
    env = {"BENCHFLEET_LAB": name}
    up = [str(ROOT / "fleet"), "lab", "up", *settings(FAST)["env"]["BENCHFLEET_TEST_LAB"].split()]
    tests_of = ROOT / "molecule/tests"
    fuzz = ["pytest", str(tests_of / "read_path/test_fuzz.py"), *PYTEST]
    fuzz += [f"--ansible-inventory={LAB_INVENTORY}"]
    results: list[Result] = []
    with hosts_of(name):
        results += in_turn(tests, [Program("long lab", up, name, env=env)])
        while results[-1].ok and time.monotonic() < until:
            kills = [
                python,
                str(tests_of / "interruptions.py"),
                "--kills",
                "4",
                "--seed",
                str(seed),
            ]
            results += in_turn(
                tests,
                [
                    Program(f"kills, seed {seed}", kills),
                    Program(
                        f"fuzz, seed {seed}",
                        fuzz,
                        name,
                        env={**env, "BENCHFLEET_FUZZ_SEED": str(seed)},
                    ),
                    Program(
                        f"failures {seed}",
                        [python, str(tests_of / "read_path/player.py")],
                        name,
                        env=env,
                    ),
                ],
            )
            seed += 1
        if not results[-1].ok:
            keep_logs(name, tests.folder / name)
    return results


def closing(results: Iterable[Result], seconds: float) -> list[str]:
    """Return the last lines: one per program, its red tests, then the sum in pytest's own form.

    A program counts as one test itself, unless it is pytest and counted its own.
    """
    total: Counter[str] = Counter()
    lines = []
    for result in results:
        words = ", ".join(f"{n} {kind}" for kind, n in sorted(result.counts.items()))
        verdict = "PASSED" if result.ok else "FAILED"
        lines.append(f"{verdict} {result.title} ({clock(result.seconds)}){words and ': ' + words}")
        lines += [f"    {line}" for line in result.red]
        total += result.counts
        if not result.counts or (not result.ok and not result.counts["failed"]):
            total["passed" if result.ok else "failed"] += 1
    order = ("failed", "passed", "skipped", "xfailed", "xpassed")
    summed = ", ".join(f"{total[kind]} {kind}" for kind in order if total[kind])
    return [*lines, f" {summed or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")]


def stage_lines(results: Iterable[Result]) -> list[str]:
    """Return where the time of each scenario went, a line each."""
    return [
        f"{result.title}: " + ", ".join(f"{name} {clock(took)}" for name, took in result.stages)
        for result in results
        if result.stages
    ]


def wanted(tests: Run, options: argparse.Namespace) -> list[Result]:
    """Run the tests that the command line names; returns how they ended."""
    if options.k is not None:
        if len(options.tests) != 1 or options.tests[0] not in scenarios():
            raise FleetError(f"-k needs one scenario before it: {', '.join(scenarios())}")
        return list(in_turn(tests, steps_on_kept_lab(options.tests[0], options.k)))
    if options.fast:
        return fast(tests)
    if "long" in options.tests:
        seed = options.seed if options.seed is not None else random.randrange(10**6)
        return long(tests, options.minutes, seed)
    return tests.all(chosen(options.tests))


def run_tests(options: argparse.Namespace) -> int:
    """Run what the command line asks for; returns 0 only if every program passed."""
    since = time.monotonic()
    tests = Run(new_folder(), fail_fast=options.fail_fast)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = wanted(tests, options)
    except BaseException:
        tests.end()
        raise
    print()
    for line in [*stage_lines(results), "", *closing(results, time.monotonic() - since)]:
        print(line, flush=True)
    if not all(result.ok for result in results):
        say(f"outputs, and the logs of the hosts of scenarios that failed: {tests.folder}")
    return 0 if results and all(result.ok for result in results) else 1


def new_folder() -> Path:
    """Return a new folder for the outputs of a run; the oldest beyond FOLDERS_KEPT are deleted."""
    top = log_folder() / "tests"
    for old in sorted(top.glob("*Z-*"))[: -FOLDERS_KEPT + 1]:
        remove_tree(old)
    return top / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
