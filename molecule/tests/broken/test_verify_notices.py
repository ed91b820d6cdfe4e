"""verify reports what was damaged by hand, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nodes import Node

SITE = "erp.lab.test"
BENCH = "/home/frappe/frappe-bench"
BUNDLES = f"{BENCH}/apps/frappe/frappe/public/dist/js/*.js"
LATE = "/etc/mysql/mariadb.conf.d/zz-late.cnf"


@pytest.fixture
def damage(primary: Any, replica: Any, nodes: dict[str, Node]) -> Iterator[None]:
    """Damage one thing of each kind, and repair it at the end."""
    # The hosts were just switched on: what they copied before is older than a minute.
    for name in ("rep1", "rep2"):
        nodes[name].run("/usr/local/lib/benchfleet/site-sync --wait 60")
    config = json.loads(replica.check_output(f"cat {BENCH}/sites/{SITE}/site_config.json"))
    database, reader = config["db_name"], config["replica_db_name"]
    account = f"'{reader}'@'{config['replica_host']}'"
    place = database.replace("_", "\\\\_")
    secret = config["replica_db_password"]

    def grant(verb: str, preposition: str) -> None:
        primary.check_output(
            f'mariadb -e "{verb} INSERT ON \\`{place}\\`.* {preposition} {account}"'
        )

    table = f"\\`{database}\\`.fleet_try"

    assert secret
    grant("GRANT", "TO")
    primary.check_output(f'mariadb -e "CREATE TABLE {table} (id INT) ENGINE=MEMORY"')
    replica.check_output("nft delete table inet benchfleet")
    replica.check_output('mariadb -e "SET GLOBAL sort_buffer_size = 2097152"')
    # A file that is read after the fleet's, and that the server has not read yet.
    replica.check_output(f"printf '[mysqld]\\nsync_binlog = 0\\n' >{LATE}")
    replica.check_output('mariadb -e "SET GLOBAL lc_time_names = de_DE, default_week_format = 3"')
    replica.check_output("systemctl stop cron")
    replica.check_output(f"echo >> {BENCH}/apps/frappe/pyproject.toml")
    replica.check_output(f"for file in {BUNDLES}; do mv $file $file.away; done")
    replica.check_output(
        f"cd {BENCH}/sites && systemd-run --quiet --unit second-scheduler --uid frappe"
        f" --working-directory {BENCH}/sites"
        " ../env/bin/python -m frappe.utils.bench_helper frappe schedule"
    )
    yield
    replica.check_output("systemctl stop second-scheduler")
    replica.check_output(f"git -c safe.directory=* -C {BENCH}/apps/frappe checkout pyproject.toml")
    replica.check_output(f"for file in {BUNDLES}.away; do mv $file ${{file%.away}}; done")
    replica.check_output("systemctl start cron")
    replica.check_output("systemctl restart benchfleet-firewall")
    replica.check_output(f"rm {LATE}")
    replica.check_output('mariadb -e "SET GLOBAL sort_buffer_size = 4194304"')
    replica.check_output('mariadb -e "SET GLOBAL lc_time_names = en_US, default_week_format = 0"')
    grant("REVOKE", "FROM")
    primary.check_output(f'mariadb -e "DROP TABLE {table}"')


@pytest.mark.usefixtures("damage")
def test_each_damage_turns_its_own_check_red(verify: Any):
    checks = verify()
    red = {key for key, check in checks.items() if not check["ok"]}
    # How old the last copy is depends on when cron was stopped.
    assert red - {("fresh", "rep1")} == {
        ("refused_primary", "rep1"),
        ("commits", "rep1"),
        ("assets", "rep1"),
        ("outside", "rep1"),
        ("no_scheduler", "rep1"),
        ("one_scheduler", "erp1"),
        ("file_arrives", "rep1"),
        ("settings", "rep1"),
        ("apart", "rep1"),
        ("answers_alike", "rep1"),
        ("memory_tables", "rep1"),
        ("memory_tables", "rep2"),
    }
    for key in red:
        assert checks[key]["saw"]
        assert checks[key]["remedy"]
    assert "sync_binlog is 0" in checks["settings", "rep1"]["saw"]
    assert f"{LATE}:2" in checks["settings", "rep1"]["remedy"]
    saw = checks["answers_alike", "rep1"]["saw"]
    assert "lc_time_names: März Mär Sonntag here, March Mar Sunday on the primary" in saw
    assert "default_week_format: 52 1 52 1 1 here, 0 1 53 1 52 on the primary" in saw


def wait_for_a_stale_heartbeat(replica: Any) -> None:
    """A heartbeat counts as fresh for five seconds, and verify could be quicker than that."""
    age = "SELECT TIMESTAMPDIFF(SECOND, at, NOW(6)) FROM benchfleet.heartbeat"
    deadline = time.monotonic() + 30
    while int(replica.check_output(f'mariadb -NBe "{age}"')) <= 5:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_stopped_replication_is_noticed(verify: Any, replica: Any):
    replica.check_output('mariadb -e "STOP SLAVE SQL_THREAD"')
    try:
        wait_for_a_stale_heartbeat(replica)
        checks = verify()
    finally:
        replica.check_output('mariadb -e "START SLAVE SQL_THREAD"')
    red = {key[0] for key, check in checks.items() if not check["ok"]}
    assert {"threads", "heartbeat", "row"} <= red


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


@pytest.fixture
def other_frappe(replica: Any) -> Iterator[None]:
    """The reporting bench runs a Frappe that the guard does not fit."""
    frappe = f"{BENCH}/apps/frappe"
    restart = "supervisorctl restart frappe-bench-web:"
    for name, code in OTHER_DATABASE.items():
        replica.check_output(f"cat >>{frappe}/frappe/{name} <<'END'\n{code}END")
    replica.check_output(restart)
    yield
    replica.check_output(f"git -c safe.directory=* -C {frappe} checkout frappe")
    replica.check_output(restart)


@pytest.mark.usefixtures("other_frappe")
def test_a_frappe_that_does_not_fit_is_told_and_fails_no_call(verify: Any, play: Any, anybody: Any):
    words = "guard: in this bench's frappe.database.mariadb.database, MariaDBDatabase takes other"
    somebody = anybody()
    for _ in range(5):
        taken = somebody.report()
        assert (taken.status, taken.bench) == (200, "rep2")
    told = play("--check", "site.yml").output
    assert f"WARNING: rep1: {words} arguments: self, tenant" in told
    checks = verify()
    red = {key for key, check in checks.items() if not check["ok"]}
    # The change is in no commit.
    assert red == {("contract", "rep1"), ("commits", "rep1")}
    assert words in checks["contract", "rep1"]["saw"]
