"""The fleet seen from outside, without knowledge of the roles: ports, processes, rows, files."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import on
from fleet.http import Visitor

SITE = "erp.lab.test"
BENCH = "/home/frappe/frappe-bench"


def sql(host: Any, statement: str) -> str:
    """Run a statement as root over the host's socket."""
    return host.check_output(f'mariadb -NBe "{statement}"')


def processes(host: Any, pattern: str) -> int:
    """How many processes have a command line that matches."""
    return int(host.run(f"pgrep -fc -- '{pattern}'").stdout or 0)


def seen_within(seconds: float, question: Any) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if question():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def visitor(lab: Any, secrets: Any) -> Any:
    """The administrator, signed in at the router."""
    with Visitor(lab.hosts[0].ip, 80, SITE) as somebody:
        somebody.sign_in("Administrator", secrets["sites"][SITE]["admin_password"])
        yield somebody


def test_a_row_written_on_the_primary_is_on_the_replica(primary: Any, replica: Any):
    sql(primary, "CREATE DATABASE fleet_test; CREATE TABLE fleet_test.t (a INT PRIMARY KEY)")
    try:
        sql(primary, "INSERT INTO fleet_test.t VALUES (42)")
        question = "SELECT COUNT(*) FROM fleet_test.t"
        assert seen_within(3, lambda: replica.run(f'mariadb -NBe "{question}"').stdout == "1\n")
    finally:
        sql(primary, "DROP DATABASE fleet_test")


def test_servers_speak_tls_to_each_other(primary: Any, lab: Any):
    links = sql(
        primary, "SELECT COUNT(*) FROM mysql.user WHERE user = 'repl' AND ssl_type != 'ANY'"
    )
    assert links == "0"
    accounts = sql(primary, "SELECT COUNT(*) FROM mysql.user WHERE user = 'repl'")
    # The primary has one, too: it follows when another host becomes the primary.
    assert int(accounts) == len(lab.hosts)


def test_replica_is_closed_and_the_primary_open(primary: Any, replica: Any):
    assert sql(primary, "SELECT @@read_only") == "0"
    assert sql(replica, "SELECT @@read_only") == "1"


def test_replica_gives_more_memory_to_reading(primary: Any, replica: Any):
    for name in ("innodb_buffer_pool_size", "sort_buffer_size", "join_buffer_size"):
        question = f"SELECT @@{name}"
        assert int(sql(replica, question)) > int(sql(primary, question))


def test_report_calls_go_to_the_reporting_bench_and_others_to_the_primary(visitor: Any, lab: Any):
    primary, *reporting = (host.name for host in lab.hosts)
    run = "frappe.desk.query_report.run"
    calls = {
        ("GET", f"/api/method/{run}?report_name=ToDo"): reporting,
        ("GET", f"/?cmd={run}&report_name=ToDo"): reporting,
        ("GET", "/api/method/frappe.auth.get_logged_user"): [primary],
        ("GET", "/api/resource/ToDo"): [primary],
    }
    for (method, path), wanted in calls.items():
        answer = visitor.call(method, path)
        assert answer.status == 200, path
        assert answer.bench in wanted, path


def test_a_call_by_cmd_in_the_body_is_routed_too(visitor: Any, lab: Any):
    form = {"cmd": "frappe.desk.query_report.run", "report_name": "ToDo"}
    answer = visitor.call("POST", "/", form=form)
    assert answer.status == 200
    assert answer.bench in [host.name for host in lab.hosts[1:]]


def test_demo_reads_reports_from_a_replica(visitor: Any, primary: Any, lab: Any):
    if not primary.file(f"{BENCH}/apps/frappe/frappe/demo.py").exists:
        pytest.skip("the framework under test has no call that says which server answered")
    answer = visitor.call(
        "GET",
        '/api/method/frappe.desk.query_report.run?report_name=Slow Report&filters={"seconds":0}',
    )
    server_id = str(answer.body["message"]["result"][0][2])
    ids = {host.name: sql(on(host.name), "SELECT @@server_id") for host in lab.hosts}
    assert len(set(ids.values())) == len(ids)
    assert server_id == ids[answer.bench] != ids[lab.hosts[0].name]


