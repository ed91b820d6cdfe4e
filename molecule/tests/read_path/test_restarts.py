"""No call fails while the primary's bench restarts, or while a table changes.

When a bench is dead, users get a message.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls import METHOD, Somebody, failures, working
from conftest import Setup
from failures import Field, drained
from nodes import Node, wait_until

WEB = "frappe-bench-web:"
# By this file a restart is announced to the router; it has the time until which calls wait.
HOLD = "/var/lib/benchfleet/hold"
# Seconds for which a call waits for a bench whose restart was not announced.
PATIENCE = 10
# How often a call is tried, at most.
ATTEMPTS = 3


def test_a_restart_of_the_bench_fails_no_call(
    anybody: Callable[..., Somebody], nodes: dict[str, Node]
):
    with working(anybody) as taken:
        nodes["erp1"].run("sudo -iu frappe sh -c 'cd frappe-bench && bench restart'", 300)
    assert failures(taken) == []


@pytest.mark.fleet("routed")
def test_a_change_of_settings_and_of_the_number_of_workers_fails_no_call(
    setup: Setup, nodes: dict[str, Node]
):
    web = f"$(supervisorctl pid {WEB}frappe-bench-frappe-web)"
    assert nodes["erp1"].run(f"pgrep --count --parent {web}") == "3"
    assert failures(setup.taken) == []


@pytest.mark.parametrize("seconds", [2, PATIENCE + 3], ids=["sudden", "announced"])
def test_a_call_waits_for_a_bench_that_comes_back(
    seconds: int, anybody: Callable[..., Somebody], nodes: dict[str, Node]
):
    """Whether the router was told of the restart; only then it may take longer than PATIENCE."""
    user, primary = anybody(40), nodes["erp1"]
    if seconds > PATIENCE:
        primary.run(f"expr $(date +%s) + 30 > {HOLD}")
    primary.run(f"supervisorctl stop {WEB}")
    try:
        later = "systemd-run --quiet --collect --unit benchfleet-later"
        back = f"sleep {seconds}; supervisorctl start {WEB}"
        over = f"; sleep 2; rm {HOLD}" * (seconds > PATIENCE)
        primary.run(f"{later} sh -c '{back}{over}'")
        saved = user.save()
    finally:
        primary.run(f"supervisorctl start {WEB} || true; rm -f {HOLD}")
    assert saved.ok, saved
    assert saved.seconds > seconds - 1
    user.tidy()


def test_a_dead_bench_is_told_in_words_and_not_waited_for_again(
    anybody: Callable[..., Somebody], nodes: dict[str, Node]
):
    user, primary = anybody(30), nodes["erp1"]
    primary.run(f"supervisorctl stop {WEB}")
    try:
        first = user.visitor.call("POST", "/api/resource/ToDo", values={"description": "nobody"})
        assert first.status == 503
        assert int(first.headers["retry-after"]) > 0
        assert "try again" in first.text
        next_one = user.save()
        assert next_one.status == 503
        assert next_one.seconds < PATIENCE / 5
        # Reports are answered meanwhile.
        assert user.report().ok
    finally:
        primary.run(f"supervisorctl start {WEB}")
    wait_until("saves work again", lambda: user.save().ok, seconds=20)
    user.tidy()


@pytest.fixture
def other_table(field: Field) -> Iterator[str]:
    """A table of the site's that no call has read yet."""
    name = f"`{field.config['db_name']}`.`tabOther`"
    field.primary.sql(f"CREATE TABLE {name} (name VARCHAR(140) PRIMARY KEY)")
    wait_until("the replica follows", field.replica_follows)
    yield name
    field.primary.sql(f"DROP TABLE {name}")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("method", "by_node"), [("read_sql", True), ("read_sql", False), ("run_sql", False)]
)
def test_a_call_that_meets_a_change_of_a_table_is_answered(
    field: Field, somebody: Somebody, other_table: str, method: str, by_node: bool
):
    token, nodes = uuid.uuid4().hex, [] if by_node else [field.node]
    reader = field.node if by_node else field.primary
    statements = [
        # What an earlier attempt has written does not stay.
        *([] if by_node else [f"UPDATE tabToDo SET description = '{token}' LIMIT 1"]),
        # From here on the call sees the data as they are now.
        "SELECT COUNT(*) FROM tabToDo",
        f"SELECT SLEEP(2), '{token}'",
        f"SELECT COUNT(*) FROM {other_table}",
    ]
    form = {"statements": json.dumps(statements)}
    sleeping = "SELECT id FROM information_schema.processlist WHERE info LIKE"
    sleeping += f" 'SELECT SLEEP(2), ''{token}%'"
    attempts = {""}

    def next_attempt() -> str:
        """The connection of a sleeping attempt that was not seen before."""
        found = reader.sql(sleeping)
        return "" if found in attempts else found

    somebody.save()
    with drained(field.primary, nodes), ThreadPoolExecutor(1) as pool:
        path = f"{METHOD}frappe.demo.{method}"
        answer = pool.submit(somebody.visitor.call, "POST", path, form=form)
        # It begins again this often, and each attempt meets the next change.
        for number in range(ATTEMPTS):
            attempts.add(wait_until("the call sleeps", next_attempt))
            field.primary.sql(f"ALTER TABLE {other_table} ADD c{number} INT, ALGORITHM=COPY")
        taken = answer.result()
    assert (taken.status, taken.bench) == (200, reader.name)
    assert [one.get("error") for one in taken.body["message"]] == [None] * len(statements)
    somebody.tidy()
