"""An app is removed from the sites and benches of a fleet while users work."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import shop
from calls import Somebody, failures, working
from nodes import Node
from plays import Run

REMOVE = ("playbooks/remove_app.yml", "-e", "app=shop")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-e", json.dumps(shop.APPS)], "leaving_app_in_inventory"),
        ([], "-e confirm=shop where there is no terminal"),
    ],
)
def test_what_is_refused_touches_nothing(play: Callable[..., Run], words: list[str], said: str):
    run = play(*REMOVE, *words, fails=True)
    assert said in run.output
    assert list(run.recap) == ["localhost"]


@pytest.mark.usefixtures("grown")
def test_an_app_leaves_and_nobodys_call_fails(
    play: Callable[..., Run], anybody: Callable[..., Somebody], nodes: dict[str, Node]
):
    primary = nodes["erp1"]
    database = shop.database_of(primary)
    with working(anybody) as taken:
        play(*REMOVE, "-e", "confirm=shop")
    assert failures(taken) == []
    for node in nodes.values():
        assert not shop.has(node, database, "Shop Order")
        assert node.run(f"cat {shop.BENCH}/sites/apps.txt").split() == ["frappe"]
        assert node.run(f"ls {shop.BENCH}/apps").split() == ["frappe"]


def test_the_run_after_it_finds_nothing_to_do(play: Callable[..., Any]):
    assert play("site.yml", "-e", f"bench_yarn_version={shop.OLDER_YARN}").changes == []
