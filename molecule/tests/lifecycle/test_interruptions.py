"""Runs that are cut off in the midst of a new copy of the data: the same again converges."""

from __future__ import annotations

from interruptions import CONTROLLER, Interrupter, Ledger
from nodes import Node


def test_a_new_copy_that_is_cut_off_loses_nothing(kills: Interrupter, nodes: dict[str, Node]):
    three = kills.inventory("erp1", "rep1", "rep2")
    ledger = Ledger(nodes["erp1"])
    ledger.open()
    try:
        words = ["site.yml", "-e", "mariadb_replica_reseed=rep2"]
        kills.run(three, words, [CONTROLLER, "rep2"], 25)
    finally:
        ledger.close([nodes["rep1"], nodes["rep2"]])
    kills.settled(three)
    assert len(kills.done) >= 2
