"""The order of these tests, which share runs of site.yml, and the run that most of them need."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import shop
from nodes import Node
from plays import Run

# Each stands on those before it: what a run finds to do shows what the former have left undone.
ORDER = ("sites", "remove", "apps", "update", "down", "whole")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the files into their order."""
    items.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_")))


@pytest.fixture(scope="session")
def arrival(play: Callable[..., Run], nodes: dict[str, Node]) -> shop.Arrival:
    """The app comes to the running fleet, and in the same run rep2, which was taken out before."""
    primary = nodes["erp1"]
    shop.make(primary)
    # What is cached then was written before the app came.
    list_apps = f"bench --site {shop.state.SITE} list-apps"
    primary.run(f"sudo -iu frappe sh -c 'cd {shop.BENCH} && {list_apps}'")
    before = shop.modules(primary)
    run = play("site.yml", "-e", json.dumps(shop.APPS))
    return shop.Arrival(run, before, shop.modules(primary))
