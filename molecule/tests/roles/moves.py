"""Commands that change the primary, run to their end or killed on the way.

By hand, as root from the repository, on a lab whose fleet is whole and whose primary is erp1:
    .venv/bin/python molecule/tests/roles/moves.py --lab NAME [--kills 100] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "module_utils"), str(ROOT / "molecule/tests")]

import yaml  # noqa: E402 -- below what is found through the path
from calls import Somebody  # noqa: E402 -- found through the path above
from interruptions import end_all, family  # noqa: E402 -- likewise
from nodes import Node, wait_until  # noqa: E402 -- likewise
from plays import INVENTORY, environment  # noqa: E402 -- likewise
from saves import Savers, Tally, headed, tally  # noqa: E402 -- beside this file

from benchfleet.lab import machines, state, summary  # noqa: E402 -- found through the path above

BENCH = "/home/frappe/frappe-bench"
RECORD = "cat /var/lib/benchfleet/primary.json"
# The saves among what a former primary had more than the others.
AHEAD = "grep -ho 'roles-[0-9a-f-]*' /var/lib/benchfleet/ahead-*/readable.sql"
RUN_SECONDS = 900
# The time in which a command is killed: until it has changed the primary, and some of site.yml.
WITHIN = {"switchover": 60.0, "failover": 30.0, "rejoin": 30.0}
# A dead primary is given up however long it took to kill the commands.
GIVEN_UP = ("--yes", "--accept-loss", "3600")


def end(process: subprocess.Popen[str]) -> None:
    """Kill a command that still runs, and all processes that it has started."""
    handles = family(process.pid) if process.poll() is None else []
    process.kill()
    end_all(handles)
    process.wait()


@dataclass
class Moves:
    """Runs ./fleet on a lab, and notes what it killed when."""

    lab: state.Lab
    seed: int
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.nodes = {host.name: Node(self.lab, host) for host in self.lab.hosts}

    def begin(self, words: Sequence[str], log: IO[str] | int) -> subprocess.Popen[str]:
        """Start a command in the background; log: where its output goes."""
        return subprocess.Popen(
            [str(ROOT / "fleet"), *words],
            env={
                **environment(),
                "BENCHFLEET_INVENTORY": str(INVENTORY),
                "BENCHFLEET_LAB": self.lab.name,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, kills: int = 0) -> None:
        """Run a command to its end, after that many runs that were killed. It must succeed."""
        for _ in range(kills):
            self.kill(words)
        with tempfile.TemporaryFile("w+") as log:
            process = self.begin(words, log)
            try:
                status = process.wait(RUN_SECONDS)
            finally:
                end(process)
            log.seek(0)
            killed = self.done[-kills:] if kills else "no kill"
            assert status == 0, f"seed {self.seed}, after {killed}:\n{log.read()}"

    def kill(self, words: Sequence[str]) -> None:
        """Begin a command, and kill all its processes at a random moment."""
        moment = self.random.uniform(0, WITHIN[words[0]])
        process, how = self.begin(words, subprocess.DEVNULL), "done already"
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            end(process)
            how = "killed"
        self.done.append(f"{words[0]}: {how} after {moment:.1f} s; {self.named()} by the records")
        print(f"cut: {self.done[-1]}", flush=True)

    def named(self) -> str:
        """The primary by the newest record of the hosts that answer."""
        told = [json.loads(text) for node in self.nodes.values() if (text := node.says(RECORD))]
        return str(max(told, key=lambda record: record["epoch"])["primary"])

    @property
    def primary(self) -> Node:
        """The host that is the primary."""
        return self.nodes[self.named()]

    def database(self) -> str:
        """The name of the site's database."""
        text = self.primary.run(f"cat {BENCH}/sites/{state.SITE}/site_config.json")
        return str(json.loads(text)["db_name"])

    def kept(self, node: Node) -> set[str]:
        """Texts of the saves in what a former primary had more than the others."""
        return set(node.says(AHEAD).split())

    def settled(self) -> None:
        """Wait until each replica has what the primary has, and the same documents."""
        primary, table = self.primary, f"`{self.database()}`.tabToDo"
        query = f"SELECT COUNT(*), SUM(CRC32(CONCAT(name, description))) FROM {table}"
        reached = f"SELECT MASTER_GTID_WAIT('{primary.sql('SELECT @@gtid_binlog_pos')}', 30)"
        for node in self.nodes.values():
            if node.name != primary.name:
                assert node.sql(reached) == "0", f"{node.name} has not what {primary.name} has"
                same = lambda node=node: node.sql(query) == primary.sql(query)  # noqa: E731
                wait_until(f"{node.name} has the documents of {primary.name}", same, 30)


def one_round(moves: Moves, sign_in: Callable[[str], Somebody]) -> list[Tally]:
    """A switchover to the standby, whose power is cut then; a failover back, and a rejoin.

    Ten kills. Raises AssertionError where a save is lost that nobody can read any more, or is there
    twice.
    """
    erp1, rep1 = moves.nodes["erp1"], moves.nodes["rep1"]
    database = moves.database()
    with Savers(sign_in, [erp1.host.ip, rep1.host.ip]) as savers:
        moves.run("switchover", "--to", "rep1", "--yes", kills=3)
        savers.wait()
    there = tally("switchover, killed 3 times", savers, rep1, database)
    assert (there.lost, there.twice) == ([], []), moves.done
    with Savers(sign_in, [erp1.host.ip]) as savers:
        savers.wait()
        machines.kill(moves.lab, rep1.host)
        since = time.time()
        moves.run("failover", "--to", "erp1", *GIVEN_UP, kills=4)
        savers.wait()
    back = tally("failover, killed 4 times", savers, erp1, database, since)
    machines.start(moves.lab, rep1.host)
    moves.run("rejoin", "rep1", "--yes", kills=3)
    assert {save.text for save in back.lost} <= moves.kept(rep1), moves.done
    assert back.twice == [], moves.done
    moves.settled()
    return [there, back]


def main() -> int:
    """Play rounds until there were as many kills as asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", required=True)
    parser.add_argument("--kills", type=int, default=10, help="how many (ten in each round)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    lab = state.load(given.lab)
    assert lab is not None, given.lab
    secrets = yaml.safe_load(summary.secrets_file(lab).read_text())
    password = secrets["sites"][state.SITE]["admin_password"]
    sign_in = lambda address: Somebody(address, state.SITE, "Administrator", password, 60)  # noqa: E731
    moves = Moves(lab, given.seed)
    found: list[Tally] = []
    while len(moves.done) < given.kills:
        found += one_round(moves, sign_in)
        print("\n".join(headed(found)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
