"""An app comes to a fleet that runs, with its DocTypes and tables.

How it is updated is in test_update.py; how a site is healed that has half of it, in test_down.py.
"""

from __future__ import annotations

import shop
from nodes import Node


def test_an_app_comes_to_a_running_fleet(arrival: shop.Arrival, nodes: dict[str, Node]):
    # This is where the app would be lost.
    assert '"frappe"' in arrival.before
    assert "shop" not in arrival.before
    # The node has said so to the others when it had the app, too.
    assert not arrival.after or "shop" in arrival.after
    database = shop.database_of(nodes["erp1"])
    for node in nodes.values():
        assert "shop" in node.run(f"cat {shop.BENCH}/sites/apps.txt").split()
        assert shop.has(node, database, "Shop Order")
