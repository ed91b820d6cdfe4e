"""An app is added to a running fleet, with its DocTypes and tables.

How it is updated is in test_update.py; how a site that has half of it is healed, in test_remove.py;
how it leaves, in test_gone.py.
"""

from __future__ import annotations

import shop
from calls import failures
from nodes import Node


def test_an_app_comes_to_a_running_fleet(grown: shop.Grown, nodes: dict[str, Node]):
    # Here the app could be lost.
    assert '"frappe"' in grown.before
    assert "shop" not in grown.before
    # The node reported this to the others once it had the app, too.
    assert not grown.after or "shop" in grown.after
    for name in ("erp1", "rep1"):
        assert "shop" in nodes[name].run(f"cat {shop.BENCH}/sites/apps.txt").split()
        assert shop.has(nodes[name], shop.database_of(nodes["erp1"]), "Shop Order")


def test_nobodys_call_fails_meanwhile(grown: shop.Grown):
    assert failures(grown.taken) == []
    # From some moment on each save needs the app, and fails on a node without it.
    assert grown.waiting == ["rep2"]
    assert "rep2 may lack an app that the sites got in this run" in grown.run.output
    assert {one.bench for one in grown.taken} <= {"erp1", "rep1"}
