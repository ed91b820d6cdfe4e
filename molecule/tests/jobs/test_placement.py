"""A placed job is done on its server, whoever queues it, and all others on the primary."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from conftest import BENCH, Jobs, new_token
from nodes import Node, wait_until

from benchfleet import state

GENERATE = "frappe.core.doctype.prepared_report.prepared_report.generate_report"


def test_placed_jobs_run_on_their_servers_and_others_on_the_primary(jobs: Jobs):
    assert jobs.where("frappe.demo.job_read_file", file_url="/private/files/none") == "rep1"
    assert {
        jobs.where("frappe.demo.record_job", queue=q) for q in ("short", "default", "long")
    } == {"erp1"}


def test_a_job_is_placed_whatever_program_queues_it(jobs: Jobs, nodes: dict[str, Node]):
    code = "import frappe; frappe.enqueue('frappe.demo.job_read_file', token={!r}, file_url='/x'); "
    for name in ("erp1", "rep2"):
        token = new_token()
        script = (
            f"import frappe; frappe.init(site={state.SITE!r}, sites_path='.'); frappe.connect(); "
        )
        script += code.format(token) + "frappe.db.commit()"
        words = f"cd {BENCH}/sites && ../env/bin/python -c {shlex.quote(script)}"
        nodes[name].run(f"runuser -u frappe -- sh -c {shlex.quote(words)}")
        assert jobs.done(token) == "rep1"


def test_a_job_that_waits_for_the_commit_is_placed_too(jobs: Jobs):
    answer = jobs.somebody.visitor.call(
        "POST",
        "/api/method/frappe.core.doctype.prepared_report.prepared_report.make_prepared_report",
        form={"report_name": "Where", "filters": "{}"},
    )
    assert answer.status == 200, answer.said()
    name = answer.body["message"]["name"]
    query = f"SELECT status FROM `tabPrepared Report` WHERE name = '{name}'"
    wait_until("the report is made", lambda: jobs.sql(query) == [["Completed"]], 30)


def test_the_command_shows_the_map_in_force_and_the_queues(told: Callable[..., Any]):
    found = told()
    placed = {entry["job"]: entry["server"] for entry in found["placement"]}
    assert placed["frappe.demo.job_*"] == placed[GENERATE] == "rep1"
    assert placed["frappe.demo.send_digest"] == "reporting"
    queues = found["queues"]
    assert {q: (queues[q]["workers"], queues[q]["hosts"]) for q in queues} == {
        "short": (3, ["erp1"]),
        "default": (3, ["erp1"]),
        "long": (2, ["erp1"]),
        "at-rep1": (1, ["rep1"]),
        "at-rep2": (1, ["rep2"]),
        "at-reporting": (2, ["rep1", "rep2"]),
    }


def test_what_waits_is_counted_and_aged(jobs: Jobs, told: Callable[..., Any]):
    token = new_token()
    # The one worker of rep1 is kept busy by the first.
    for seconds in (8, 0, 0):
        arguments = {"file_name": f"{token}.txt", "content": "x", "seconds": seconds}
        jobs.enqueue("frappe.demo.job_write_file", token=token, **arguments)
    row = told()["queues"]["at-rep1"]
    # A scheduled one may have come to wait there, too.
    assert (row["length"] in (2, 3), row["running"]) == (True, 1)
    assert 0 < row["oldest_seconds"] < 30
    wait_until("all are done", lambda: len(jobs.servers(token)) == 3, 30)


def test_a_change_of_the_map_holds_at_once_and_restarts_no_web_worker(
    jobs: Jobs, site: Callable[..., Any], nodes: dict[str, Node]
):
    web = "supervisorctl pid frappe-bench-web:frappe-bench-frappe-web"
    before = {name: node.run(web) for name, node in nodes.items()}
    moved = {"frappe.demo.job_*": "rep2", "frappe.demo.record_job": "rep1"}
    try:
        run = site(jobs_placement=moved)
        assert {name: node.run(web) for name, node in nodes.items()} == before, run.changes
        assert jobs.where("frappe.demo.job_read_file", file_url="/x") == "rep2"
        assert jobs.where("frappe.demo.record_job") == "rep1"
        workers = json.loads(nodes["rep2"].run(f"cat {BENCH}/sites/common_site_config.json"))
        assert set(workers["workers"]) == {"at-rep1", "at-rep2"}
    finally:
        site()
    assert jobs.where("frappe.demo.job_read_file", file_url="/x") == "rep1"