@pytest.mark.parametrize("port", [3306, 8000, 9000, 11000, 13000])
def test_fleet_ports_are_closed_to_strangers(lab: Any, port: int):
    for host in lab.hosts:
        with contextlib.suppress(OSError):
            socket.create_connection((host.ip, port), timeout=2).close()
            pytest.fail(f"{host.name} lets us connect to {port}")


@pytest.mark.parametrize("port", [11000, 13000])
def test_redis_listens_on_no_other_address(primary: Any, lab: Any, port: int):
    lines = primary.check_output(f"ss -Hltn 'sport = :{port}'").splitlines()
    assert {line.split()[3] for line in lines} == {f"127.0.0.1:{port}", f"{lab.hosts[0].ip}:{port}"}


@pytest.mark.parametrize("port", [11000, 13000])
def test_redis_asks_the_fleet_for_a_password(replica: Any, lab: Any, port: int):
    talk = f"exec 3<>/dev/tcp/{lab.hosts[0].ip}/{port}; printf 'PING\\r\\n' >&3; head -1 <&3"
    assert replica.check_output("timeout 5 bash -c %s", talk).startswith("-NOAUTH")


# What the primary's Redis refuses to a node; of DEBUG and MODULE it refuses more than the user.
ATTACKS = (
    ("CONFIG SET dir /tmp", "NOPERM"),
    ("CONFIG SET dbfilename authorized_keys", "NOPERM"),
    ("MODULE LOAD /tmp/x.so", "ERR MODULE command not allowed"),
    ("SLAVEOF 192.0.2.1 6379", "NOPERM"),
    ("DEBUG SLEEP 5", "ERR DEBUG command not allowed"),
    ("FLUSHALL", "NOPERM"),
    ("FLUSHDB", "NOPERM"),
    ("ACL SETUSER bench-rep1 +@all", "NOPERM"),
    ("SHUTDOWN NOSAVE", "NOPERM"),
    ("MONITOR", "NOPERM"),
)


def test_a_nodes_bench_commands_redis_no_further_than_its_data(
    primary: Any, replica: Any, secrets: Any
):
    common = json.loads(replica.check_output(f"cat {BENCH}/sites/common_site_config.json"))
    own = secrets["hosts"]["rep1"]["redis_password"]
    theirs = secrets["hosts"]["erp1"]["redis_password"]
    root = "REDISCLI_AUTH=$(cat /etc/benchfleet/redis/admin) redis-cli --user benchfleet"
    try:
        for key in ("redis_cache", "redis_queue"):
            url = urlsplit(common[key])
            assert (url.username, url.password) == ("bench-rep1", own)

            def said(line: str, password: str, url: Any = url) -> str:
                talk = f"exec 3<>/dev/tcp/{url.hostname}/{url.port}; read -r secret; "
                talk += "printf 'AUTH bench-rep1 %s\\r\\n{}\\r\\n' \"$secret\" >&3; head -2 <&3"
                command = f"printf '%%s\\n' {password} | runuser -u frappe -- timeout 5 bash -c %s"
                return str(replica.check_output(command, talk.format(line)))

            assert "+PONG" in said("PING", own)
            for attack, refused in ATTACKS:
                assert f"-{refused}" in said(attack, own), attack
            assert "-WRONGPASS" in said("PING", theirs)
    finally:
        for port in (11000, 13000):
            primary.check_output(f"{root} -p {port} ACL LOG RESET")


def test_one_scheduler_and_it_is_on_the_primary(primary: Any, replica: Any):
    pattern = "[b]ench_helper frappe schedule"
    assert processes(primary, pattern) == 1
    assert processes(replica, pattern) == 0
    assert "schedule" not in replica.run("supervisorctl status").stdout
    assert "schedule" not in replica.check_output("cat /etc/supervisor/conf.d/*.conf")


