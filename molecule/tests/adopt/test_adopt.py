"""A bench made by hand becomes the primary of a fleet; its users notice two short pauses."""

from __future__ import annotations

import json
import re
from typing import Any

from conftest import BENCH, JOBS, USER, changed
from nodes import Node, wait_until

from benchfleet.lab import state

# Written by dpkg, useradd and ldconfig; files of packages stay after a release, too. A path with
# the name of the fleet is never among these.
PACKAGES = re.compile(
    r"^(?!.*benchfleet)(/etc/(group|gshadow|passwd|shadow)-?$|/etc/ld\.so\.cache$|/etc/nftables\.conf$"
    r"|/etc/nginx/modules-enabled($|/)|/etc$|/etc/(alternatives|init\.d|rc.\.d|logrotate\.d|default|systemd/system)($|/[^/]*$)"
    r"|/etc/systemd/system/[a-z-]+\.target\.wants/(rsync|nftables)\.service$|/etc/subu?g?id-?$)"
)
# Marks and links, and paths that a dry run announces by their purpose.
UNSAID = (
    "/.benchfleet-complete",
    ".wants/benchfleet-firewall.service",
    ".wants/benchfleet-record.service",
    ".wants/benchfleet-sites.timer",
    ".wants/benchfleet-status.timer",
    "/benchfleet/sites.json",
    "/config/supervisor.conf.bench",
    "/primary.json",
    "/sites/.fleet-sites.json",
    "/site_config.json",
)
# One statement of each kind that a binary log or a setting of the fleet could forbid to a site's
# account.
MADE = (
    "CREATE TABLE fleet_try (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40))",
    "CREATE FUNCTION fleet_f() RETURNS INT RETURN (SELECT COUNT(*) FROM fleet_try)",
    "CREATE TRIGGER fleet_t BEFORE INSERT ON fleet_try FOR EACH ROW SET NEW.v = UUID()",
    "CREATE PROCEDURE fleet_p() INSERT INTO fleet_try (v) SELECT fleet_f()",
    "CREATE EVENT fleet_e ON SCHEDULE EVERY 1 HOUR STARTS NOW() + INTERVAL 1 DAY DO CALL fleet_p()",
    "CREATE VIEW fleet_v AS SELECT id, fleet_f() AS n FROM fleet_try",
    "LOCK TABLES fleet_try WRITE",
    "INSERT INTO fleet_try (v) VALUES ('locked')",
    "UNLOCK TABLES",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "CREATE TEMPORARY TABLE fleet_tmp AS SELECT * FROM fleet_try",
    "CALL fleet_p()",
)
GONE = (
    "DROP TRIGGER fleet_t",
    "DROP EVENT fleet_e",
    "DROP VIEW fleet_v",
    "DROP PROCEDURE fleet_p",
    "DROP FUNCTION fleet_f",
    "DROP TABLE fleet_try",
)


def test_an_adoption_is_asked_for_and_confirmed(tries: Any):
    assert "set fleet_adopt: true for this host" in tries.words("unasked")
    refused = tries.words("refused")
    assert "id: adopt_restart_for_binlog" in refused
    assert "-e adopt_restart_confirmed=true" in refused


def test_a_wrong_setting_is_named_with_its_right_value(tries: Any):
    refused = tries.words("refused")
    assert "id: adopt_service_port" in refused
    assert "fleet_redis_queue_port to 11000" in refused
    assert "id: adopt_frappe_branch" in refused
    assert "bench_frappe_branch to version-15" in refused
    assert "id: adopt_bench_elsewhere" in tries.words("elsewhere")
    assert f"fleet_bench_dir to {BENCH}" in tries.words("elsewhere")


def test_what_no_fleet_takes_over_is_named(tries: Any):
    refused = tries.words("refused")
    assert "id: adopt_second_bench_named" in refused
    assert "/var/lib/erp on erp1, named by /etc/systemd/system/erp2.service" in refused
    assert "database of site pg.test of erp1 is postgres (db_type)" in refused
    assert "id: adopt_key_of_all_sites" in refused
    assert "redis_cache in pg.test/site_config.json" in refused
    assert "hush" not in refused


def test_a_dry_run_says_what_is_coming(tries: Any):
    words = tries.words("dry run")
    assert "erp1 restarts once" in words
    assert "max_connections 150 -> 300" in words
    assert "client_max_body_size 200m -> 50m" in words
    assert "router_max_upload" in words
    assert "/usr/bin/supervisorctl (/etc/sudoers.d/frappe:1)" in words
    assert "innodb_flush_log_at_trx_commit 2 -> 1" in words
    assert "binlog_expire_logs_seconds 259200 -> 604800" in words
    assert "db_socket of common_site_config.json, rq_password of common_site_config.json" in words
    assert "aclfile of config/redis_queue.conf" in words


