"""A fleet keeps its versions until it is asked to change them, and says what could be had.

Its yarn is older than what this Benchfleet gives a new fleet: the same as a newer Benchfleet on a
fleet of today. It has the newer one in the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import OLDER_YARN
from nodes import Node

from benchfleet import state
from benchfleet.runner import ROOT
from filter_plugins.versions import release_versions

MARK = "/etc/benchfleet/fleet.json"


@pytest.fixture(scope="module")
def usual() -> str:
    """The yarn that this Benchfleet gives a new fleet."""
    return release_versions(str(ROOT / "roles"))["yarn"]


def recorded(host: Node) -> str:
    """The yarn that is recorded on a host."""
    return str(json.loads(host.run(f"cat {MARK}"))["versions"]["yarn"])


def installed(host: Node) -> str:
    """The yarn that a host has."""
    return host.run("PATH=/opt/bench-cli/bin:$PATH yarn --version")


@pytest.fixture(scope="module")
def hosts(lab: state.Lab, play: Callable[..., Any]) -> list[Node]:
    """All hosts of the lab, with an older yarn that was asked for once, before runs that did not.

    A fleet that was there before these tests gets that now.
    """
    nodes = [Node(lab, host) for host in lab.hosts]
    if recorded(nodes[0]) != OLDER_YARN:
        play("site.yml", "-e", f"bench_yarn_version={OLDER_YARN}")
        assert play("site.yml").changes == []
    return nodes


def test_what_is_newer_is_told_and_not_installed(
    hosts: list[Node], usual: str, fleet_command: Callable[..., str]
):
    # Those that joined later have got the fleet's.
    older = [(OLDER_YARN, OLDER_YARN)] * len(hosts)
    assert [(recorded(host), installed(host)) for host in hosts] == older
    rows = json.loads(fleet_command("status", "--json"))["versions"]
    yarn = [row for row in rows if row["software"] == "yarn"]
    assert yarn == [
        {
            "software": "yarn",
            "hosts": [host.name for host in hosts],
            "in_force": OLDER_YARN,
            "recorded": OLDER_YARN,
            "available": usual,
            "upgrade": f"bench_yarn_version: {usual} in the inventory, then site.yml",
        }
    ]
    mariadb = [row for row in rows if row["software"] == "MariaDB"]
    assert all(row["in_force"] and row["available"] for row in mariadb)


def test_a_release_that_is_asked_for_is_installed_and_recorded(
    play: Callable[..., Any], hosts: list[Node], usual: str
):
    run = play("site.yml", "-e", f"bench_yarn_version={usual}")
    changed = {
        (line.split(": ", 1)[0], line.split(": ", 1)[1].split(" : ")[0]) for line in run.changes
    }
    assert changed == {(host.name, role) for host in hosts for role in ("bench", "fleet")}
    assert [(recorded(host), installed(host)) for host in hosts] == [(usual, usual)] * len(hosts)


def test_a_fleet_of_a_newer_format_is_refused(play: Callable[..., Any], hosts: list[Node]):
    last = hosts[-1]
    last.run(f'cp -p {MARK} {MARK}.kept; sed -i \'s/"format": 1/"format": 2/\' {MARK}')
    try:
        run = play("playbooks/preflight.yml", fails=True)
    finally:
        last.run(f"mv {MARK}.kept {MARK}")
    assert (
        f"{last.name} has fleet format 2, and this Benchfleet knows formats up to 1" in run.output
    )
