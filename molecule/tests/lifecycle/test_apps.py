"""An app comes to a fleet that runs, with its DocTypes and tables.

How it is updated is in test_update.py; how a site that has half of it is healed, in test_remove.py.
"""

from __future__ import annotations

import shop
from nodes import Node


def test_an_app_comes_to_a_running_fleet(grown: shop.Grown, nodes: dict[str, Node]):
    # This is where the app would be lost.
    assert '"frappe"' in grown.before
    assert "shop" not in grown.before
    # The node has said so to the others when it had the app, too.
    assert not grown.after or "shop" in grown.after
    for name in ("erp1", "rep1"):
        assert "shop" in nodes[name].run(f"cat {shop.BENCH}/sites/apps.txt").split()
        assert shop.has(nodes[name], shop.database_of(nodes["erp1"]), "Shop Order")
