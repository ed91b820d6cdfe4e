"""A reporting node leaves the fleet, dead or alive, and may come back. Users do not notice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import shop
import yaml
from calls import working
from nodes import Node, processes, wait_until, yarn
from plays import NAMING, Run

from benchfleet.lab import machines, state

REMOVE = "playbooks/remove_node.yml"
BENCH = "/home/frappe/frappe-bench"
# Where the other hosts keep the addresses of a node.
KNOWN = "/etc/benchfleet /etc/nginx /home/frappe/.ssh /var/lib/benchfleet"
HEALED = "erp1: bench_primary : Sites have their apps"
RULES = "nft list table inet benchfleet"


def known_of(host: Node, address: str) -> list[str]:
    """Where a host still has an address of the fleet: files, accounts, sessions, packet filter."""
    word = re.escape(address)
    # grep fails when a folder is missing on this host, whatever it found in the others.
    files = host.run(f"grep -rlwE '{word}' {KNOWN} 2>/dev/null || true").splitlines()
    accounts = host.sql(f"SELECT User FROM mysql.global_priv WHERE Host = '{address}'").splitlines()
    # The session of a dead replica stays for a quarter of an hour, and delays a restart of MariaDB.
    session = f"SELECT COMMAND FROM information_schema.PROCESSLIST WHERE HOST LIKE '{address}:%'"
    accounts += host.sql(session).splitlines()
    rules = [line for line in host.run(RULES).splitlines() if re.search(rf"\b{word}\b", line)]
    return [*files, *accounts, *rules]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-e", "node=rep2"], "-e confirm=rep2 where there is no terminal"),
        (["-e", "node=rep2", "-e", "confirm=rep1"], "rep2 is not taken out"),
        (
            ["-e", "node=rep2", "-e", "confirm=rep2", "-e", '{"jobs_placement": {"a.b": "rep2"}}'],
            r"a\.b.*rep2.*leaving_node_has_job",
        ),
    ],
)
def test_what_is_refused_touches_nothing(play: Callable[..., Run], words: list[str], said: str):
    run = play(REMOVE, *words, fails=True)
    assert re.search(said, run.output, re.DOTALL)
    assert list(run.recap) == ["localhost"]


def test_a_dead_node_leaves_and_nobody_notices(
    lab: state.Lab,
    play: Callable[..., Run],
    anybody: Callable[..., Any],
    nodes: dict[str, Node],
):
    others = [nodes["erp1"], nodes["rep1"]]
    address = lab.host("rep2").ip
    assert all(known_of(host, address) for host in others)
    before = [processes(host) for host in others]
    with working(anybody) as taken:
        wait_until("somebody works", lambda: len(taken) > 3)
        machines.kill(lab, lab.host("rep2"))
        run = play(REMOVE, "-e", "node=rep2", "-e", "confirm=rep2")
    assert [call for call in taken if not call.ok] == []
    assert [processes(host) for host in others] == before
    assert [known_of(host, address) for host in others] == [[], []]
    assert nodes["erp1"].run("ls /var/lib/benchfleet/drained") == ""
    root = "REDISCLI_AUTH=$(cat /etc/benchfleet/redis/admin) redis-cli --user benchfleet"
    known = ["bench-erp1", "bench-rep1", "benchfleet", "benchfleet-copy", "default"]
    for port in (11000, 13000):
        assert sorted(nodes["erp1"].run(f"{root} -p {port} ACL USERS").split()) == known
    secrets = yaml.safe_load((lab.path / "secrets/fleet.yml").read_text())
    assert sorted(secrets["hosts"]) == ["erp1", "rep1"]
    assert "Left to do on rep2 itself" in run.output
    assert "Take rep2 out of the inventory" in run.output


def test_back_alive_it_is_cleared_by_the_same_command(
    lab: state.Lab, play: Callable[..., Run], nodes: dict[str, Node]
):
    machines.start(lab, lab.host("rep2"))
    rep2 = nodes["rep2"]
    run = play(REMOVE, "-e", "node=rep2", "-e", "confirm=rep2", "-e", "data=delete")
    changed = [run.recap[host]["changed"] for host in ("erp1", "rep1", "rep2")]
    assert changed == [0, 0, 1], run.changes
    left = f"/etc/benchfleet /usr/local/lib/benchfleet /var/lib/benchfleet /opt/bench-cli {BENCH}"
    left += " /etc/cron.d/benchfleet* /etc/sudoers.d/benchfleet*"
    # Some of these are always missing, so ls fails.
    assert rep2.run(f"ls -d {left} 2>/dev/null || true") == ""
    assert rep2.run("ls -A /var/lib/mysql") == ""
    states = rep2.run("systemctl is-active mariadb benchfleet-firewall || true")
    assert states.split() == ["inactive", "inactive"]
    assert "benchfleet" not in rep2.run("nft list tables")
    assert rep2.run("pgrep -f frappe-bench -u frappe || true") == ""


@pytest.mark.usefixtures("grown")
def test_it_may_join_again_and_the_run_finds_nothing_else_to_do(
    play: Callable[..., Run],
    anybody: Callable[..., Any],
    nodes: dict[str, Node],
):
    primary, others = nodes["erp1"], [nodes["erp1"], nodes["rep1"]]
    database = shop.database_of(primary)
    # The site loses the app's DocTypes, also those that an update brought: all are restored.
    lost = [name for name in ("Shop Order", "Depot Shelf") if shop.has(primary, database, name)]
    for name in lost:
        primary.sql(
            f"DROP TABLE `{database}`.`tab{name}`;"
            f"DELETE FROM `{database}`.tabDocType WHERE name = '{name}'"
        )
    before = [processes(host) for host in others]
    run = play("site.yml", "-e", json.dumps(shop.APPS))
    assert [processes(host) for host in others] == before
    changed = {line for line in run.changes if not line.startswith("rep2: ")}
    healed = {line for line in changed if HEALED in line}
    assert len(healed) == 1
    assert {line.partition(": ")[2] for line in changed - healed} <= NAMING, run.changes
    for node in nodes.values():
        assert [name for name in lost if not shop.has(node, database, name)] == []
        assert yarn(node) == (shop.OLDER_YARN, shop.OLDER_YARN)
    somebody = anybody()
    wait_until("rep2 answers", lambda: somebody.report().place == ("rep2", "rep2"))
