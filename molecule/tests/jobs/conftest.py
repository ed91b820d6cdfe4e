"""The lab's jobs under test: who queues them, where they ran, and what supervisor runs."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from calls import Somebody
from nodes import Node, wait_until

from benchfleet import lab as machines
from benchfleet import state
from benchfleet.runner import ROOT

BENCH = "/home/frappe/frappe-bench"
PLACEMENT = ROOT / "molecule/jobs/vars/placement.yml"


@dataclass
class Jobs:
    """The site's jobs, seen from the primary."""

    primary: Node
    somebody: Somebody
    database: str

    def sql(self, query: str) -> list[list[str]]:
        """Rows of a query in the site's database."""
        text = self.primary.run(f"mariadb -NB {self.database} -e {shlex.quote(query)}")
        return [line.split("\t") for line in text.splitlines()]

    def enqueue(self, method: str, queue: str = "default", **arguments: Any) -> str:
        """Queue a job through the router as the Administrator; returns its id."""
        form = {"method": method, "queue": queue, "kwargs": json.dumps(arguments)}
        path = "/api/method/frappe.demo.enqueue_method"
        answer = self.somebody.visitor.call("POST", path, form=form)
        assert answer.status == 200, answer.said()
        return str(answer.body["message"])

    def servers(self, token: str) -> list[str]:
        """Where the jobs ran that left this token."""
        found = self.sql(f"SELECT server FROM `tabDemo Run` WHERE token = '{token}'")
        return [server for (server,) in found]

    def done(self, token: str, seconds: float = 30) -> str:
        """Wait for the one job that leaves a token; returns where it ran."""
        (server,) = wait_until(f"job {token}", lambda: self.servers(token), seconds)
        return server

    def runs(self, method: str) -> dict[str, str]:
        """Where each run of a method was that leaves no token, by the run's name."""
        found = self.sql(f"SELECT name, server FROM `tabDemo Run` WHERE method = '{method}'")
        return dict(found)

    def where(self, method: str, **options: Any) -> str:
        """Queue a job of a method and return where it ran."""
        token = new_token()
        self.enqueue(method, token=token, **options)
        return self.done(token)


def new_token() -> str:
    """A word that no other job leaves."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def somebody(anybody: Callable[..., Somebody]) -> Somebody:
    """The Administrator, at the router."""
    return anybody()


@pytest.fixture
def jobs(nodes: dict[str, Node], somebody: Somebody) -> Jobs:
    """The site's jobs."""
    path = f"{BENCH}/sites/{state.SITE}/site_config.json"
    config = json.loads(nodes["erp1"].run(f"cat {path}"))
    return Jobs(nodes["erp1"], somebody, config["db_name"])


@pytest.fixture(scope="session")
def site(play: Callable[..., Any]) -> Callable[..., Any]:
    """Run site.yml with the scenario's placement, changed as told."""

    def run(**changes: Any) -> Any:
        values = {**yaml.safe_load(PLACEMENT.read_text()), **changes}
        return play("site.yml", "-e", json.dumps(values))

    return run


@pytest.fixture
def told(fleet_command: Callable[..., str]) -> Callable[[], dict[str, Any]]:
    """What ./fleet jobs says, its queues by name."""

    def ask() -> dict[str, Any]:
        found = json.loads(fleet_command("jobs", "--json"))
        return {**found, "queues": {row["queue"]: row for row in found["queues"]}}

    return ask


def served(told: Callable[[], dict[str, Any]], *queues: str) -> None:
    """Wait until queues are served."""

    def all_served() -> bool:
        rows = told()["queues"]
        return all(rows[queue]["state"] == "served" for queue in queues)

    wait_until(f"{', '.join(queues)} are served", all_served)


@pytest.fixture
def away(lab: state.Lab, told: Callable[..., Any]) -> Iterator[Callable[[str], None]]:
    """Cut the power of a node; it is switched on again when the test ends."""
    gone: list[str] = []

    def cut(name: str) -> None:
        gone.append(name)
        machines.kill(lab, lab.host(name))

    yield cut
    for name in gone:
        machines.start(lab, lab.host(name))
        served(told, f"at-{name}")
