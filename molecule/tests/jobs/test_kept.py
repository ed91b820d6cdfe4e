"""Waiting jobs and their workers, when a process is killed or a file of the queue is damaged."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from conftest import BENCH, Jobs, Queues, new_token, served
from nodes import UNITS, Node, wait_until

from benchfleet.lab import state

MANY = 2000
FILES = f"{BENCH}/config/pids"
PROGRAM = "frappe-bench-redis:frappe-bench-redis-queue"
WORKERS = ("frappe-bench-long-default-short-worker:*", "frappe-bench-short-default-worker:*")
# Much quicker than as many calls.
ENQUEUE = f"""
import frappe
frappe.init(site={state.SITE!r}, sites_path=".")
frappe.connect()
for number in range({MANY}):
    frappe.enqueue("frappe.demo.record_job", token={{token!r}})
frappe.destroy()
"""
# By the common part of their command lines.
KINDS = ("redis-server", "gunicorn", "worker", "schedule", "socketio")


class Queue:
    """The queue's Redis on the primary, whose general workers have been stopped."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.node = jobs, jobs.primary
        config = json.loads(self.node.run(f"cat {BENCH}/sites/common_site_config.json"))
        url = urlsplit(config["redis_queue"])
        self.client = f"REDISCLI_AUTH={url.password} redis-cli --user {url.username} -p {url.port}"
        self.key = f"rq:queue:{config['bench_id']}:default"

    def ask(self, words: str) -> str:
        """Redis' answer, "" for none."""
        return self.node.says(f"{self.client} {words}")

    def waiting(self) -> list[str]:
        """Ids of the jobs that wait, in their order."""
        return self.ask(f"LRANGE {self.key} 0 -1").splitlines()

    def fill(self) -> list[str]:
        """Queue many jobs; returns the ids of those that wait."""
        script = shlex.quote(ENQUEUE.format(token=new_token()))
        self.node.run(f"cd {BENCH}/sites && runuser -u frappe -- ../env/bin/python -c {script}")
        found = self.waiting()
        assert len(found) >= MANY
        return found

    def drop(self) -> None:
        """Remove all waiting jobs."""
        self.ask(f"DEL {self.key}")

    def pid(self) -> str:
        """Process id of the server."""
        return self.node.says(f"supervisorctl pid {PROGRAM}")

    def back(self, before: str) -> None:
        """Wait until another process answers."""
        wait_until("Redis is back", lambda: self.pid() != before and self.ask("PING") == "PONG")

    def kill(self) -> None:
        """Kill it with SIGKILL; returns when it is back."""
        before = self.pid()
        self.node.run(f"kill -9 {before}")
        self.back(before)

    def refused(self) -> list[str]:
        """Folders with files that Redis refused."""
        return self.node.run(f"find {FILES} -name 'refused-*'").split()


@pytest.fixture
def queue(jobs: Jobs, queues: Queues) -> Iterator[Queue]:
    """The queue with its workers stopped; at the end every worker does a job."""
    found = Queue(jobs)
    found.node.run(f"supervisorctl stop {' '.join(WORKERS)}")
    try:
        yield found
    finally:
        found.drop()
        found.node.run(f"rm -rf {FILES}/refused-*; supervisorctl start {' '.join(WORKERS)}")
        served(queues, "short", "default", "long", "at-rep1", "at-rep2")
        assert jobs.where("frappe.demo.record_job") == "erp1"


def state_of(primary: Node, fleet_command: Callable[..., str]) -> str:
    """The primary's status by ./fleet status, as it is now."""
    primary.measure()
    rows = json.loads(fleet_command("status", "--json", fine=False))["status"]
    return next(row["state"] for row in rows if row["host"] == "erp1")


def test_no_job_is_lost_when_redis_is_killed(queue: Queue):
    before = queue.fill()
    queue.kill()
    assert queue.waiting()[: len(before)] == before
    assert queue.refused() == []


