"""The lab's jobs under test: who queues them, where they ran, and what supervisor runs."""

from __future__ import annotations

import json
import re
import shlex
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from calls import Somebody
from nodes import Node, wait_until
from plays import BENCHES, Run

from benchfleet.lab import machines, state
from benchfleet.runner import ROOT

BENCH = "/home/frappe/frappe-bench"
PLACEMENT: dict[str, Any] = yaml.safe_load((ROOT / "molecule/jobs/vars/placement.yml").read_text())
# What `./fleet jobs` reads, in a fraction of its time.
SHOW = (
    f"cd {BENCH}/sites && PYTHONPATH=/usr/local/lib/benchfleet/jobs"
    " ../env/bin/python -m benchfleet_jobs show /etc/benchfleet/jobs.json"
)
Queues = Callable[[], dict[str, dict[str, Any]]]
Checks = dict[tuple[str, str], dict[str, Any]]


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

    def queue(self, method: str, **options: Any) -> str:
        """Queue a job of a method; returns the token of its Demo Run."""
        token = new_token()
        self.enqueue(method, token=token, **options)
        return token

    def servers(self, token: str) -> list[str]:
        """The servers on which the jobs with this token ran."""
        found = self.sql(f"SELECT server FROM `tabDemo Run` WHERE token = '{token}'")
        return [server for (server,) in found]

    def done(self, token: str) -> str:
        """Wait for the one job with this token; returns where it ran."""
        (server,) = wait_until(f"job {token}", lambda: self.servers(token))
        return server

    def runs(self, method: str) -> dict[str, str]:
        """Where each run of a method without a token was, by the run's name."""
        found = self.sql(f"SELECT name, server FROM `tabDemo Run` WHERE method = '{method}'")
        return dict(found)

    def where(self, method: str, **options: Any) -> str:
        """Queue a job of a method and return where it ran."""
        return self.done(self.queue(method, **options))

    def write(self, **options: Any) -> tuple[str, str]:
        """Have rep1 write a file; returns the job's token and the file's URL."""
        name = f"{new_token()}.txt"
        arguments = {"file_name": name, "content": f"content of {name}", **options}
        private = "private/" if options.get("is_private", 1) else ""
        token = self.queue("frappe.demo.job_write_file", **arguments)
        return token, f"/{private}files/{name}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Until the end of the block, no job of the demo can finish."""
        try:
            self.primary.hold(f"LOCK TABLES `{self.database}`.`tabDemo Run` WRITE")
            yield
        finally:
            self.primary.release()


def new_token() -> str:
    """A token that no other job has."""
    return f"t{uuid.uuid4().hex[:12]}"


def programs(nodes: dict[str, Node]) -> dict[str, dict[str, list[str]]]:
    """Process ids of supervisor's programs on each host."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, node in nodes.items():
        own = found.setdefault(name, {})
        # `status` ends with 3 when a program is stopped.
        for line in node.run("supervisorctl status || true").splitlines():
            process, pid = re.match(r"(\S+) +RUNNING +pid (\d+)", line).groups()  # type: ignore[union-attr]
            own.setdefault(process.split(":")[0], []).append(pid)
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that change the fleet's settings last."""
    items.sort(key=lambda item: item.path.stem == "test_changes")


@pytest.fixture(scope="session")
def jobs(nodes: dict[str, Node], anybody: Callable[..., Somebody]) -> Jobs:
    """The site's jobs, queued by the Administrator."""
    path = f"{BENCH}/sites/{state.SITE}/site_config.json"
    config = json.loads(nodes["erp1"].run(f"cat {path}"))
    return Jobs(nodes["erp1"], anybody(), config["db_name"])


@pytest.fixture(scope="session")
def benches(play: Callable[..., Run]) -> Callable[..., Run]:
    """Run the part of site.yml for benches, with the scenario's placement and these changes."""

    def run(**changes: Any) -> Run:
        return play(BENCHES, "-e", json.dumps({**PLACEMENT, **changes}))

    return run


@pytest.fixture(scope="session")
def proved(verify: Callable[..., Checks]) -> Callable[..., Checks]:
    """Run ./fleet verify with the scenario's placement and these changes; its checks by place."""
    return lambda **changes: verify(**{**PLACEMENT, **changes})


@pytest.fixture(scope="session")
def queues(nodes: dict[str, Node]) -> Queues:
    """The queues as ./fleet jobs reports them, by name."""

    def ask() -> dict[str, dict[str, Any]]:
        text = nodes["erp1"].run(f"runuser -u frappe -- sh -c {shlex.quote(SHOW)}")
        return {row["queue"]: row for row in json.loads(text)["queues"]}

    return ask


def served(queues: Queues, *names: str) -> None:
    """Wait until queues are served."""

    def all_served() -> bool:
        rows = queues()
        return all(rows[name]["state"] == "served" for name in names)

    wait_until(f"{', '.join(names)} are served", all_served)


def back(lab: state.Lab, queues: Queues, name: str) -> None:
    """Switch a node on again, and wait until its workers do jobs."""
    machines.start(lab, lab.host(name))
    served(queues, f"at-{name}")