def test_rules_that_a_fleet_cannot_work_with_are_refused(tries: Any):
    refused = tries.words("refused")
    for words in (
        "port 8092 (refused.lab.test on 80, 8092)",
        "id: adopt_nginx_port",
        "auth_basic staff",
        "id: adopt_nginx_access",
        "refused.lab.test",
        "id: adopt_unserved_names",
        "/etc/nginx/conf.d/refused.conf:",
        "id: adopt_sudo_without_password",
        "/etc/sudoers.d/refused:1 on erp1",
        "adopt_sudo_confirmed: true",
        "id: adopt_command_in_crontab",
        "/etc/cron.d/refused:1 on erp1",
        "innodb_flush_log_at_trx_commit is 2",
        "/etc/mysql/mariadb.conf.d/zz-refused.cnf:2",
        "log_bin is 0",
        "/etc/mysql/mariadb.conf.d/zz-refused.cnf:3",
        "binlog_do_db is _one",
        "/etc/mysql/mariadb.conf.d/60-refused.cnf:2",
        "sync_binlog is 0",
        "/etc/mysql/my.cnf:",
        "[program:x] in /etc/supervisor/conf.d/broken.conf",
    ):
        assert words in refused
    assert "s3cr3t" not in refused


def test_a_dry_run_names_programs_that_will_run_in_another_way(tries: Any):
    words = tries.words("dry run")
    assert "/etc/supervisor/conf.d/frappe-bench-own.conf: frappe-bench-telegram-bot" in words
    assert "VAULT_TOKEN of frappe-bench-frappe-web" in words
    assert "VAULT_ROLE of frappe-bench-frappe-short-worker" in words
    assert "bench_web_arguments: '-k gthread --threads 2'" in words
    assert "bench_background_workers: {" in words
    for secret in ("a%1", "a%%1", "b%1", "b%%1"):
        assert secret not in words


def test_until_then_nothing_is_touched(story: Any, tries: Any):
    assert changed(story.tree, tries.tree) == set()


def test_what_the_sites_account_can_do_by_hand(story: Any, tries: Any):
    story.as_site(MADE + GONE)


def test_it_can_do_in_the_fleet(story: Any, adopted: Any, lab: state.Lab):
    replica = Node(lab, lab.hosts[1])
    there = f"SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{story.database}'"
    rows = f"SELECT GROUP_CONCAT(id, v ORDER BY id) FROM `{story.database}`.fleet_try"
    story.as_site(MADE)
    try:
        wait_until(
            "the event is on the replica", lambda: replica.sql(there) == "SLAVESIDE_DISABLED"
        )
        wait_until("so are the rows", lambda: replica.sql(rows) == story.node.sql(rows))
    finally:
        story.as_site(GONE)


def test_what_was_changed_had_been_announced(story: Any, tries: Any, adopted: Any):
    dry_run = tries.said["dry run"].result()
    for path in sorted(changed(story.tree, adopted.tree)):
        is_folder = adopted.tree.get(path, story.tree.get(path))[0] == 0o040000
        inner = path.startswith(
            ("/opt/bench-cli/", "/var/lib/benchfleet/", "/usr/local/lib/benchfleet/")
        )
        if is_folder or inner or PACKAGES.search(path) or path.endswith("benchfleet.pth"):
            continue
        if path.endswith(UNSAID):
            continue
        assert path in dry_run, path


def test_whatever_was_changed_is_in_the_record(story: Any, adopted: Any):
    entries = {entry["path"]: entry for entry in adopted.manifest["entries"]}
    trees = tuple(f"{path}/" for path, entry in entries.items() if entry["how"] == "tree")
    different = changed(story.tree, adopted.tree)
    for path in sorted(different):
        if path in entries or path.startswith(trees) or PACKAGES.search(path):
            continue
        raise AssertionError(f"{path} was changed and is not in the record")
    saved = [path for path in different if path in story.tree and path in entries]
    assert f"{BENCH}/sites/common_site_config.json" in saved
    for path in saved:
        entry, before = entries[path], story.tree[path]
        kept = entry.get("target") or entry.get("sha256") or ""
        assert kept == before[5], path
        if entry["kind"] == "file":
            copy = f"{adopted.manifest['folder']}/files{path}"
            assert story.node.run(f"sha256sum < {copy}").split()[0] == before[5]
    assert story.node.run("stat -c %a /var/backups/benchfleet") == "700"


