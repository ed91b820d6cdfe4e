"""The lab's read path under test: who calls, where things fail, and how the fleet is set up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import Somebody
from failures import Field
from nodes import wait_until
from player import Player
from plays import BENCHES

from benchfleet.lab import state

# Each policy on one node, so that one run sets up both.
POLICIES = "{{ {'rep1': 'stale', 'rep2': 'error'}[inventory_hostname] | default('primary') }}"
# The set-ups of the fleet, in their order, as variables for Ansible. The guard is switched off and
# on again in between, so the policies are tested after that.
PHASES: dict[str, list[str]] = {
    "guarded": [],
    "routed": [
        "-e",
        json.dumps(
            {
                "router_report_methods": ["frappe.desk.search.search_link"],
                "router_primary_methods": ["frappe.desk.reportview.get_count"],
            }
        ),
    ],
    "stock": ["-e", '{"fleet_read_guard": false}'],
    "stale": ["-e", json.dumps({"read_guard_policy": POLICIES})],
    "error": ["-e", json.dumps({"read_guard_policy": POLICIES})],
}


def phase_of(item: pytest.Item) -> str:
    """The set-up that a test wants, by its mark `fleet`."""
    mark = item.get_closest_marker("fleet")
    return mark.args[0] if mark else "guarded"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "fleet(phase): how the fleet is set up, see PHASES")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of one set-up together, as each change takes a run of playbooks."""
    items.sort(key=lambda item: list(PHASES).index(phase_of(item)))


@pytest.fixture(scope="session")
def setups(play: Callable[..., Any]) -> dict[str, Any]:
    """The set-up that the fleet has now; the scenario's own at first."""
    return {"now": PHASES["guarded"]}


@pytest.fixture(autouse=True)
def fleet(request: pytest.FixtureRequest, setups: dict[str, Any], play: Callable[..., Any]) -> str:
    """The fleet is set up as the test wants it; returns the phase."""
    phase = phase_of(request.node)
    if setups["now"] != PHASES[phase]:
        play(*BENCHES, *PHASES[phase])
        setups["now"] = PHASES[phase]
        setups.pop("player", None)
    return phase


@pytest.fixture
def field(lab: state.Lab, fleet: str) -> Field:
    """The lab, with the node that is hit: rep1, or the one that tells users to try later."""
    return Field(lab, "rep2" if fleet == "error" else "rep1")


@pytest.fixture
def somebody(anybody: Callable[..., Somebody], fleet: str) -> Iterator[Somebody]:
    """A user, whose saved documents are deleted again."""
    # Stock Frappe hangs as long as its caller waits.
    found = anybody(6 if fleet == "stock" else 20)
    yield found
    found.tidy()


@pytest.fixture
def alone(field: Field, somebody: Somebody, fleet: str) -> Iterator[None]:
    """Only this reporting node answers, and it reads from its replica."""
    node = field.node.name
    # Without the guard no bench says which database it read.
    place = (node, "" if fleet == "stock" else node)
    with field.alone():
        wait_until(f"{place} answers", lambda: somebody.report().place == place)
        yield


@pytest.fixture
def both_answer(field: Field, somebody: Somebody) -> Callable[[], None]:
    """Both reporting nodes answer, from their replicas; waits for that once more when called."""
    places = {(node.name, node.name) for node in (field.node, *field.others)}

    def wait() -> None:
        wait_until("both nodes answer", lambda: {somebody.report().place for _ in "ab"} == places)

    wait()
    return wait


@pytest.fixture
def player(field: Field, somebody: Somebody, alone: None, setups: dict[str, Any]) -> Player:
    """A player that has measured the normal calls."""
    found = Player(field, somebody, setups.get("player"))
    if found.normal is None:
        setups["player"] = found.learn()
    return found
