"""A run is refused while another one is under way, and the hosts' log tells who ran what."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

import pytest
from fleet.runs import FOLDER, LEASE
from fleet.runs import Run as LoggedRun
from nodes import Node
from plays import Run

UNDRAIN = ("playbooks/undrain.yml", "-e", "node=rep1")
OTHER = {
    "account": "ann",
    "controller": "desk",
    "machine": "m",
    "boot": "b",
    "pid_space": "p",
    "process": 1,
    "started": "1",
    "version": "0.2.0",
    "playbook": "site.yml",
    "arguments": "",
    "address": "192.0.2.1",
}


@pytest.fixture
def other(nodes: dict[str, Node]) -> str:
    """Somebody else's run is under way on the primary; returns its id."""
    name = uuid.uuid4().hex
    lease = json.dumps({**OTHER, "run": name, "begun": time.time()})
    nodes["erp1"].run(f"mkdir -p -m 0700 {FOLDER}; echo '{lease}' > {FOLDER}/{LEASE}")
    return name


def runs_of(node: Node) -> list[LoggedRun]:
    """The log of a host."""
    return [
        json.loads(line) for line in node.run("cat /var/lib/benchfleet/runs.jsonl").splitlines()
    ]


def held(node: Node) -> bool:
    """Whether a run has the host's lease."""
    return LEASE in node.run(f"ls {FOLDER}")


def test_the_run_that_made_the_fleet_is_in_the_log(nodes: dict[str, Node]):
    for node in nodes.values():
        assert any(run.get("result", "").startswith("ok") for run in runs_of(node))


def test_a_second_run_is_refused_until_it_is_forced(
    play: Callable[..., Run], nodes: dict[str, Node], other: str
):
    run = play(*UNDRAIN, fails=True)
    assert "run_under_way" in run.output
    assert "ann" in run.output
    assert run.changes == []
    assert held(nodes["erp1"])
    play(*UNDRAIN, "-e", "fleet_break_lock=true")
    assert not held(nodes["erp1"])
    broken, last = runs_of(nodes["erp1"])[-2:]
    assert (broken["run"], broken.get("result")) == (other, None)
    assert last["playbook"] == "undrain.yml"
    assert last["result"]
    assert last["seconds"] < 60
