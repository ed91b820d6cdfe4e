"""A placed job runs on its server, whichever host queues it, and all others on the primary."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from typing import Any

from conftest import BENCH, Jobs, Queues, new_token
from nodes import Node, wait_until

from benchfleet.lab import state

GENERATE = "frappe.core.doctype.prepared_report.prepared_report.generate_report"


def test_placed_jobs_run_on_their_servers_and_others_on_the_primary(jobs: Jobs):
    placed = jobs.queue("frappe.demo.job_read_file", file_url="/private/files/none")
    others = [
        jobs.queue("frappe.demo.record_job", queue=name) for name in ("short", "default", "long")
    ]
    assert jobs.done(placed) == "rep1"
    assert {jobs.done(token) for token in others} == {"erp1"}


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


def test_the_command_shows_the_map_in_force_and_what_waits(
    jobs: Jobs, queues: Queues, fleet_command: Callable[..., str]
):
    hosts = {
        "short": (3, ["erp1"]),
        "default": (3, ["erp1"]),
        "long": (2, ["erp1"]),
        "at-rep1": (1, ["rep1"]),
        "at-rep2": (1, ["rep2"]),
        "at-reporting": (2, ["rep1", "rep2"]),
        "at-heavy": (2, ["rep1", "rep2"]),
    }

    def workers(rows: dict[str, dict[str, Any]]) -> dict[str, tuple[int, list[str]]]:
        return {name: (row["workers"], row["hosts"]) for name, row in rows.items()}

    # The workers of a server that was away come back one by one.
    wait_until("all workers are there", lambda: workers(queues()) == hosts)
    with jobs.held():
        begun = time.monotonic()
        # The one worker of rep1 is kept busy by the first.
        tokens = [jobs.queue("frappe.demo.job_read_file", file_url="/x") for _ in range(3)]
        wait_until("rep1 works", lambda: queues()["at-rep1"]["running"] == 1)
        told = json.loads(fleet_command("jobs", "--json"))
        seconds = time.monotonic() - begun
    placed = {entry["job"]: entry["server"] for entry in told["placement"]}
    assert placed["frappe.demo.job_*"] == "rep1"
    assert placed[GENERATE] == "any reporting node"
    assert placed["frappe.demo.send_digest"] == "reporting"
    rows = {row["queue"]: row for row in told["queues"]}
    assert workers(rows) == hosts
    # A scheduled job may wait there, too.
    assert (rows["at-rep1"]["length"] in (2, 3), rows["at-rep1"]["running"]) == (True, 1)
    # Times are stored without fractions of seconds.
    assert 0 < rows["at-rep1"]["oldest_seconds"] <= seconds + 1
    assert {jobs.done(token) for token in tokens} == {"rep1"}
