"""A heavy job runs on a reporting node, or on the primary when no node will take it."""

from __future__ import annotations

import json
from collections.abc import Callable

from conftest import Jobs, Queues, served
from nodes import Node, wait_until
from plays import INVENTORY

OF_LAB = ("-i", str(INVENTORY))
REPORTS = "/api/method/frappe.core.doctype.prepared_report.prepared_report"


def prepared(jobs: Jobs) -> list[object]:
    """Order a prepared report: server id, its name, read_only, and whose bench asked."""
    form = {"report_name": "Where", "filters": "{}"}
    answer = jobs.somebody.visitor.call("POST", f"{REPORTS}.make_prepared_report", form=form)
    name = answer.body["message"]["name"]
    query = f"SELECT status FROM `tabPrepared Report` WHERE name = '{name}'"
    wait_until("the report is made", lambda: jobs.sql(query) == [["Completed"]])
    answer = jobs.somebody.visitor.call("GET", f"{REPORTS}.download_attachment?dn={name}")
    assert (answer.status, answer.bench) == (200, "erp1")
    (row,) = json.loads(answer.text)["result"]
    return row


def made_by(node: Node, read_only: int) -> list[object]:
    """What a report shows when a node's bench has read from the database on the same node."""
    return [int(node.sql("SELECT @@server_id")), node.name, read_only, node.name]


def test_a_prepared_report_is_read_from_the_replica_and_kept_on_the_primary(
    jobs: Jobs, queues: Queues, nodes: dict[str, Node]
):
    served(queues, "at-heavy")
    assert prepared(jobs) in [made_by(nodes[name], 1) for name in ("rep1", "rep2")]


def test_a_heavy_job_waits_for_a_replica_that_is_behind(
    jobs: Jobs, queues: Queues, nodes: dict[str, Node]
):
    served(queues, "at-heavy")
    start = "mariadb -e 'START SLAVE SQL_THREAD'"
    later = f'systemd-run --quiet --collect --unit benchfleet-later sh -c "sleep 3; {start}"'
    try:
        for name in ("rep1", "rep2"):
            nodes[name].run(f"mariadb -e 'STOP SLAVE SQL_THREAD' && {later}")
        assert prepared(jobs) in [made_by(nodes[name], 1) for name in ("rep1", "rep2")]
    finally:
        for name in ("rep1", "rep2"):
            nodes[name].run(start)


def test_a_drained_node_does_no_heavy_job_and_without_nodes_the_primary_does_it(
    jobs: Jobs, queues: Queues, nodes: dict[str, Node], fleet_command: Callable[..., str]
):
    served(queues, "at-heavy")
    try:
        fleet_command("drain", "rep1", *OF_LAB)
        wait_until("rep1 rests", lambda: queues()["at-heavy"]["hosts"] == ["rep2"])
        assert [prepared(jobs) for _ in range(3)] == [made_by(nodes["rep2"], 1)] * 3
        fleet_command("drain", "rep2", *OF_LAB)
        wait_until("rep2 rests", lambda: queues()["at-heavy"]["state"] == "drained")
        assert prepared(jobs) == made_by(nodes["erp1"], 0)
    finally:
        for name in ("rep1", "rep2"):
            fleet_command("undrain", name, *OF_LAB)
    wait_until("both work again", lambda: queues()["at-heavy"]["hosts"] == ["rep1", "rep2"])
    assert prepared(jobs) in [made_by(nodes[name], 1) for name in ("rep1", "rep2")]


def test_a_heavy_job_that_waits_for_nodes_that_are_gone_is_the_primarys(
    jobs: Jobs, queues: Queues, nodes: dict[str, Node]
):
    served(queues, "at-heavy")
    ends = "supervisorctl {} frappe-bench-at-heavy-worker:"
    try:
        for name in ("rep1", "rep2"):
            nodes[name].run(ends.format("stop"))
        # The nodes have reported a moment ago: the job is still queued for them.
        assert prepared(jobs) == made_by(nodes["erp1"], 0)
    finally:
        for name in ("rep1", "rep2"):
            nodes[name].run(ends.format("start"))
    served(queues, "at-heavy")