def test_what_lies_in_the_bench_is_what_supervisor_runs(primary: Any, replica: Any):
    shown = f"{BENCH}/config/supervisor.conf"
    for host in (primary, replica):
        host.check_output(f"cmp {shown} /etc/supervisor/conf.d/frappe-bench.conf")
        assert host.file(shown).user == "frappe"
    # As in bench's documentation, with a file name of the operator's own.
    link = "/etc/supervisor/conf.d/by-the-page.conf"
    replica.check_output(f"ln -s {shown} {link}")
    try:
        assert "No config updates" in replica.check_output("supervisorctl reread")
    finally:
        replica.check_output(f"rm {link}")


def test_workers_are_where_they_belong(primary: Any, replica: Any):
    # A worker sets its process title where its libraries can; otherwise it keeps its command line.
    worker = "[r]q:worker:|[b]ench_helper frappe worker"
    assert processes(primary, worker) == 6
    # The worker for heavy jobs has the guard, and another command.
    assert processes(replica, worker) == 0
    assert "at-heavy-worker" in replica.run("supervisorctl status").stdout


def test_reporting_bench_runs_its_own_python_at_the_same_commit(primary: Any, replica: Any):
    for host in (primary, replica):
        where = "import sys, frappe; print(sys.prefix, frappe.__file__)"
        said = host.check_output(f"cd {BENCH}/sites && ../env/bin/python -c '{where}'").split()
        assert said == [f"{BENCH}/env", f"{BENCH}/apps/frappe/frappe/__init__.py"]
    commit = f"git -c safe.directory=* -C {BENCH}/apps/frappe rev-parse HEAD"
    assert primary.check_output(commit) == replica.check_output(commit)


def test_reporting_bench_refuses_what_would_undo_the_split(replica: Any):
    for command in ("update", "migrate", "disable-scheduler", f"--site {SITE} migrate"):
        said = replica.run(f"cd {BENCH} && runuser -u frappe -- bench {command}")
        assert said.rc != 0
        assert "refused" in said.stderr


def test_site_configuration_is_this_hosts_own(replica: Any, primary: Any, lab: Any):
    common = json.loads(replica.check_output(f"cat {BENCH}/sites/common_site_config.json"))
    assert common["db_host"] == lab.hosts[0].ip
    assert common["pause_scheduler"]
    site = json.loads(replica.check_output(f"cat {BENCH}/sites/{SITE}/site_config.json"))
    assert site["replica_host"] == lab.hosts[1].ip
    theirs = json.loads(primary.check_output(f"cat {BENCH}/sites/{SITE}/site_config.json"))
    assert site["encryption_key"] == theirs["encryption_key"]
    assert "replica_host" not in theirs


def test_the_sites_secrets_are_closed_to_other_accounts(primary: Any, replica: Any):
    for host in (primary, replica):
        for name in ("common_site_config.json", f"{SITE}/site_config.json", f"{SITE}/private"):
            path = f"{BENCH}/sites/{name}"
            look = "ls" if name.endswith("private") else "cat"
            assert host.run(f"runuser -u frappe -- {look} {path}").rc == 0
            assert host.run(f"runuser -u nobody -- {look} {path}").rc != 0, (host, path)


def test_secrets_are_in_no_journal_and_no_process_list(primary: Any, replica: Any, secrets: Any):
    words = [
        secrets["redis_admin_password"],
        secrets["hosts"]["erp1"]["redis_password"],
        secrets["hosts"]["rep1"]["redis_password"],
        secrets["mariadb_replication_password"],
        secrets["sites"][SITE]["admin_password"],
    ]
    for host in (primary, replica):
        said = host.check_output("journalctl -q --no-pager; ps -eo args")
        for word in words:
            assert word not in said
