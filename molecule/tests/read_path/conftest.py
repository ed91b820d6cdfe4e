"""The lab's read path under test: who calls, where things fail, and how the fleet is set up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from calls import Somebody, Taken, working
from failures import Field
from nodes import wait_until
from player import Played, Player
from plays import BENCHES, Run

from benchfleet.lab import state

# Each policy on one node, so that one run sets up both.
POLICIES = "{{ {'rep1': 'stale', 'rep2': 'error'}[inventory_hostname] | default('primary') }}"
# Certificates of the operator's are here, on the primary.
FOLDER = "/etc/ssl/lab"
# Further names of the site: one leads to the router, the other to a node.
OTHER, AWAY = "other.lab.test", "away.lab.test"
ROUTED: dict[str, Any] = {
    "router_report_methods": ["frappe.desk.search.search_link"],
    "router_primary_methods": ["frappe.desk.reportview.get_count"],
    "router_trusted_proxies": ["{{ hostvars['rep1'].ansible_host }}"],
    "bench_web_workers": 3,
}
# The set-ups of the fleet, in their order, as variables for Ansible. The guard is switched off and
# on again in between, so the policies are tested after that.
PHASES: dict[str, dict[str, Any]] = {
    "guarded": {},
    "routed": ROUTED,
    "served": {
        **ROUTED,
        "router_certificate": f"{FOLDER}/default.chain",
        "router_certificate_key": f"{FOLDER}/default.key",
        "fleet_sites": [
            {
                "name": state.SITE,
                "certificate": f"{FOLDER}/own.chain",
                "certificate_key": f"{FOLDER}/own.key",
            }
        ],
    },
    "asked": {
        **ROUTED,
        "router_acme_email": "ops@lab.test",
        "router_acme_server": "https://localhost:14000/dir",
        "fleet_sites": [
            {"name": state.SITE, "names": ["{{ hostvars['erp1'].ansible_host }}", AWAY, OTHER]}
        ],
    },
    "stock": {"fleet_read_guard": False},
    "stale": {"read_guard_policy": POLICIES},
    "error": {"read_guard_policy": POLICIES},
}
# Certificates are those of the routers, of the primary and its standby, so the other host stays as
# the set-up before left it.
OF_ROUTERS = ("served", "asked")


@dataclass
class Setup:
    """The set-up that the fleet has now; the scenario's own at first.

    run: how it was made. taken: what users got meanwhile. normal: calls that a player measured.
    """

    phase: str = "guarded"
    run: Run | None = None
    taken: list[Taken] | None = None
    normal: Played | None = None


def change(phase: str) -> list[str]:
    """The arguments of the run that sets the fleet up."""
    limit = ["--limit", "erp1,rep1"] if phase in OF_ROUTERS else []
    return [BENCHES, *limit, "-e", json.dumps(PHASES[phase])]


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
def setup() -> Setup:
    """How the fleet is set up."""
    return Setup()


@pytest.fixture(autouse=True)
def fleet(
    request: pytest.FixtureRequest,
    setup: Setup,
    play: Callable[..., Run],
    anybody: Callable[..., Somebody],
) -> str:
    """The fleet is set up as the test wants it; returns the phase."""
    phase = phase_of(request.node)
    if PHASES[setup.phase] != PHASES[phase]:
        # With the guard off, or by http alone, calls fail.
        load = working(anybody) if phase == "routed" else nullcontext()
        with load as taken:
            run = play(*change(phase))
        setup.phase, setup.run, setup.taken, setup.normal = phase, run, taken, None
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
def player(field: Field, somebody: Somebody, alone: None, setup: Setup) -> Player:
    """A player that has measured the normal calls."""
    found = Player(field, somebody, setup.normal)
    setup.normal = found.normal or found.learn()
    return found
