"""A host that is down: the others are served, and the run says what it left undone.

The run has two things to do: a release of yarn that is asked for, and a site with half an app.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import shop
from nodes import Node, yarn
from plays import Run

from benchfleet import lab as machines
from benchfleet import state
from benchfleet.runner import ROOT
from filter_plugins.versions import release_versions

# Not the newest, so that there is a newer one to be told of.
OLDER_YARN = "1.22.21"
ASKED = json.dumps({**shop.APPS, "bench_yarn_version": OLDER_YARN})
RULES = "nft list table inet benchfleet"


def test_without_the_primary_nothing_is_touched(
    play: Callable[..., Run], lab: state.Lab, nodes: dict[str, Node]
):
    erp1 = nodes["erp1"].host
    machines.kill(lab, erp1)
    try:
        run = play("site.yml", "-e", ASKED, fails=True)
        assert "erp1 could not be looked at" in run.output
        assert "Nothing was touched on any host" in run.output
        assert run.changes == []
    finally:
        machines.start(lab, erp1)


@pytest.fixture
def half_an_app(arrival: shop.Arrival, nodes: dict[str, Node]) -> str:
    """The site has lost a DocType of the app; returns the site's database."""
    database = shop.database_of(nodes["erp1"])
    nodes["erp1"].sql(
        f"DROP TABLE `{database}`.`tabShop Order`;"
        f"DELETE FROM `{database}`.tabDocType WHERE name = 'Shop Order'"
    )
    return database


@pytest.fixture
def off(lab: state.Lab, nodes: dict[str, Node]) -> Iterator[Callable[[], None]]:
    """rep2 has no power, until the end of the test or until it is switched on."""
    rep2 = nodes["rep2"].host
    machines.kill(lab, rep2)
    yield lambda: machines.start(lab, rep2)
    machines.start(lab, rep2)


def roles(run: Run) -> set[tuple[str, str]]:
    """Where a run has changed something: host and role."""
    places = (line.partition(" : ")[0].split(": ") for line in run.changes)
    return {(host, role) for host, role in places}


def test_the_others_are_served_and_the_run_says_what_it_left_undone(
    play: Callable[..., Run],
    nodes: dict[str, Node],
    half_an_app: str,
    off: Callable[[], None],
):
    rep2 = nodes["rep2"].host
    others = ("erp1", "rep1")
    routes = nodes["erp1"].run("cat /etc/nginx/benchfleet/nodes")
    run = play("site.yml", "-e", ASKED, fails=True)
    assert "rep2 does not answer" in run.output
    assert "rep2: not done" in run.output
    assert run.recap["rep2"]["failed"] == 1
    # All else was as it should be, also after all that was done to the fleet before.
    release = {(name, role) for name in others for role in ("bench", "fleet")}
    assert roles(run) == {*release, ("erp1", "bench_primary")}, run.changes
    assert "erp1: bench_primary : Sites exist with their apps" in "\n".join(run.changes)
    assert shop.has(nodes["erp1"], half_an_app, "Shop Order")
    for name in others:
        assert run.recap[name]["failed"] == run.recap[name]["unreachable"] == 0
        assert yarn(nodes[name]) == (OLDER_YARN, OLDER_YARN)
        # rep2 is still one of the fleet.
        assert rep2.ip in nodes[name].run(RULES)
    accounts = f"SELECT COUNT(*) FROM mysql.global_priv WHERE Host = '{rep2.ip}'"
    assert int(nodes["erp1"].sql(accounts)) >= 3
    assert nodes["erp1"].run("cat /etc/nginx/benchfleet/nodes") == routes
    assert rep2.ip in nodes["rep1"].run("cat /etc/benchfleet/known_hosts")
    off()
    run = play("site.yml", "-e", ASKED)
    assert roles(run) == {("rep2", "bench"), ("rep2", "fleet")}, run.changes
    assert yarn(nodes["rep2"]) == (OLDER_YARN, OLDER_YARN)


def test_status_says_who_is_up_and_what_is_newer(
    nodes: dict[str, Node], fleet_command: Callable[..., str]
):
    told = json.loads(fleet_command("status", "--json"))
    assert {row["host"]: row["state"] for row in told["status"]} == dict.fromkeys(nodes, "up")
    usual = release_versions(str(ROOT / "roles"))["yarn"]
    rows = told["versions"]
    assert [row for row in rows if row["software"] == "yarn"] == [
        {
            "software": "yarn",
            "hosts": list(nodes),
            "in_force": OLDER_YARN,
            "recorded": OLDER_YARN,
            "available": usual,
            "upgrade": f"bench_yarn_version: {usual} in the inventory, then site.yml",
        }
    ]
    mariadb = [row for row in rows if row["software"] == "MariaDB"]
    assert all(row["in_force"] and row["available"] for row in mariadb)