def test_users_stay_signed_in_and_wait_a_moment_only(story: Any, adopted: Any):
    assert story.user.user() == USER
    adopted.player.noticed_two_restarts_only(adopted.by_hand)
    saved = story.rows("ToDo", "description = 'saved meanwhile'")
    assert saved >= len(adopted.player.good) > 10


def test_programs_of_the_operators_own_live_and_the_bench_has_its_variables(
    story: Any, adopted: Any
):
    status = story.node.run("supervisorctl status frappe-bench-telegram-bot")
    assert status.split()[1] == "RUNNING"
    bot = status.split("pid ")[1].split(",")[0]
    assert "BOT_TOKEN=b%1;2" in story.node.run(f"tr '\\0' '\\n' </proc/{bot}/environ")
    conf = "/etc/supervisor/conf.d/frappe-bench.conf"
    assert story.node.run(f"grep -c 'VAULT_TOKEN=\"a%%1,2\"' {conf}") != "0"
    files = (conf, conf.replace(".conf", "-own.conf"))
    assert story.node.run(f"stat -c %a {' '.join(files)}").split() == ["600", "600"]


def test_halves_of_pairs_of_settings_are_gone(story: Any, adopted: Any, lab: state.Lab):
    for node in (story.node, Node(lab, lab.hosts[1])):
        keys = json.loads(node.run(f"cat {BENCH}/sites/common_site_config.json"))
        assert not {"db_socket", "use_rq_auth", "rq_username", "rq_password"} & set(keys)
    settings = "/etc/benchfleet/redis/redis_queue"
    assert story.node.run(f"grep -i aclfile {settings}.conf") == f'aclfile "{settings}.acl"'
    assert "user erp" not in story.node.run(f"cat {settings}.acl")


def test_mariadb_was_started_once(adopted: Any):
    assert adopted.starts == 1


def test_waiting_jobs_are_done_once(story: Any, adopted: Any):
    names = ", ".join(f"'{token}'" for token in JOBS)
    done = f"token IN ({names})"
    wait_until("jobs are done", lambda: story.rows("Demo Run", done) >= len(JOBS))
    assert story.rows("Demo Run", done) == len(JOBS)
    story.done_once(adopted.player)


def test_what_is_the_operators_is_kept(story: Any, adopted: Any):
    now = story.state()
    for name in ("crontabs", "operator", "wiki", "units"):
        assert now[name] == story.facts[name]
    assert set(story.facts["accounts"].splitlines()) <= set(now["accounts"].splitlines())
    assert story.node.sql("SELECT title FROM wiki.page") == "Kept"
    ask = "mariadb --no-defaults -h127.0.0.1 -uwiki -pwiki -NBe 'SELECT title FROM wiki.page'"
    assert story.node.run(ask) == "Kept"
    queue = story.node.run("grep maxmemory /etc/benchfleet/redis/redis_queue.conf")
    assert queue.splitlines() == ["maxmemory 512mb", "maxmemory-policy noeviction"]
    for unit in ("nginx", "supervisor"):
        shown = story.node.run(f"systemctl show {unit} -p LimitNOFILE,RestartUSec").splitlines()
        assert sorted(shown) == ["LimitNOFILE=5000", "RestartUSec=1s"]


def test_reports_are_read_from_the_replica(story: Any, adopted: Any, lab: state.Lab):
    report = "/api/method/frappe.desk.query_report.run?report_name=ToDo"
    answer = wait_until(
        "the replica answers",
        lambda: (got := story.user.call("GET", report)).bench == lab.hosts[1].name and got,
    )
    assert answer.headers["x-fleet-database"] == lab.hosts[1].name


def test_every_row_holds(later_tries: Any):
    assert later_tries.said["verify"].result()


def test_the_second_run_asks_nothing_and_changes_nothing(adopted: Any, later_tries: Any):
    recaps = re.findall(r"changed=(\d+)", later_tries.said["second run"].result())
    assert len(recaps) >= 2
    assert set(recaps) == {"0"}
    # The first is made when a job on a reporting node first writes files; timers and runs write the
    # others.
    written = [
        f"/var/lib/benchfleet/{name}" for name in ("sites.json", "status.json", "runs.jsonl")
    ]
    unsteady = ("/files/.fleet-push", *written)
    files = changed(adopted.tree, later_tries.tree)
    assert not [path for path in files if not path.endswith(unsteady)]
