"""A server with placed jobs cannot be reached, and Redis does not notice."""

from __future__ import annotations

from conftest import Jobs, Queues, served
from nodes import wait_until

from benchfleet.lab import machines, state


def test_jobs_that_are_queued_after_the_cable_was_pulled_are_taken_too(
    jobs: Jobs, queues: Queues, lab: state.Lab
):
    # For Redis, the node's worker still waits for jobs, so Redis gives it the first one.
    wait_until("rep1 is at leisure", lambda: queues()["at-rep1"]["running"] == 0)
    machines.cut(lab, lab.host("rep1"))
    try:
        tokens = [jobs.queue("frappe.demo.job_read_file", file_url="/x") for _ in range(3)]
        assert [jobs.done(token) for token in tokens] == ["erp1"] * 3
    finally:
        machines.heal(lab, lab.host("rep1"))
        served(queues, "at-rep1")
    # By now the worker has got the jobs that Redis had for it: it does none of them again.
    assert jobs.where("frappe.demo.job_read_file", file_url="/x") == "rep1"
    assert [len(jobs.servers(token)) for token in tokens] == [1] * 3