def test_nothing_is_lost_on_the_way_from_a_snapshot_to_append_only(queue: Queue):
    before = queue.fill()
    queue.node.run(f"supervisorctl stop {PROGRAM}; rm -r {FILES}/appendonlydir")
    queue.node.run(f"supervisorctl start {PROGRAM}")
    queue.back("")
    queue.kill()
    assert queue.waiting()[: len(before)] == before


def test_changes_with_garbage_at_their_end_are_mended_and_kept(
    queue: Queue, fleet_command: Callable[..., str]
):
    before = queue.fill()
    queue.node.run(f"head -c 300 /dev/urandom >>$(ls {FILES}/appendonlydir/*.incr.aof)")
    queue.kill()
    assert queue.waiting()[: len(before)] == before
    (place,) = queue.refused()
    log = queue.node.run(f"tail -1 {BENCH}/logs/redis-queue.error.log")
    assert f"Redis refused {FILES}/appendonlydir" in log
    assert f"{place}/jobs.txt" in log
    assert queue.node.run(f"ls {place}/appendonlydir/*.incr.aof")
    wait_until("status names the files", lambda: place in state_of(queue.node, fleet_command))
    queue.node.run(f"rm -r {place}")
    wait_until("status names nothing", lambda: place not in state_of(queue.node, fleet_command))


def test_a_snapshot_that_ends_too_early_does_not_keep_redis_away(queue: Queue):
    before = queue.fill()
    queue.node.run(f"supervisorctl stop {PROGRAM}; rm -r {FILES}/appendonlydir")
    queue.node.run(f"truncate -s 500K {FILES}/redis_queue.rdb; supervisorctl start {PROGRAM}")
    queue.back("")
    assert not set(before) & set(queue.waiting())
    (place,) = queue.refused()
    named = queue.node.run(f"cat {place}/jobs.txt").splitlines()
    assert f"Redis refused {FILES}/redis_queue.rdb" in named[0]
    # The other jobs were after the damage.
    assert {line.split()[0] for line in named[1:]} & set(before)


def test_nothing_but_garbage_does_not_keep_redis_away(queue: Queue, queues: Queues):
    queue.fill()
    queue.node.run(
        f"supervisorctl stop {PROGRAM};"
        f" for file in {FILES}/appendonlydir/* {FILES}/redis_queue.rdb;"
        f" do head -c 5000 /dev/urandom >$file; done; supervisorctl start {PROGRAM}"
    )
    queue.back("")
    assert queue.refused()
    # Redis has lost its records of the nodes' workers, which keep running.
    wait_until(
        "they are known again",
        lambda: (
            [queues()[f"at-{name}"]["hosts"] for name in ("rep1", "rep2")] == [["rep1"], ["rep2"]]
        ),
    )


def counts(node: Node) -> dict[str, int]:
    """How many processes of each kind run for the bench."""
    lines = node.says("ps -u frappe -o args=").splitlines()
    return {kind: sum(kind in line for line in lines) for kind in KINDS}


def whole(node: Node, before: dict[str, int]) -> bool:
    """Whether all of supervisor's programs run, each once."""
    states = [line.split()[1] for line in node.says("supervisorctl status").splitlines()]
    return bool(states) and set(states) == {"RUNNING"} and counts(node) == before


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_killed_comes_back_and_each_program_runs_once(
    unit: str, jobs: Jobs, queues: Queues, nodes: dict[str, Node]
):
    for name in ("erp1", "rep1"):
        node = nodes[name]
        if unit == "nginx" and name != "erp1":
            continue
        before = counts(node)
        ask = f"systemctl show {unit} -p MainPID --value"
        old = node.run(ask)
        node.run(f"kill -9 {old}")
        wait_until(
            f"{unit} of {name} is back",
            lambda node=node, gone=("", "0", old), ask=ask: node.says(ask) not in gone,
        )
        wait_until(
            f"each program of {name} runs once",
            lambda node=node, before=before: whole(node, before),
        )
    wait_until(
        "the site answers",
        lambda: jobs.somebody.visitor.call("GET", "/api/method/ping").status == 200,
    )
    served(queues, "short", "default", "long", "at-rep1", "at-rep2")
    assert jobs.where("frappe.demo.record_job") == "erp1"
