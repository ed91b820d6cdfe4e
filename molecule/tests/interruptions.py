"""Runs that are cut off at random moments: the same command again must converge, data intact.

By hand, as root from the repository, on a lab of its own:
    .venv/bin/python molecule/tests/interruptions.py --kills 100 [--seed N] [--subnet CIDR]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from nodes import Node, wait_until  # noqa: E402 -- found through the path above
from plays import make_inventory  # noqa: E402 -- likewise
from upstream import Upstream  # noqa: E402 -- likewise

from benchfleet.lab import machines, state  # noqa: E402 -- likewise

LAB = "kills"
RECAP = re.compile(
    r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE
)
TASK = re.compile(r"^TASK \[(.*)\] \*+$", re.MULTILINE)
# A run that lost a host ends by itself after its time-outs; the tests do not wait that long.
LOST_SECONDS = 10
RUN_SECONDS = 1800
CONTROLLER = "controller"
# Long enough that a run is sometimes cut off during it.
PATCH = """
import time
from frappe import schema


def execute():
    time.sleep(4)
    schema.ensure_table("ToDo", [{"fieldname": "after_kills"}])
"""
BENCH = "/home/frappe/frappe-bench"
COMMIT = f"git -c safe.directory=* -C {BENCH}/apps/frappe rev-parse HEAD"
# molecule asks for colours.
PLAIN = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}


def family(pid: int) -> list[int]:
    """Handles of a process' children and theirs."""
    done = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(own): int(other) for own, other in map(str.split, done.stdout.splitlines())}
    found, handles = {pid}, []
    # A child may have a lower number than its parent, so this takes one round for each level.
    while new := [own for own, parent in parents.items() if parent in found and own not in found]:
        found.update(new)
        for own in new:
            with contextlib.suppress(ProcessLookupError):
                handles.append(os.pidfd_open(own))
    return handles


def end_all(handles: list[int]) -> None:
    """End those of the processes that still run."""
    while handles:
        handle = handles.pop()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


@dataclass
class Ledger:
    """Rows that are written to a primary one after the other, whatever happens to it meanwhile."""

    primary: Node
    taken: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin to write, until `close`."""
        self.primary.sql(
            "CREATE DATABASE IF NOT EXISTS ledger; CREATE TABLE IF NOT EXISTS ledger.line"
            " (n INT UNSIGNED NOT NULL PRIMARY KEY)"
        )
        self.thread = threading.Thread(target=self._write)
        self.thread.start()

    def _write(self) -> None:
        number = 0
        while not self.over.wait(0.2):
            number += 1
            # A host that is off, or a read-only server, takes no row.
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                self.primary.run(f"mariadb -e 'INSERT INTO ledger.line VALUES ({number})'", 10)
                self.taken.append(number)

    def close(self, replicas: list[Node]) -> None:
        """Stop writing. Every row that was taken must be on the primary and on each replica."""
        self.over.set()
        if self.thread:
            self.thread.join()
        assert self.taken, "the primary took no row at all"
        wanted = set(self.taken)
        for node in (self.primary, *replicas):
            wait_until(f"all rows on {node.name}", lambda node=node: wanted <= self.rows(node))
        self.primary.sql("DROP DATABASE ledger")

    @staticmethod
    def rows(node: Node) -> set[int]:
        """Rows that a node has."""
        return {int(line) for line in node.sql("SELECT n FROM ledger.line").split()}


@dataclass
class Interrupter:
    """Cuts off runs of playbooks on one lab, and reports what it did where."""

    lab: state.Lab
    seed: int
    folder: Path
    done: list[str] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)
    upstream: Upstream | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def node(self, name: str) -> Node:
        """A host of the lab."""
        return Node(self.lab, self.lab.host(name))

    def inventory(self, *names: str) -> Path:
        """An inventory of some of the lab's hosts."""
        folder = self.folder / "-".join(names)
        return folder if folder.exists() else make_inventory(folder, names, {})

    def cut(
        self, inventory: Path, words: list[str], victims: list[str], seconds: float, after: str = ""
    ) -> None:
        """Run a playbook again and again, and cut it off at random moments.

        victims are what is killed each time: the controller, or a host by its name; seconds is
        the time within which that happens, from the start or from the end of the task `after`,
        which a slow machine reaches late. A run that ends before its moment is not made again.
        """
        for victim in victims:
            moment = self.random.uniform(0, seconds)
            with (self.folder / "run.log").open("w+") as log:
                process = self._start(inventory, words, log)
                self._reach(process, after)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                tasks = self._tasks()
                where = (
                    f"{words[0]}, {victim} {moment:.1f} s after {after or 'the start'}:"
                    f" {tasks[-1] if tasks else 'start'}"
                )
                self.done.append(where + ("" if process.poll() is None else " (was done already)"))
                print(f"cut: {self.done[-1]}", flush=True)
                self._cut(process, victim)

    def run(
        self, inventory: Path, words: list[str], victims: list[str], seconds: float, after: str = ""
    ) -> str:
        """Cut a playbook off as `cut` does, then let it end; returns its output.

        Raises AssertionError with the output where the last run does not end well.
        """
        self.cut(inventory, words, victims, seconds, after)
        with (self.folder / "run.log").open("w+") as log:
            code = self._start(inventory, words, log).wait(RUN_SECONDS)
        end_all(self.orphans)
        output = (self.folder / "run.log").read_text()
        assert code == 0, f"seed {self.seed}, after {self.done[-len(victims) :]}:\n{output}"
        return output

    def _tasks(self) -> list[str]:
        """The tasks that have ended somewhere, in the run that goes on."""
        return TASK.findall((self.folder / "run.log").read_text())

    def _reach(self, process: subprocess.Popen[str], task: str) -> None:
        """Wait until a task has ended somewhere, or the run has."""
        if task:
            there = lambda: process.poll() is not None or task in self._tasks()  # noqa: E731
            wait_until(f"task {task}", there, RUN_SECONDS)

    def _start(self, inventory: Path, words: list[str], log: object) -> subprocess.Popen[str]:
        command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(inventory), *words]
        environment = {k: v for k, v in os.environ.items() if k != "ANSIBLE_SSH_EXECUTABLE"}
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, **PLAIN, "BENCHFLEET_LAB": self.lab.name},
            stdin=subprocess.DEVNULL,
            stdout=log,  # type: ignore[call-overload]
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _cut(self, process: subprocess.Popen[str], victim: str) -> None:
        """Kill the controller, or cut a host's power and switch it on again.

        Ansible's workers outlive their parent, and may still run a task when the next run begins,
        as when an operator kills a run. `run` ends those that are left.
        """
        if victim != CONTROLLER:
            host = self.lab.host(victim)
            machines.kill(self.lab, host)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOST_SECONDS)
        self.orphans += family(process.pid)
        process.kill()
        process.wait()
        if victim != CONTROLLER:
            machines.start(self.lab, host)
            if self.upstream:
                # Starting a lab's hosts also resets the repository to the demo's own commit.
                self.upstream.publish()

    def settled(self, inventory: Path) -> None:
        """The second run changes nothing."""
        output = self.run(inventory, ["site.yml"], [], 0)
        changed = {host: int(number) for host, number, _, _ in RECAP.findall(output)}
        assert changed, output
        assert not any(changed.values()), output


