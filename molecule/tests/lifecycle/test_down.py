"""A host is down: the run sets up the others, and reports what it left undone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import shop
from nodes import Node, yarn
from plays import Run

from benchfleet.lab import machines, state

RULES = "nft list table inet benchfleet"
OLDER = (shop.OLDER_YARN, shop.OLDER_YARN)


def test_the_others_are_served_and_the_run_says_what_it_left_undone(
    grown: shop.Grown, nodes: dict[str, Node]
):
    run, rep2 = grown.run, nodes["rep2"].host
    assert f"rep2: {rep2.ip} port 22" in run.output, run.output
    assert "(id: host_silent)" in run.output
    assert "rep2: not done" in run.output
    assert run.recap["rep2"]["failed"] == 1
    for name in ("erp1", "rep1"):
        assert run.recap[name]["failed"] == run.recap[name]["unreachable"] == 0
        # What was requested is installed, and recorded.
        assert yarn(nodes[name]) == OLDER
        # rep2 still belongs to the fleet.
        assert rep2.ip in nodes[name].run(RULES)
    accounts = f"SELECT COUNT(*) FROM mysql.global_priv WHERE Host = '{rep2.ip}'"
    assert int(nodes["erp1"].sql(accounts)) >= 3
    assert nodes["erp1"].run(f"cat {shop.ROUTES}") == grown.routes
    assert rep2.ip in nodes["rep1"].run("cat /etc/benchfleet/known_hosts")


@pytest.mark.usefixtures("grown")
def test_a_run_of_the_host_that_is_back_finds_all_it_needs(
    play: Callable[..., Run], nodes: dict[str, Node]
):
    run = play("--limit", "rep2", "site.yml", "-e", json.dumps(shop.ASKED))
    assert set(run.recap) == {"rep2"}
    assert yarn(nodes["rep2"]) == OLDER
    assert "shop" in nodes["rep2"].run(f"cat {shop.BENCH}/sites/apps.txt").split()


def test_without_the_primary_nothing_is_touched(
    play: Callable[..., Run], lab: state.Lab, nodes: dict[str, Node]
):
    erp1 = nodes["erp1"].host
    machines.kill(lab, erp1)
    try:
        change = json.dumps({"firewall_allow": ["10.98.0.0/24"]})
        run = play("site.yml", "-e", change, fails=True)
        assert f"erp1: {erp1.ip} port 22" in run.output
        assert "host_silent" in run.output
        assert "Nothing was touched on any host" in run.output
        assert run.changes == []
    finally:
        machines.start(lab, erp1)
