"""A new reporting node is one more entry in the inventory; those who were there feel nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calls import working
from nodes import Node, processes

from benchfleet import state

# Of each host that was there before: what a new node adds to a run that changes nothing.
HANDFUL = 12
# What names the hosts of the fleet, and nothing else.
NAMING = {
    "fleet : Host is marked as part of this fleet and knows its other hosts",
    "firewall : Rules for the fleet's ports are in place for every boot",
    "firewall : Fleet's ports are open to the fleet alone",
    "mariadb_primary : Replication and probe accounts and the heartbeat exist",
    "mariadb_seed_source : Reporting hosts can fetch a copy and do nothing else",
    "site_sync : Reporting hosts may read the sites folder and the apps' code, write the sites'"
    " files, and nothing else",
    "site_accounts : Program has its settings and the fleet's key for sites (sites.json)",
    "site_accounts : Reporting nodes know the sites and have accounts for them",
    "router : Calls are routed",
}


@pytest.fixture
def counted(
    play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lab: state.Lab
) -> Callable[..., tuple[Any, dict[str, int]]]:
    """Run site.yml on an inventory; returns the run and its ssh executions by host."""
    root = Path(__file__).resolve().parents[3]

    def run(inventory: Path) -> tuple[Any, dict[str, int]]:
        count = tmp_path / "ssh-executions"
        count.unlink(missing_ok=True)
        monkeypatch.setenv("BENCHFLEET_SSH_COUNT", str(count))
        done = play(
            "-e",
            f"ansible_ssh_executable={root}/molecule/counted-ssh",
            "site.yml",
            inventory=inventory,
        )
        by_address = Counter(count.read_text().split())
        return done, {host.name: by_address[host.ip] for host in lab.hosts}

    return run


def test_a_run_with_limit_does_what_it_can_and_names_what_the_primary_lacks(
    play: Callable[..., Any], inventory_of: Callable[..., Path], nodes: dict[str, Node]
):
    before = processes(nodes["erp1"])
    run = play(
        "--limit", "rep2", "site.yml", inventory=inventory_of("erp1", "rep1", "rep2"), fails=True
    )
    address = nodes["rep2"].host.ip
    assert f"no account repl@{address}" in run.output
    assert "--limit erp1" in run.output
    assert set(run.recap) == {"rep2"}
    # What needs no primary is there.
    assert nodes["rep2"].run("systemctl is-active mariadb") == "active"
    assert processes(nodes["erp1"]) == before


def test_a_new_node_disturbs_nobody(
    counted: Callable[..., tuple[Any, dict[str, int]]],
    inventory_of: Callable[..., Path],
    nodes: dict[str, Node],
    anybody: Callable[..., Any],
):
    there = {name: nodes[name] for name in ("erp1", "rep1")}
    idle, usual = counted(inventory_of(*there))
    assert idle.changes == []
    before = {name: processes(node) for name, node in there.items()}
    with working(anybody) as taken:
        run, executions = counted(inventory_of("erp1", "rep1", "rep2"))
    assert {name: processes(node) for name, node in there.items()} == before
    assert [call.words for call in taken if not call.ok] == []
    changed = {line for line in run.changes if not line.startswith("rep2: ")}
    assert {line.partition(": ")[2] for line in changed} <= NAMING, run.changes
    for name in there:
        print(f"{name}: {usual[name]} ssh executions without, {executions[name]} with the new node")
        assert executions[name] <= usual[name] + HANDFUL
    # Its data came from the other replica: the primary has not felt even that.
    seed = json.loads(nodes["rep2"].run("cat /var/lib/benchfleet/mariadb-seed.json"))
    assert seed["source"] == "rep1"
    # That nothing is left to do is seen below for rep2, and in test_down.py for the others.


def test_a_run_of_the_new_node_alone_finds_all_it_needs(
    play: Callable[..., Any], verify: Callable[[], Any]
):
    run = play("--limit", "rep2", "site.yml")
    assert run.changes == []
    assert set(run.recap) == {"rep2"}
    assert [place for place, check in verify().items() if not check["ok"]] == []