def one_round(kills: Interrupter, number: int) -> None:
    """One fleet, from bare hosts: a first run, an addition, a new copy, an update, each cut off."""
    two, three = kills.inventory("erp1", "rep1"), kills.inventory("erp1", "rep1", "rep2")
    anybody = lambda *names: [  # noqa: E731 -- one line is what it is
        kills.random.choice([CONTROLLER, CONTROLLER, *names]) for _ in range(number)
    ]
    kills.run(two, ["site.yml"], anybody("erp1", "rep1"), 90)
    kills.settled(two)
    ledger = Ledger(kills.node("erp1"))
    ledger.open()
    try:
        kills.run(three, ["site.yml"], anybody("erp1", "rep1", "rep2"), 70)
        words = ["site.yml", "-e", "mariadb_replica_reseed=rep1"]
        kills.run(three, words, anybody("erp1", "rep1", "rep2"), 30)
        kills.upstream = Upstream.of(kills.lab, kills.folder)
        new = kills.upstream.release(
            "After many kills",
            {"frappe/public/js/desk.bundle.js": f'\nconsole.log("{kills.seed}");\n'},
            PATCH,
        )
        kills.run(three, ["playbooks/update.yml"], anybody("erp1", "rep1", "rep2"), 70)
        for name in ("erp1", "rep1", "rep2"):
            assert kills.node(name).run(COMMIT) == new
    finally:
        ledger.close([kills.node("rep1"), kills.node("rep2")])
    kills.settled(three)


def main() -> int:
    """Cut off as many runs as asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=12, help="how many (four kinds of runs)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--subnet", default="10.203.22.0/24")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    os.environ["BENCHFLEET_LAB"] = LAB
    fleet = [str(ROOT / "fleet")]
    done, each = 0, min(5, -(-given.kills // 4))
    down = [*fleet, "lab", "down", "--name", LAB]
    while done < given.kills:
        up = ["lab", "up", "--bare", "--name", LAB, "--nodes", "2", "--subnet", given.subnet]
        subprocess.run([*fleet, *up], check=True, stdout=subprocess.DEVNULL)
        lab = state.load(LAB)
        assert lab is not None
        try:
            with tempfile.TemporaryDirectory() as folder:
                kills = Interrupter(lab, given.seed + done, Path(folder))
                one_round(kills, each)
            subprocess.run([*fleet, "verify", "-i", str(ROOT / "inventory/lab")], check=True)
        except Exception:
            print(f"the hosts are left as they are, for a look; then: {' '.join(down)}", flush=True)
            raise
        subprocess.run(down, check=True)
        done += len(kills.done)
        print(f"{done} cuts, all converged", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
