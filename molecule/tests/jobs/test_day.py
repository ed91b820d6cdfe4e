"""Each scheduled job runs once per period, whatever happens to workers and servers meanwhile.

All tests that wait for periods, or for a server to count as away, share this one day.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from conftest import BENCH, PLACEMENT, Jobs, Queues, programs, served
from nodes import Node, wait_until

from benchfleet.lab import machines, state

HOMES = {"frappe.demo.count_stock": "rep1", "frappe.demo.close_books": "rep2"}
DIGEST = "frappe.demo.send_digest"
METHODS = (*HOMES, DIGEST)
READ = "frappe.demo.job_read_file"
PERIOD = 300
# A period lasts 20 s: longer than the primary needs to take the jobs of a server that is away.
SPEED = 15
CONFIG = f"{BENCH}/sites/common_site_config.json"
EDIT = """
import json, os
path = {path!r}
values = json.load(open(path))
for key, value in {values!r}.items():
    values.pop(key, None)
    if value is not None:
        values[key] = value
with open(path + ".new", "w") as out:
    json.dump(values, out, indent=1, sort_keys=True)
os.chmod(path + ".new", os.stat(path).st_mode)
os.chown(path + ".new", os.stat(path).st_uid, os.stat(path).st_gid)
os.replace(path + ".new", path)
"""


def configure(nodes: dict[str, Node], **values: float | None) -> None:
    """Set keys of the common configuration on every host; None removes one."""
    script = EDIT.format(path=CONFIG, values=values)
    for node in nodes.values():
        node.run(f"python3 - <<'END'\n{script}\nEND")


@dataclass
class Clock:
    """The site's clock, which has run SPEED times faster than ours since a time of the epoch."""

    start: float = field(default_factory=time.time)

    def period(self) -> float:
        """The period of now, by the site's clock; 7.5 is the middle of the one after 6."""
        return (self.start + (time.time() - self.start) * SPEED) / PERIOD

    def into(self, period: float) -> None:
        """Wait for a moment."""
        wait_until(f"period {period}", lambda: self.period() >= period, 600)


@pytest.fixture
def clock(nodes: dict[str, Node], jobs: Jobs) -> Iterator[Clock]:
    """The site's clock runs fast."""
    found = Clock()
    configure(
        nodes, demo_clock_start=found.start, demo_clock_speed=SPEED, scheduler_tick_interval=1
    )
    yield found
    configure(nodes, demo_clock_start=None, demo_clock_speed=None, scheduler_tick_interval=None)
    jobs.sql("UPDATE `tabScheduled Job Type` SET last_execution = NOW(6)")


def scheduled(jobs: Jobs) -> list[tuple[str, float, str]]:
    """Runs of the scheduled jobs: method, period and its part, server."""
    rows = jobs.sql(
        "SELECT method, UNIX_TIMESTAMP(creation), server FROM `tabDemo Run`"
        f" WHERE method IN {METHODS} ORDER BY creation"
    )
    return [(method, float(at) / PERIOD, server) for method, at, server in rows]


def ran_at_home(jobs: Jobs, period: int) -> bool:
    """Whether all jobs have run in a period, those that are placed on one node on that node."""
    seen = {method: server for method, at, server in scheduled(jobs) if int(at) == period}
    return set(seen) == set(METHODS) and HOMES.items() <= seen.items()


def restart_workers(nodes: dict[str, Node]) -> None:
    """Restart as an operator does: all of the primary's bench, and the nodes' workers."""
    before = programs(nodes)["erp1"]
    words = "supervisorctl status | awk '/-worker/ {print $1}' | xargs supervisorctl restart"
    with ThreadPoolExecutor(3) as pool:
        all_of_it = f"runuser -u frappe -- sh -c 'cd {BENCH} && bench restart'"
        done = [pool.submit(nodes["erp1"].run, all_of_it, 120)]
        done += [pool.submit(nodes[name].run, words, 120) for name in ("rep1", "rep2")]
    for one in done:
        one.result()
    after = programs(nodes)["erp1"]
    assert set(after) == set(before)
    same = {program for program in after if set(after[program]) & set(before[program])}
    assert same == {"frappe-bench-redis"}


