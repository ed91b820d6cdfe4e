"""A server with placed jobs goes away: its jobs are done by the primary after a bound, or wait."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from conftest import Jobs, new_token, served
from nodes import Node, wait_until

from benchfleet import lab as machines
from benchfleet import state

READ = "frappe.demo.job_read_file"
# The bound of the scenario, what a worker's and the primary's beat add, and a slow machine.
BOUND = 10 + 2 * 2 + 8


def read(jobs: Jobs) -> str:
    """Queue a job for rep1; returns its token."""
    token = new_token()
    jobs.enqueue(READ, token=token, file_url="/x")
    return token


def test_the_primary_takes_the_jobs_after_the_bound_and_gives_them_back(
    jobs: Jobs,
    away: Callable[[str], None],
    told: Callable[..., Any],
    nodes: dict[str, Node],
    lab: state.Lab,
):
    begun = new_token()
    arguments = {"file_name": f"{begun}.txt", "content": "x", "seconds": 40}
    jobs.enqueue("frappe.demo.job_write_file", token=begun, **arguments)
    wait_until("it runs", lambda: told()["queues"]["at-rep1"]["running"] == 1)
    waiting = [read(jobs) for _ in range(3)]
    away("rep1")
    cut = time.monotonic()
    assert [jobs.done(token, BOUND) for token in waiting] == ["erp1"] * 3
    assert time.monotonic() - cut > 8, "taken before the bound"
    assert "the primary takes its jobs" in told()["queues"]["at-rep1"]["state"]
    # What comes later need not wait for the bound again.
    later = time.monotonic()
    assert jobs.done(read(jobs)) == "erp1"
    assert time.monotonic() - later < 8
    # The one that was cut off counts as running no more: a scheduled one would be due again.
    assert told()["queues"]["at-rep1"]["running"] == 0
    machines.start(lab, lab.host("rep1"))
    served(told, "at-rep1")
    assert jobs.done(read(jobs)) == "rep1"
    assert [len(jobs.servers(token)) for token in waiting] == [1] * 3
    assert jobs.servers(begun) == []


def test_jobs_that_are_queued_after_the_cable_was_pulled_are_taken_too(
    jobs: Jobs, told: Callable[..., Any], lab: state.Lab
):
    # Nobody tells Redis: to it, the node's worker is waiting for jobs, and is given the first one.
    wait_until("rep1 is at leisure", lambda: told()["queues"]["at-rep1"]["running"] == 0)
    machines.cut(lab, lab.host("rep1"))
    try:
        tokens = [read(jobs) for _ in range(3)]
        assert [jobs.done(token, BOUND) for token in tokens] == ["erp1"] * 3
    finally:
        machines.heal(lab, lab.host("rep1"))
        served(told, "at-rep1")
    # By now the worker has got what Redis had for it: it does none of them again.
    assert jobs.done(read(jobs)) == "rep1"
    assert [len(jobs.servers(token)) for token in tokens] == [1] * 3


def test_a_group_is_there_as_long_as_one_of_its_hosts_is(
    jobs: Jobs, away: Callable[[str], None], told: Callable[..., Any]
):
    away("rep1")
    method = "frappe.demo.send_digest"
    known = jobs.runs(method)
    time_up = time.monotonic() + BOUND
    while time.monotonic() < time_up:
        before = jobs.runs(method)
        jobs.enqueue(method)
        wait_until("the digest is sent", lambda before=before: jobs.runs(method) != before, 30)
    # The scheduler's own are among them.
    assert {server for name, server in jobs.runs(method).items() if name not in known} == {"rep2"}
    assert told()["queues"]["at-reporting"]["state"] == "served"


def test_jobs_wait_where_the_operator_wants_them_to_and_verify_says_so(
    jobs: Jobs,
    away: Callable[[str], None],
    told: Callable[..., Any],
    verify: Callable[..., Any],
    site: Callable[..., Any],
    lab: state.Lab,
):
    site(jobs_when_away="wait")
    try:
        away("rep1")
        token = read(jobs)
        words = "its jobs wait"
        wait_until("it waits", lambda: words in told()["queues"]["at-rep1"]["state"], BOUND)
        check = verify()["waiting", "erp1"]
        assert not check["ok"]
        # A scheduled one may have come to wait there, too.
        assert re.search(r"at-rep1: [12] jobs, away for \d+ s; its jobs wait", check["saw"])
        assert jobs.servers(token) == []
        machines.start(lab, lab.host("rep1"))
        assert jobs.done(token, 60) == "rep1"
    finally:
        machines.start(lab, lab.host("rep1"))
        served(told, "at-rep1")
        site()


def test_jobs_of_a_server_where_nothing_is_placed_any_more_do_not_stay_behind(
    jobs: Jobs, nodes: dict[str, Node], site: Callable[..., Any]
):
    nodes["rep1"].run("supervisorctl stop frappe-bench-placed-worker:", 60)
    token = read(jobs)
    try:
        site(jobs_placement={"frappe.demo.close_books": "rep2"}, jobs_when_away="wait")
        assert jobs.done(token) == "erp1"
    finally:
        site()
