"""The order of these tests, which share runs of site.yml, and the run that most of them need."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import shop
from calls import Somebody, working
from nodes import Node
from plays import Run

from benchfleet.lab import machines, state

# Each depends on those before it. The last run brings a node back, and changes nothing else.
ORDER = ("apps", "down", "sites", "update", "remove", "gone", "whole")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests into the order of their files."""
    items.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_")))


@pytest.fixture(scope="session")
def grown(
    play: Callable[..., Run],
    lab: state.Lab,
    nodes: dict[str, Node],
    anybody: Callable[..., Somebody],
) -> shop.Grown:
    """The fleet gets an app and another release of yarn in one run, while rep2 has no power."""
    primary, rep2 = nodes["erp1"], nodes["rep2"]
    shop.make(primary)
    # The cache is then from before the app came.
    list_apps = f"bench --site {state.SITE} list-apps"
    primary.run(f"sudo -iu frappe sh -c 'cd {shop.BENCH} && {list_apps}'")
    before = shop.modules(primary)
    routes = primary.run(f"cat {shop.ROUTES}")
    machines.kill(lab, rep2.host)
    try:
        with working(anybody) as taken:
            run = play("site.yml", "-e", json.dumps(shop.ASKED), fails=True)
        waiting = primary.run(f"ls {shop.WAITING} 2>/dev/null || true").split()
    finally:
        machines.start(lab, rep2.host)
    return shop.Grown(run, before, shop.modules(primary), routes, taken, waiting)
