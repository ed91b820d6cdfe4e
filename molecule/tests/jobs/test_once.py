"""Each scheduled job runs once a period, whatever happens to workers and servers meanwhile."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import BENCH, Jobs, served
from nodes import Node, wait_until

from benchfleet import lab as machines
from benchfleet import state

METHODS = ("frappe.demo.count_stock", "frappe.demo.close_books", "frappe.demo.send_digest")
PERIOD = 300
PERIODS = 7
# A period lasts 25 s: longer than the primary needs to take the jobs of a server that is away.
SPEED = 12
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


def configure(nodes: dict[str, Node], **values: Any) -> None:
    """Set keys of the common configuration on every host; None removes one."""
    script = EDIT.format(path=CONFIG, values=values)
    for node in nodes.values():
        node.run(f"python3 - <<'END'\n{script}\nEND")


@pytest.fixture
def fast(nodes: dict[str, Node], jobs: Jobs) -> Iterator[float]:
    """The site's clock runs SPEED times faster; when that began, in seconds of the epoch."""
    start = time.time()
    configure(nodes, demo_clock_start=start, demo_clock_speed=SPEED, scheduler_tick_interval=1)
    yield start
    configure(nodes, demo_clock_start=None, demo_clock_speed=None, scheduler_tick_interval=None)
    jobs.sql("UPDATE `tabScheduled Job Type` SET last_execution = NOW(6)")


def test_each_scheduled_job_runs_once_a_period(
    fast: float, jobs: Jobs, nodes: dict[str, Node], lab: state.Lab, told: Callable[..., Any]
):
    def now() -> float:
        """Seconds of the epoch by the site's clock."""
        return fast + (time.time() - fast) * SPEED

    first = math.ceil(now() / PERIOD) + 1
    last = first + PERIODS

    def into(period: int, share: float) -> None:
        """Wait for a moment of a period."""
        wait_until(f"period {period}", lambda: now() >= (period + share) * PERIOD, 600)

    into(first + 1, 0.7)
    for name in nodes:
        nodes[name].run(
            "supervisorctl status | awk '/-worker/ {print $1}' | xargs supervisorctl restart", 120
        )
    into(first + 2, 0.7)
    # One that has no time to say anything.
    nodes["rep1"].run(
        "kill -9 $(supervisorctl pid frappe-bench-placed-worker:"
        "frappe-bench-frappe-placed-worker-0)"
    )
    into(first + 3, 0.7)
    wait_until("rep2 is at leisure", lambda: told()["queues"]["at-rep2"]["running"] == 0)
    machines.kill(lab, lab.host("rep2"))
    try:
        into(first + 5, 0.7)
    finally:
        machines.start(lab, lab.host("rep2"))
    served(told, "at-rep2")
    into(last, 0.5)
    runs = jobs.sql(
        "SELECT method, UNIX_TIMESTAMP(creation), server FROM `tabDemo Run`"
        f" WHERE method IN {METHODS} ORDER BY creation"
    )
    shown = json.dumps(runs, indent=0)
    times = Counter((method, int(float(at) // PERIOD)) for method, at, _ in runs)
    wanted = {(method, period): 1 for method in METHODS for period in range(first, last)}
    assert {place: times[place] for place in wanted} == wanted, shown
    done_by = {method: Counter(s for m, _, s in runs if m == method) for method in METHODS}
    # Its worker was started anew twice, which may take longer than the scenario's bound.
    assert done_by["frappe.demo.count_stock"]["erp1"] <= 2, shown
    assert done_by["frappe.demo.count_stock"]["rep1"] >= PERIODS - 2, shown
    assert set(done_by["frappe.demo.close_books"]) == {"rep2", "erp1"}, shown
