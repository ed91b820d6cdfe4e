"""A host that is down: the others are served, and the run says what it left undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nodes import Node

from benchfleet import lab as machines
from benchfleet import state

FIREWALL = {
    "firewall : Rules for the fleet's ports are in place for every boot",
    "firewall : Fleet's ports are open to the fleet alone",
}
RULES = "nft list table inet benchfleet"


def change(network: str) -> str:
    """Variables that change one thing on every host, and restart nothing."""
    return json.dumps({"firewall_allow": [network]})


def test_the_others_are_served_and_the_run_says_what_it_left_undone(
    play: Callable[..., Any], lab: state.Lab, nodes: dict[str, Node]
):
    rep2 = nodes["rep2"].host
    nodes_file = nodes["erp1"].run("cat /etc/nginx/benchfleet/nodes")
    machines.kill(lab, rep2)
    try:
        run = play("site.yml", "-e", change("10.99.0.0/24"), fails=True)
        assert "rep2 does not answer" in run.output
        assert "rep2: not done" in run.output
        assert run.recap["rep2"]["failed"] == 1
        # All else was as it should be.
        assert set(run.changes) == {f"{name}: {t}" for name in ("erp1", "rep1") for t in FIREWALL}
        for name in ("erp1", "rep1"):
            assert run.recap[name]["failed"] == run.recap[name]["unreachable"] == 0
            rules = nodes[name].run(RULES)
            assert "10.99.0.0/24" in rules
            # It is still one of the fleet.
            assert rep2.ip in rules
        accounts = f"SELECT COUNT(*) FROM mysql.global_priv WHERE Host = '{rep2.ip}'"
        assert int(nodes["erp1"].sql(accounts)) >= 3
        assert nodes["erp1"].run("cat /etc/nginx/benchfleet/nodes") == nodes_file
        assert rep2.ip in nodes["rep1"].run("cat /etc/benchfleet/known_hosts")
    finally:
        machines.start(lab, rep2)
    run = play("site.yml", "-e", change("10.99.0.0/24"))
    assert {line.partition(": ")[0] for line in run.changes} == {"rep2"}
    assert "10.99.0.0/24" in nodes["rep2"].run(RULES)
    # The next run, of whatever test, takes it back.


def test_without_the_primary_nothing_is_touched(
    play: Callable[..., Any], lab: state.Lab, nodes: dict[str, Node]
):
    erp1 = nodes["erp1"].host
    machines.kill(lab, erp1)
    try:
        # What the test above asked for is there already, and would be no change.
        run = play("site.yml", "-e", change("10.98.0.0/24"), fails=True)
        assert "erp1 could not be looked at" in run.output
        assert "Nothing was touched on any host" in run.output
        assert run.changes == []
    finally:
        machines.start(lab, erp1)
