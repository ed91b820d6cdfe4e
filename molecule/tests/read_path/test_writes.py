"""What a report writes is kept on both servers, and the operator can see which code writes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from calls import METHOD, Somebody
from failures import Field
from nodes import wait_until

# The node's counts; the file is missing before the first.
COUNTS = "/var/lib/benchfleet/read-guard/counts.json"

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def token() -> str:
    """A token that is in no row yet."""
    return uuid.uuid4().hex


def write(somebody: Somebody, field: Field, method: str, **values: Any) -> dict[str, Any]:
    """Call a report that writes; the reporting bench answers, from the primary's database."""
    answer = somebody.visitor.call("POST", METHOD + method, form=values)
    assert answer.status == 200, answer.said()
    assert answer.bench == field.node.name
    assert answer.headers["x-fleet-database"] == f"{field.primary.name}; reason=wrote"
    return answer.body["message"]


def on_both(field: Field, table: str, condition: str) -> None:
    """A row is on the primary now, and soon on the replica."""
    question = f"SELECT COUNT(*) FROM `{field.config['db_name']}`.`{table}` WHERE {condition}"
    assert field.primary.sql(question) == "1"
    wait_until("the row is on the replica", lambda: field.node.sql(question) == "1", 5)


def test_a_document_that_a_report_inserts_is_on_both_servers(somebody: Any, field: Field):
    message = write(somebody, field, "frappe.demo.read_insert", description="x")
    on_both(field, "tabToDo", f"name = '{message['name']}'")
    assert message["found"] == "x"


def test_a_job_that_waits_for_the_commit_runs(somebody: Any, field: Field, token: str):
    write(somebody, field, "frappe.demo.read_enqueue", token=token, write=1)
    runs = f"SELECT COUNT(*) FROM `{field.config['db_name']}`.`tabDemo Run` WHERE token = '{token}'"
    wait_until("the job ran", lambda: field.primary.sql(runs) == "1", 30)


def test_the_error_log_of_a_report_is_kept(somebody: Any, field: Field, token: str):
    write(somebody, field, "frappe.demo.read_error", token=token, write=1)
    on_both(field, "tabError Log", f"method = '{token}'")


def test_the_operator_learns_which_code_writes(
    somebody: Any, field: Field, fleet_command: Callable[..., str]
):
    method = "frappe.demo.read_insert"

    counts = json.loads(field.node.says(f"cat {COUNTS}") or "{}").get("writes", {})
    before = counts.get(method, {"count": 0})["count"]
    write(somebody, field, method)
    write(somebody, field, method)

    def counted() -> bool:
        field.node.measure()
        rows = json.loads(fleet_command("status", "--json", fine=False))["status"]
        (node,) = (row for row in rows if row["host"] == field.node.name)
        return bool(node["write_under_read_only"].get(method) == before + 2)

    wait_until("status has the count", counted)
    log = field.node.run(f"tail -n 50 {field.bench}/logs/web.error.log")
    assert f"{method} writes under read_only, at frappe.demo" in log


# "DO 0" writes nothing, but the guard does not know it, so the call moves to the primary.
STATE = {
    "a user variable from a SELECT": (["SELECT 5 INTO @a"], "SELECT @a", 5),
    "a user variable set in passing": (["SELECT @a := 2"], "SELECT @a", 2),
    "a default": (
        ["SET sql_mode = 'ANSI_QUOTES'", "SET sql_mode = @@global.sql_mode"],
        "SELECT @@sql_mode = @@global.sql_mode",
        1,
    ),
    "the last inserted id": (["SELECT LAST_INSERT_ID(42)"], "SELECT LAST_INSERT_ID()", 42),
    "a temporary table in another time zone": (
        [
            "SET time_zone = '+05:00'",
            "CREATE TEMPORARY TABLE `Of that Zone` (at TIMESTAMP NULL)",
            "INSERT INTO `Of that Zone` VALUES ('2026-01-01 10:00:00')",
        ],
        "SELECT CONCAT(at, ' ', UNIX_TIMESTAMP(at)) FROM `Of that Zone`",
        "2026-01-01 10:00:00 1767243600",
    ),
}


@pytest.mark.parametrize("kind", STATE)
def test_what_a_session_has_moves_with_the_call(somebody: Any, field: Field, kind: str):
    sets, asks, told = STATE[kind]
    servers = [int(host.sql("SELECT @@server_id")) for host in (field.node, field.primary)]
    steps = write(
        somebody, field, "frappe.demo.read_sql", statements=json.dumps([*sets, "DO 0", asks])
    )
    assert [step for step in steps if "error" in step] == []
    assert [step["server_id"] for step in steps] == [servers[0]] * len(sets) + [servers[1]] * 2
    assert steps[-1]["rows"] == [[told]]
