"""How much a new replica's first copy slows the primary's transactions, by the copy's source.

Boots a lab of its own (erp1, rep1, rep2), fills the primary, has rep2 take a new copy from rep1 and
from erp1, and times a steady stream of transactions on erp1 meanwhile, each from the moment at
which it was due. As on separate servers, erp1 has the first processor to itself, and all else
shares the others; the disk is shared. With --nodes N, N new nodes take their first copy at the same
time instead.
Prints a table in Markdown and removes the lab.
Run as root from the repository: .venv/bin/python benchmarks/seeding.py [--mib 500] [--nodes 10]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAB = "seeding"
sys.path[:0] = [str(ROOT), str(ROOT / "molecule/tests")]

from nodes import Node, wait_until  # noqa: E402 -- found through the path above
from plays import make_inventory  # noqa: E402 -- likewise

from benchfleet.lab import machines, state  # noqa: E402 -- likewise

TABLE = """
CREATE DATABASE IF NOT EXISTS filled; USE filled;
CREATE TABLE ledger (n INT PRIMARY KEY AUTO_INCREMENT, text VARBINARY(1024));
CREATE TABLE paid (n INT PRIMARY KEY, at DOUBLE);
"""
# So many rows in one statement are not too large a transaction.
FILL = "USE filled; INSERT INTO ledger (text) SELECT RANDOM_BYTES(1024) FROM seq_1_to_51200"
FILL_MIB = 50
# On the primary: transactions at a fixed rate, each timed from when it was due, until stopped.
LOAD = """
import json, os, pymysql, time
db = pymysql.connect(unix_socket="/run/mysqld/mysqld.sock", user="root", autocommit=False)
cursor, taken, begun, number = db.cursor(), [], time.monotonic(), 0
cursor.execute("TRUNCATE filled.paid")
while not os.path.exists("/run/load-over"):
    due = begun + number / {rate}
    time.sleep(max(0, due - time.monotonic()))
    cursor.execute("SELECT text FROM filled.ledger WHERE n = %s", (1 + number * 97 % 1000,))
    cursor.execute("INSERT INTO filled.paid VALUES (%s, %s)", (number, due))
    db.commit()
    taken.append(time.monotonic() - due)
    number += 1
with open("/run/load.new", "w") as out:
    json.dump(taken, out)
os.rename("/run/load.new", "/run/load.json")
"""


def play(*words: str, inventory: str = "inventory/lab") -> None:
    """Run playbooks. Raises CalledProcessError with their output printed."""
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", inventory, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()


def quantile(values: list[float], share: float) -> float:
    """A quantile in milliseconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]


def fill(primary: Node, mib: int) -> None:
    """Put random rows onto the primary: mib MiB, to the next 50."""
    primary.sql(TABLE)
    for _ in range(-(-mib // FILL_MIB)):
        primary.run(f"mariadb -e {shlex.quote(FILL)}", 120)


def loaded(primary: Node, rate: int, work: Callable[[], None]) -> list[float]:
    """The seconds of each transaction that was made while an action ran."""
    primary.run("rm -f /run/load-over /run/load.json")
    program = f"python3 -c {shlex.quote(LOAD.format(rate=rate))}"
    primary.run(f"systemd-run --quiet --collect --unit load-{int(time.time())} {program}")
    try:
        work()
    finally:
        primary.run("touch /run/load-over")
    told = wait_until("the load is over", lambda: primary.says("cat /run/load.json"))
    return [float(seconds) for seconds in json.loads(told)]


def copy_of(node: Node) -> dict[str, Any]:
    """A node's record of its first copy."""
    told: dict[str, Any] = json.loads(node.run("cat /var/lib/benchfleet/mariadb-seed.json"))
    return told


def set_apart(lab: state.Lab) -> None:
    """Give the first processor to the primary, and the others to all other processes."""
    first, *others = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, others or [first])
    for number, host in enumerate(lab.hosts):
        wanted = others if number and others else [first]
        for process in machines.inmates(lab.machine(host)):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process, wanted)


def who_gives_it(node: dict[str, Node], mib: int, rate: int) -> None:
    """Time the primary's transactions while rep2 takes a copy from rep1, and from erp1."""
    play("site.yml")
    fill(node["erp1"], mib)
    last = "SELECT COUNT(*) FROM filled.ledger"
    rows = node["erp1"].sql(last)
    for name in ("rep1", "rep2"):
        wait_until("the replica has it all", lambda name=name: node[name].sql(last) == rows, 600)
    print("| copy of rep2 | its seconds | transactions | p50 ms | p99 ms | worst ms |")
    print("|---|---|---|---|---|---|")
    for giver in (None, "rep1", "erp1"):
        if giver == "erp1":
            node["rep1"].sql("STOP SLAVE SQL_THREAD")
        words = ["--limit", "rep2", *(["-e", "mariadb_replica_reseed=rep2"] if giver else [])]
        taken = loaded(node["erp1"], rate, lambda words=words: play("site.yml", *words))
        figures = " | ".join(f"{quantile(taken, share):.1f}" for share in (0.5, 0.99, 1))
        told = copy_of(node["rep2"])
        assert giver in (None, told["source"]), told
        seconds = f"{told['finished'] - told['started']:.1f}" if giver else "-"
        name = f"from {giver}" if giver else "none, a run that changes nothing"
        print(f"| {name} | {seconds} | {len(taken)} | {figures} |", flush=True)


def all_at_once(node: dict[str, Node], mib: int) -> None:
    """Time the first copies of many new nodes."""
    with tempfile.TemporaryDirectory() as folder:
        play("site.yml", inventory=str(make_inventory(Path(folder) / "one", ["erp1"], {})))
    fill(node["erp1"], mib)
    play(*(f"playbooks/{name}.yml" for name in ("preflight", "hosts", "database")))
    told = [copy_of(each) for name, each in node.items() if name != "erp1"]
    each = sorted(state["finished"] - state["started"] for state in told)
    span = max(state["finished"] for state in told) - min(state["started"] for state in told)
    gave = [state["source"] for state in told]
    givers = ", ".join(f"{name}: {gave.count(name)}" for name in sorted(set(gave)))
    print("| nodes | MiB each | all seconds | quickest | slowest | copies given |")
    print("|---|---|---|---|---|---|")
    figures = f"{span:.1f} | {each[0]:.1f} | {each[-1]:.1f}"
    print(f"| {len(told)} | {mib} | {figures} | {givers} |", flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=500, help="data on the primary")
    parser.add_argument("--rate", type=int, default=50, help="transactions a second")
    parser.add_argument("--nodes", type=int, help="so many new nodes at the same time")
    parser.add_argument("--subnet", default="10.203.23.0/24")
    given = parser.parse_args()
    os.environ["BENCHFLEET_LAB"] = LAB
    fleet = str(ROOT / "fleet")
    up = [fleet, "lab", "up", "--bare", "--name", LAB, "--subnet", given.subnet]
    number = str(given.nodes or 2)
    subprocess.run([*up, "--nodes", number], check=True, stdout=subprocess.DEVNULL)
    try:
        lab = state.load(LAB)
        assert lab is not None
        node = {host.name: Node(lab, host) for host in lab.hosts}
        if given.nodes:
            all_at_once(node, given.mib)
        else:
            set_apart(lab)
            who_gives_it(node, given.mib, given.rate)
    finally:
        down = [fleet, "lab", "down", "--name", LAB]
        subprocess.run(down, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
