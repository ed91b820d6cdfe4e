"""A fleet from bare hosts, by runs that are cut off: a first run, a node that joins, a new copy.

Each test depends on the ones before it. No data may be lost, and the hosts that were there before
must not be disturbed.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from calls import Taken, working
from interruptions import CONTROLLER, Interrupter, Ledger, end_all
from nodes import Node, processes, yarn
from plays import NAMING, ROOT, Run

from benchfleet.lab import state

# Set only for the first run, so that the fleet has a tool that is not the newest.
OLDER_YARN = "1.22.21"
# The tasks after which runs are cut off, however long a slow machine takes to get there.
PREPARED = "fleet : Tools that every host of the fleet needs are installed"
COPIED_NEXT = "mariadb_replica : Script that fetches a copy is in place"
# ssh executions on each older host that a new node adds to a run that changes nothing.
HANDFUL = 6


@pytest.fixture(scope="module")
def kills(lab: state.Lab, tmp_path_factory: pytest.TempPathFactory) -> Interrupter:
    """Cuts runs off; its seed is printed and is part of every failure."""
    seed = int(time.time())
    print(f"seed of the interruptions: {seed}")
    return Interrupter(lab, seed, tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module", autouse=True)
def fleet(kills: Interrupter, nodes: dict[str, Node]) -> Iterator[None]:
    """A primary and one reporting node, unless they are there already: cut off on the way."""
    if "node rep1" not in nodes["erp1"].says("cat /etc/nginx/benchfleet/nodes"):
        two = kills.inventory("erp1", "rep1")
        words = ["site.yml", "-e", f"bench_yarn_version={OLDER_YARN}"]
        victims = [CONTROLLER, kills.random.choice(["erp1", "rep1"])]
        kills.run(two, words, victims, 60, after=PREPARED)
    yield
    print("\n".join(kills.done))


class Counted(NamedTuple):
    """A run of site.yml, and its ssh executions by host."""

    run: Run
    executions: dict[str, int]


@pytest.fixture(scope="module")
def counted(
    play: Callable[..., Run], kills: Interrupter, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Counted]:
    """Run site.yml on all hosts, with further words on the command line."""
    count = tmp_path_factory.mktemp("counted") / "ssh-executions"
    ssh = f"ansible_ssh_executable={ROOT}/molecule/counted-ssh"

    def run(*words: str) -> Counted:
        count.unlink(missing_ok=True)
        three = kills.inventory("erp1", "rep1", "rep2")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BENCHFLEET_SSH_COUNT", str(count))
            done = play("-e", ssh, "site.yml", *words, inventory=three)
        by_address = Counter(count.read_text().split())
        return Counted(done, {host.name: by_address[host.ip] for host in kills.lab.hosts})

    return run


class Joined(NamedTuple):
    """The run by which a node joined, what users got meanwhile, and the other hosts' processes."""

    run: Run
    executions: dict[str, int]
    taken: list[Taken]
    before: dict[str, dict[str, str]]
    after: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def joined(
    counted: Callable[..., Counted], nodes: dict[str, Node], anybody: Callable[..., Any]
) -> Joined:
    """Add rep2 to the running fleet, while users work."""
    there = {name: nodes[name] for name in ("erp1", "rep1")}
    before = {name: processes(node) for name, node in there.items()}
    with working(anybody) as taken:
        done = counted()
    return Joined(*done, taken, before, {name: processes(node) for name, node in there.items()})


def test_a_run_with_limit_does_what_it_can_and_names_what_the_primary_lacks(
    play: Callable[..., Run], kills: Interrupter, nodes: dict[str, Node]
):
    before = processes(nodes["erp1"])
    three = kills.inventory("erp1", "rep1", "rep2")
    run = play("--limit", "rep2", "site.yml", inventory=three, fails=True)
    address = nodes["rep2"].host.ip
    assert f"no account repl@{address}" in run.output
    assert "--limit erp1" in run.output
    assert set(run.recap) == {"rep2"}
    # The parts that need no primary exist.
    assert nodes["rep2"].run("systemctl is-active mariadb") == "active"
    assert processes(nodes["erp1"]) == before


def test_a_new_node_disturbs_nobody(joined: Joined, nodes: dict[str, Node]):
    assert joined.after == joined.before
    assert joined.taken
    assert [call.words for call in joined.taken if not call.ok] == []
    # More changes would be work that the cut-off runs had left.
    changed = [line for line in joined.run.changes if not line.startswith("rep2: ")]
    assert {line.partition(": ")[2] for line in changed} <= NAMING, joined.run.changes
    # Its data came from the other replica, so this was no load for the primary.
    seed = json.loads(nodes["rep2"].run("cat /var/lib/benchfleet/mariadb-seed.json"))
    assert seed["source"] == "rep1"


@pytest.mark.usefixtures("joined")
def test_a_new_node_gets_the_release_that_the_fleet_has(nodes: dict[str, Node]):
    assert {yarn(node) for node in nodes.values()} == {(OLDER_YARN, OLDER_YARN)}


def test_a_new_copy_that_is_cut_off_loses_nothing_and_changes_nothing_else(
    joined: Joined,
    kills: Interrupter,
    counted: Callable[..., Counted],
    play: Callable[..., Run],
    nodes: dict[str, Node],
    verify: Callable[[], dict[tuple[str, str], dict[str, Any]]],
):
    three = kills.inventory("erp1", "rep1", "rep2")
    reseed = ["-e", "mariadb_replica_reseed=rep2"]
    ledger = Ledger(nodes["erp1"])
    ledger.open()
    try:
        limited = ["site.yml", "--limit", "rep2", *reseed]
        kills.cut(three, limited, [CONTROLLER, "rep2"], 5, after=COPIED_NEXT)
        again = counted(*reseed)
    finally:
        end_all(kills.orphans)
        ledger.close([nodes["rep1"], nodes["rep2"]])
    # The other hosts are as the former runs left them.
    assert {line.partition(": ")[0] for line in again.run.changes} == {"rep2"}, again.run.changes
    for name in ("erp1", "rep1"):
        new, usual = joined.executions[name], again.executions[name]
        print(f"{name}: {usual} ssh executions, {new} with the new node")
        assert new <= usual + HANDFUL
    # So is rep2 now, and a run with only this host finds all it needs.
    alone = play("--limit", "rep2", "site.yml", inventory=three)
    assert alone.changes == []
    assert set(alone.recap) == {"rep2"}
    assert [place for place, check in verify().items() if not check["ok"]] == []
