"""Changes of settings: numbers of workers, the map of jobs, what is done when a server is away."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from conftest import BENCH, Checks, Jobs, Queues, back, programs
from nodes import Node, wait_until
from plays import Run

from benchfleet.lab import machines, state

READ, RECORD, BOOKS = (
    f"frappe.demo.{name}" for name in ("job_read_file", "record_job", "close_books")
)
GATE = "/usr/local/lib/benchfleet/sync-gate"
STARTUP = f"{BENCH}/env/lib/python3*/site-packages/benchfleet.pth"
# Nothing is placed on rep2 any more.
SETTINGS = {
    "jobs_placement": {RECORD: "rep1", "frappe.demo.count_stock": "rep1"},
    "jobs_when_away": "wait",
    "bench_background_workers": (
        "{{ {'long,default,short': 2, 'short,default': 3} if inventory_hostname == 'erp1'"
        " else {'placed': 2 if inventory_hostname == 'rep1' else 1} }}"
    ),
    "bench_web_workers": "{{ 3 if inventory_hostname == 'rep2' else 4 }}",
}
Programs = dict[str, dict[str, list[str]]]


@dataclass
class Changed:
    """Supervisor's programs before and after, and the runs that BOOKS had before."""

    before: Programs
    after: Programs
    known: dict[str, str]


@pytest.fixture(scope="module")
def changed(jobs: Jobs, nodes: dict[str, Node], benches: Callable[..., Run]) -> Changed:
    """The settings are changed while a job waits for rep2."""
    before = programs(nodes)
    nodes["rep2"].run("supervisorctl stop frappe-bench-placed-worker:", 120)
    known = jobs.runs(BOOKS)
    jobs.enqueue(BOOKS)
    benches(**SETTINGS)
    return Changed(before, programs(nodes), known)


def test_a_program_whose_count_changed_is_restarted_and_no_other(changed: Changed):
    before = changed.before
    # The standby has a copy of the queue.
    assert set(before["rep1"]) == {
        "frappe-bench-web",
        "frappe-bench-placed-worker",
        "frappe-bench-at-heavy-worker",
        "frappe-bench-redis",
    }
    seen = {
        (host, program): (len(before[host].get(program, ())), len(pids))
        for host, found in changed.after.items()
        for program, pids in found.items()
        if pids != before[host].get(program)
    }
    # The map has changed as well, which restarts no web worker.
    assert seen == {
        ("erp1", "frappe-bench-short-default-worker"): (1, 3),
        ("rep1", "frappe-bench-placed-worker"): (1, 2),
        # gunicorn is one program, whatever its number of processes.
        ("rep2", "frappe-bench-web"): (1, 1),
    }


def test_a_change_of_the_map_holds_at_once(changed: Changed, jobs: Jobs, nodes: dict[str, Node]):
    read, record = jobs.queue(READ, file_url="/x"), jobs.queue(RECORD)
    assert (jobs.done(read), jobs.done(record)) == ("erp1", "rep1")
    config = json.loads(nodes["rep2"].run(f"cat {BENCH}/sites/common_site_config.json"))
    assert set(config["workers"]) == {"at-rep1", "at-heavy"}


def test_jobs_of_a_server_where_nothing_is_placed_any_more_do_not_stay_behind(
    changed: Changed, jobs: Jobs
):
    runs = wait_until("it is done", lambda: jobs.runs(BOOKS).items() - changed.known.items())
    assert {server for _, server in runs} == {"erp1"}


@pytest.mark.usefixtures("changed")
def test_jobs_wait_where_the_operator_wants_them_to_and_verify_says_what_is_wrong(
    jobs: Jobs,
    queues: Queues,
    proved: Callable[..., Checks],
    nodes: dict[str, Node],
    lab: state.Lab,
):
    machines.kill(lab, lab.host("rep1"))
    try:
        token = jobs.queue(RECORD)
        words = "its jobs wait"
        wait_until("it waits", lambda: words in queues()["at-rep1"]["state"])
        # No jobs are placed, and no file can be taken to the primary.
        nodes["erp1"].run(f"for f in {STARTUP}; do mv $f $f.away; done; chmod -x {GATE}")
        try:
            checks = proved(**SETTINGS)
        finally:
            mended = f"for f in {STARTUP}.away; do mv $f ${{f%.away}}; done; chmod +x {GATE}"
            nodes["erp1"].run(mended)
        assert jobs.servers(token) == []
    finally:
        back(lab, queues, "rep1")
    assert jobs.done(token) == "rep1"
    seen = {place: check["saw"] for place, check in checks.items() if not check["ok"]}
    # A scheduled job may wait there, too.
    assert re.search(rf"at-rep1: [12] jobs, away for \d+ s; {words}", seen["waiting", "erp1"])
    assert f"{RECORD}: done on erp1" in seen["placed", "erp1"]
    assert "from rep2 to the primary" in seen["file_kept", "rep2"]
