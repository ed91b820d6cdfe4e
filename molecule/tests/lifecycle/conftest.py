"""The fleet of these tests: made by runs that are cut off, before the first test."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from interruptions import CONTROLLER, Interrupter, Ledger
from nodes import Node

from benchfleet import state

# Asked for at the first run alone, so that the fleet has a tool that is not the newest: to every
# later run, and to the hosts that join, what is recorded counts. See test_versions.py.
OLDER_YARN = "1.22.21"


@pytest.fixture(scope="session")
def kills(lab: state.Lab, tmp_path_factory: pytest.TempPathFactory) -> Interrupter:
    """What cuts runs off; its seed is printed and stands in every failure."""
    seed = int(time.time())
    print(f"seed of the interruptions: {seed}")
    return Interrupter(lab, seed, tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="session")
def nodes(lab: state.Lab) -> dict[str, Node]:
    """The hosts by their names."""
    return {host.name: Node(lab, host) for host in lab.hosts}


@pytest.fixture(scope="session", autouse=True)
def fleet(kills: Interrupter, nodes: dict[str, Node]) -> Iterator[None]:
    """A primary and one reporting node, unless they are there already: both cut off on the way."""
    if "node rep1" not in nodes["erp1"].says("cat /etc/nginx/benchfleet/nodes"):
        words = ["site.yml", "-e", f"bench_yarn_version={OLDER_YARN}"]
        kills.run(kills.inventory("erp1"), words, [CONTROLLER], 60)
        ledger = Ledger(nodes["erp1"])
        ledger.open()
        try:
            two = kills.inventory("erp1", "rep1")
            kills.run(two, ["site.yml"], [CONTROLLER, "erp1"], 50)
        finally:
            ledger.close([nodes["rep1"]])
    yield
    print("\n".join(kills.done))
