"""verify reports what was damaged by hand, and nothing else: one run of it, on all damage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import Somebody
from nodes import Node, wait_until
from plays import Run

SITE = "erp.lab.test"
BENCH = "/home/frappe/frappe-bench"
FRAPPE = f"{BENCH}/apps/frappe"
RESTART = "supervisorctl restart frappe-bench-web:"
BUNDLES = f"{FRAPPE}/frappe/public/dist/js/*.js"
LATE = "/etc/mysql/mariadb.conf.d/zz-late.cnf"
# A release of Frappe whose Database needs one more argument, which its own code passes.
OTHER_DATABASE = {
    "database/database.py": """
_stock = Database.__init__
def _told(self, tenant, *arguments, **given):
    _stock(self, *arguments, **given)
Database.__init__ = _told
""",
    "database/__init__.py": """
def get_db(socket=None, **given):
    from frappe.database.mariadb.database import MariaDBDatabase
    return MariaDBDatabase("somebody", **given)
""",
}
# Root's question to the queue's Redis of a host.
QUEUE = "REDISCLI_AUTH=$(cat /etc/benchfleet/redis/admin) redis-cli --user benchfleet -p 11000"
# The part of site.yml that reads the code of a reporting bench, and sums up.
SUMMED_UP = [f"playbooks/{name}.yml" for name in ("preflight", "reporting", "summary")]
MISFIT = "guard: in this bench's frappe.database.mariadb.database, MariaDBDatabase takes other"
# A heartbeat counts as fresh for five seconds, and verify could be quicker than that.
HEARTBEAT = "SELECT TIMESTAMPDIFF(SECOND, at, NOW(6)) FROM benchfleet.heartbeat"


@pytest.fixture(scope="module", autouse=True)
def other_frappe(nodes: dict[str, Node]) -> Iterator[None]:
    """The bench of rep1 runs a Frappe that the guard does not fit, and that is in no commit."""
    node = nodes["rep1"]
    for name, code in OTHER_DATABASE.items():
        node.run(f"cat >>{FRAPPE}/frappe/{name} <<'END'\n{code}END")
    node.run(RESTART)
    yield
    node.run(f"git -c safe.directory=* -C {FRAPPE} checkout frappe")
    node.run(RESTART)


@pytest.fixture(scope="module")
def damage(nodes: dict[str, Node]) -> Iterator[None]:
    """Damage one thing of each kind on rep1, stop replication on rep2, and repair it at the end."""
    primary, node, other = (nodes[name] for name in ("erp1", "rep1", "rep2"))
    # The hosts were just switched on: what they copied before is older than a minute.
    for one in (node, other):
        one.run("/usr/local/lib/benchfleet/site-sync --wait 60")
    config = json.loads(node.run(f"cat {BENCH}/sites/{SITE}/site_config.json"))
    database, reader = config["db_name"], config["replica_db_name"]
    assert config["replica_db_password"]
    account = f"'{reader}'@'{config['replica_host']}'"
    place = database.replace("_", "\\_")
    table = f"`{database}`.fleet_try"
    primary.sql(f"GRANT INSERT ON `{place}`.* TO {account}")
    primary.sql(f"CREATE TABLE {table} (id INT) ENGINE=MEMORY")
    node.run("nft delete table inet benchfleet")
    node.sql("SET GLOBAL sort_buffer_size = 2097152")
    # A file that is read after the fleet's, and that the server has not read yet.
    node.run(f"printf '[mysqld]\\nsync_binlog = 0\\n' >{LATE}")
    node.sql("SET GLOBAL lc_time_names = de_DE, default_week_format = 3")
    node.run("systemctl stop cron benchfleet-changes")
    node.run(f"{QUEUE} REPLICAOF NO ONE")
    node.run(f"for file in {BUNDLES}; do mv $file $file.away; done")
    node.run(
        f"cd {BENCH}/sites && systemd-run --quiet --unit second-scheduler --uid frappe"
        f" --working-directory {BENCH}/sites"
        " ../env/bin/python -m frappe.utils.bench_helper frappe schedule"
    )
    wait_until("rep2 has the table", lambda: other.says(f"mariadb -e 'DESC {table}'"))
    other.sql("STOP SLAVE SQL_THREAD")
    wait_until("the heartbeat is old", lambda: int(other.sql(HEARTBEAT)) > 5)
    yield
    other.sql("START SLAVE SQL_THREAD")
    node.run("systemctl stop second-scheduler")
    node.run(f"for file in {BUNDLES}.away; do mv $file ${{file%.away}}; done")
    node.run("systemctl start cron benchfleet-changes")
    node.run(f"{QUEUE} REPLICAOF {primary.host.ip} 11000")
    node.run("systemctl restart benchfleet-firewall")
    node.run(f"rm {LATE}")
    node.sql("SET GLOBAL sort_buffer_size = 4194304")
    node.sql("SET GLOBAL lc_time_names = en_US, default_week_format = 0")
    primary.sql(f"REVOKE INSERT ON `{place}`.* FROM {account}")
    primary.sql(f"DROP TABLE {table}")


@pytest.fixture(scope="module")
def checks(damage: None, verify: Callable[..., Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """What verify says of it."""
    found: dict[tuple[str, str], dict[str, Any]] = verify()
    return found


def test_a_frappe_that_does_not_fit_is_told_and_fails_no_call(
    play: Callable[..., Run], anybody: Callable[..., Somebody]
):
    somebody = anybody()
    for _ in range(5):
        taken = somebody.report()
        assert (taken.status, taken.bench) == (200, "rep2")
    told = play("--check", "--limit", "rep1", *SUMMED_UP).output
    assert f"WARNING: rep1: {MISFIT} arguments: self, tenant" in told


def test_each_damage_turns_its_own_check_red(checks: dict[tuple[str, str], dict[str, Any]]):
    red = {key for key, check in checks.items() if check["state"] == "failed"}
    assert red == {
        ("refused_primary", "rep1"),
        ("commits", "rep1"),
        ("contract", "rep1"),
        ("assets", "rep1"),
        ("outside", "rep1"),
        ("no_scheduler", "rep1"),
        ("queue_copy", "rep1"),
        ("file_arrives", "rep1"),
        ("units", "rep1"),
        ("settings", "rep1"),
        ("answers_alike", "rep1"),
        ("memory_tables", "rep1"),
        ("memory_tables", "rep2"),
        ("threads", "rep2"),
    }
    because = {key: check["because"] for key, check in checks.items()}
    assert {
        ("one_scheduler", "erp1"): "no_scheduler on rep1",
        ("apart", "rep1"): "settings on rep1",
        ("heartbeat", "rep2"): "threads on rep2",
        ("row", "rep2"): "threads on rep2",
    }.items() <= because.items()
    assert all(checks[key]["state"] == "unknown" for key in because if because[key])
    for key in red:
        assert checks[key]["saw"]
        assert checks[key]["remedy"]
    assert MISFIT in checks["contract", "rep1"]["saw"]
    assert "sync_binlog is 0" in checks["settings", "rep1"]["saw"]
    assert f"{LATE}:2" in checks["settings", "rep1"]["remedy"]
    saw = checks["answers_alike", "rep1"]["saw"]
    assert "lc_time_names: März Mär Sonntag here, March Mar Sunday on the primary" in saw
    assert "default_week_format: 52 1 52 1 1 here, 0 1 53 1 52 on the primary" in saw
