"""A second run, and a dry run on the finished hosts, change nothing and are cheap."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

BUDGET = 25


def test_second_run_stays_within_its_ssh_executions(lab: Any):
    counted = Counter(Path(os.environ["BENCHFLEET_SSH_COUNT"]).read_text().split())
    for host in lab.hosts:
        print(f"{host.name}: {counted[host.ip]} ssh executions")
        assert 0 < counted[host.ip] <= BUDGET
    assert sum(counted.values()) == sum(counted[host.ip] for host in lab.hosts)


def test_a_dry_run_on_finished_hosts_finds_nothing_to_change(play: Any, lab: Any, secrets: Any):
    run = play("--check", "--diff", "site.yml")
    assert {host.name for host in lab.hosts} <= set(run.recap)
    assert run.changes == []
    for host, numbers in run.recap.items():
        assert numbers["changed"] == numbers["failed"] == numbers["unreachable"] == 0, host
    for secret in (secrets["redis_admin_password"], secrets["mariadb_replication_password"]):
        assert secret not in run.output
