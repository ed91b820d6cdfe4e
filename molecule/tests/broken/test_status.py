"""status names what is wrong on a host, whatever hangs there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from nodes import Node

FILE = "/var/lib/benchfleet/status.json"
MEASURE = "systemctl start benchfleet-status.service"
# The file is made older than it is; its timer would write it again.
AGED = f"""systemctl stop benchfleet-status.timer
python3 - <<'END'
import json
found = json.load(open("{FILE}"))
found["measured"] -= 600
json.dump(found, open("{FILE}", "w"))
END"""


def ids(node: Node) -> dict[str, str]:
    """Troubles in a host's status file, measured now: id to level."""
    node.run(MEASURE)
    found = json.loads(node.run(f"cat {FILE}"))
    assert found["level"] == "red"
    return {one["id"]: one["level"] for one in found["troubles"]}


@pytest.fixture
def hung(nodes: dict[str, Node]) -> Iterator[Node]:
    """A reporting node whose MariaDB hangs and whose copies are stopped."""
    node = nodes["rep1"]
    node.run("systemctl stop cron benchfleet-changes && systemctl kill --signal=STOP mariadb")
    yield node
    node.run("systemctl kill --signal=CONT mariadb && systemctl start cron benchfleet-changes")


def test_a_server_that_hangs_hides_nothing_else(
    hung: Node, fleet_command: Callable[..., str]
) -> None:
    began = time.monotonic()
    found = ids(hung)
    assert time.monotonic() - began < 30
    wanted = {"mariadb_down": "red", "cron_down": "red", "files_not_followed": "amber"}
    assert wanted.items() <= found.items()
    # Without a file that is new enough, the host is asked while the operator waits.
    hung.run(AGED)
    try:
        told = json.loads(fleet_command("status", "--json", fine=False))
    finally:
        hung.run("systemctl start benchfleet-status.timer")
    row = next(row for row in told["status"] if row["host"] == "rep1")
    levels = {one["id"]: one["level"] for one in row["troubles"]}
    assert {"mariadb_down", "cron_down", "units"} <= levels.keys()
    assert (levels["status_old"], row["level"], row["age_seconds"]) == ("red", "red", 0)


def test_a_queue_that_does_not_answer_is_named(nodes: dict[str, Node]) -> None:
    node, queue = nodes["erp1"], "frappe-bench-redis:frappe-bench-redis-queue"
    node.run(f"supervisorctl stop {queue}")
    try:
        found = ids(node)
    finally:
        node.run(f"supervisorctl start {queue}")
    assert (found["redis_down"], found["program_stopped"]) == ("red", "red")
