"""doctor names the cause of what was broken by hand, and mends what is safe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nodes import Node

BENCH = "/home/frappe/frappe-bench"
COMMON = f"{BENCH}/sites/common_site_config.json"
NGINX = "/etc/nginx/conf.d/zz-broken.conf"
WORKER = "frappe-bench-at-heavy-worker:*"
ACCOUNT = "'doctor'@'localhost'"
QUEUE = "rq:queue:nobody:orphan"
# The site's account of the queue, whose name and password are in the bench's configuration.
REDIS = 'redis-cli -u $(python3 -c \'import json; print(json.load(open("{}"))["redis_queue"])\')'
MENDED = {("rep1", "service_down"), ("rep1", "firewall_gone"), ("rep1", "program_stopped")}
LEFT = {
    ("erp1", "nginx_config"),
    ("erp1", "queue_orphan"),
    ("rep1", "account_differs"),
    ("rep1", "scheduler_on_node"),
    ("rep2", "apps_differ"),
    ("rep2", "config_torn"),
    ("rep2", "primary_refuses"),
}


@pytest.fixture
def broken(nodes: dict[str, Node]) -> Iterator[None]:
    """Break ten things, and mend them at the end."""
    primary, one, two = (nodes[name] for name in ("erp1", "rep1", "rep2"))
    for node in (one, two):
        node.run("/usr/local/lib/benchfleet/site-sync --wait 60")
    redis = REDIS.format(COMMON)
    password = two.run("sed -n 6p /var/lib/mysql/master.info")
    primary.run(f"echo 'broken on;' >{NGINX}")
    primary.run(f"{redis} SADD rq:queues {QUEUE} && {redis} RPUSH {QUEUE} job")
    one.run("systemctl stop cron && nft delete table inet benchfleet")
    one.run(f"supervisorctl stop '{WORKER}'")
    one.run(
        "systemd-run --quiet --unit second-scheduler --uid frappe"
        f" --working-directory {BENCH}/sites {BENCH}/env/bin/python"
        " -m frappe.utils.bench_helper frappe schedule"
    )
    one.sql(f"SET sql_log_bin = 0; CREATE USER {ACCOUNT}")
    primary.sql(f"CREATE USER {ACCOUNT}")
    two.run(f"echo >>{BENCH}/apps/frappe/pyproject.toml")
    two.run(f"cp -p {COMMON} /root/ && echo '{{' >{COMMON}")
    two.sql("STOP SLAVE; CHANGE MASTER TO MASTER_PASSWORD = 'wrong'; START SLAVE")
    yield
    primary.run(f"rm {NGINX}; {redis} DEL {QUEUE}; {redis} SREM rq:queues {QUEUE}")
    one.run("systemctl stop second-scheduler")
    one.sql(f"SET sql_log_bin = 0; DROP USER {ACCOUNT}; START SLAVE")
    primary.sql(f"DROP USER {ACCOUNT}")
    two.run(f"git -c safe.directory=* -C {BENCH}/apps/frappe checkout pyproject.toml")
    two.run(f"cp -p /root/common_site_config.json {COMMON}")
    secret = json.dumps(password)
    two.sql(f"STOP SLAVE; CHANGE MASTER TO MASTER_PASSWORD = {secret}; START SLAVE")


def named(output: str) -> set[tuple[str, str]]:
    """The causes in the output of the playbook, as (host, id)."""
    return set(re.findall(r"(erp1|rep1|rep2): (?:(?!\(id: ).)*?\(id: (\w+)\)", output))


@pytest.mark.usefixtures("broken")
def test_each_cause_is_named_and_what_is_safe_is_mended(
    play: Callable[..., Any], nodes: dict[str, Node]
):
    assert named(play("playbooks/doctor.yml", fails=True).output) == LEFT | MENDED
    mending = ("--limit", "rep1", "-e", "doctor_fix=true")
    mended = play("playbooks/doctor.yml", *mending, fails=True)
    assert named(mended.output) == {cause for cause in LEFT if cause[0] == "rep1"}
    assert nodes["rep1"].run("systemctl is-active cron") == "active"