def rep1_is_lost(jobs: Jobs, queues: Queues, lab: state.Lab, clock: Clock) -> tuple[float, float]:
    """Cut rep1's power: the primary takes its jobs after the bound, and later ones at once.

    Returns the periods between which it was off; it is back.
    """
    bound = PLACEMENT["jobs_away_seconds"]
    token, url = jobs.write()
    assert jobs.done(token) == "rep1"
    begun, _ = jobs.write(seconds=60)
    wait_until("it runs", lambda: queues()["at-rep1"]["running"] == 1)
    waiting = [jobs.queue(READ, file_url="/x") for _ in range(3)]
    machines.kill(lab, lab.host("rep1"))
    cut, off = time.monotonic(), clock.period()
    try:
        assert [jobs.done(token) for token in waiting] == ["erp1"] * 3
        # The node's workers had reported a moment before.
        assert time.monotonic() - cut > bound - 2, "taken before the bound"
        assert "the primary takes its jobs" in queues()["at-rep1"]["state"]

        def is_taken_at_once() -> bool:
            """Whether a job that is queued now is done before the bound could have passed."""
            queued = time.monotonic()
            assert jobs.where(READ, file_url="/x") == "erp1"
            return time.monotonic() - queued < bound

        wait_until("later jobs need not wait for the bound again", is_taken_at_once)
        # The job that was cut off no longer counts as running: a scheduled one would be due again.
        assert queues()["at-rep1"]["running"] == 0
        # The file that a job had made there can still be read.
        answer = jobs.somebody.visitor.call("GET", url)
        assert answer.text == f"content of {url.rpartition('/')[2]}"
        # A fast machine comes to here within the period of the loss, whose digest has been sent.
        wait_until(
            "the group's job runs while rep1 is off",
            lambda: any(name == DIGEST and at > off for name, at, _ in scheduled(jobs)),
        )
    finally:
        on = clock.period()
        machines.start(lab, lab.host("rep1"))
    served(queues, "at-rep1")
    assert jobs.where(READ, file_url="/x") == "rep1"
    assert [len(jobs.servers(token)) for token in waiting] == [1] * 3
    assert jobs.servers(begun) == []
    return off, on


def test_each_scheduled_job_runs_once_a_period(
    clock: Clock,
    jobs: Jobs,
    nodes: dict[str, Node],
    queues: Queues,
    lab: state.Lab,
):
    def whole(after: float) -> int:
        """The period of now, if it began after another and all jobs of it have run."""
        now = int(clock.period())
        return now if now > after and ran_at_home(jobs, now) else 0

    restarts = wait_until("all jobs run", lambda: whole(0))
    restart_workers(nodes)
    # When a restart takes longer than a period, its jobs may not have been queued.
    missed = range(restarts + 1, int(clock.period()) + 1)
    killed = wait_until("the nodes work again", lambda: whole(restarts))
    # A worker that is killed without a chance to report.
    nodes["rep2"].run(
        "kill -9 $(supervisorctl pid frappe-bench-placed-worker:"
        "frappe-bench-frappe-placed-worker-0)"
    )
    off, on = rep1_is_lost(jobs, queues, lab, clock)

    last = math.ceil(clock.period())
    clock.into(last + 0.9)
    runs = scheduled(jobs)
    shown = "\n".join(map(str, runs))
    times = Counter((method, int(at)) for method, at, _ in runs)
    periods = range(restarts, last + 1)
    seen = {(method, period): times[method, period] for method in METHODS for period in periods}
    for (method, period), number in seen.items():
        assert number == 1 or (number == 0 and period in missed), (method, period, shown)
    for method, home in HOMES.items():
        done_by = {int(at): server for name, at, server in runs if name == method}
        assert {done_by[period] for period in (restarts, killed, last)} == {home}, shown
        assert set(done_by.values()) <= {home, "erp1"}, shown
    # The group is served as long as one of its nodes is up.
    assert {server for name, at, server in runs if name == DIGEST and off < at < on} == {"rep2"}
