"""As many workers as the inventory says, for the queues that it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from conftest import BENCH
from nodes import Node


def programs(nodes: dict[str, Node]) -> dict[str, dict[str, list[str]]]:
    """Process ids of supervisor's programs on each host."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, node in nodes.items():
        own = found.setdefault(name, {})
        # Its status tells that a program is stopped, and ends with 3 then.
        for line in node.run("supervisorctl status || true").splitlines():
            process, pid = re.match(r"(\S+) +RUNNING +pid (\d+)", line).groups()  # type: ignore[union-attr]
            own.setdefault(process.split(":")[0], []).append(pid)
    return found


def test_a_changed_count_restarts_that_program_and_no_other(
    nodes: dict[str, Node], site: Callable[..., Any]
):
    before = programs(nodes)
    assert set(before["rep1"]) == {"frappe-bench-web", "frappe-bench-placed-worker"}
    workers = (
        "{{ {'long,default,short': 2, 'short,default': 3} if inventory_hostname == 'erp1'"
        " else {'placed': 2 if inventory_hostname == 'rep1' else 1} }}"
    )
    web = "{{ 3 if inventory_hostname == 'rep2' else 4 }}"
    try:
        site(bench_background_workers=workers, bench_web_workers=web)
        after = programs(nodes)
    finally:
        site()
    changed = {
        (host, program): (len(before[host].get(program, ())), len(pids))
        for host, found in after.items()
        for program, pids in found.items()
        if pids != before[host].get(program)
    }
    assert changed == {
        ("erp1", "frappe-bench-short-default-worker"): (1, 3),
        ("rep1", "frappe-bench-placed-worker"): (1, 2),
        # gunicorn is one program, whatever its number of processes.
        ("rep2", "frappe-bench-web"): (1, 1),
    }
    assert programs(nodes)["erp1"]["frappe-bench-redis"] == before["erp1"]["frappe-bench-redis"]


def test_the_bench_cli_restarts_all_of_them_but_redis(nodes: dict[str, Node]):
    before = programs(nodes)["erp1"]
    nodes["erp1"].run(f"runuser -u frappe -- sh -c 'cd {BENCH} && bench restart'", 120)
    after = programs(nodes)["erp1"]
    assert set(after) == set(before)
    same = {program for program in after if set(after[program]) & set(before[program])}
    assert same == {"frappe-bench-redis"}
