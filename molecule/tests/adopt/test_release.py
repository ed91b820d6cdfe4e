"""An adopted primary is put back as it was; its users notice two short pauses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import ADOPT, BENCH, USER, changed, playbook
from nodes import wait_until
from test_adopt import PACKAGES

from benchfleet.lab import state

# The opposite of handmade.sh's settings: files as bench writes them, a bot in a file of its own, a
# file of MariaDB that sorts after the fleet's and has the same value, no sudo rule.
OPPOSITES = f"""
cd {BENCH}
rm /etc/supervisor/conf.d/vault.conf /etc/nginx/conf.d/by-port.conf /etc/sudoers.d/frappe
rm /etc/mysql/mariadb.conf.d/60-erp.cnf /etc/mysql/mariadb.conf.d/99-frappe.cnf
printf '[mysqld]\ninnodb_flush_log_at_trx_commit = 1\n' >/etc/mysql/mariadb.conf.d/zz-same.cnf
cat >/etc/supervisor/conf.d/bot.conf <<'PROGRAM'
[program:bot]
command={BENCH}/env/bin/python -c "import time; time.sleep(10000000)"
user=frappe
PROGRAM
python3 - <<'CODE'
import json, pathlib
path = pathlib.Path("sites/common_site_config.json")
config = json.loads(path.read_text())
for key in ("db_socket", "rq_password", "rq_username", "use_rq_auth"):
    del config[key]
path.write_text(json.dumps(config, indent=1))
CODE
for part in redis 'supervisor --user frappe --yes' 'nginx --yes --log_format none'; do
    runuser -u frappe -- env HOME=/home/frappe bench setup $part
done
supervisorctl update && supervisorctl restart all && nginx -t && systemctl reload nginx
"""


def test_release_is_asked_for_and_waits_for_the_reporting_nodes(story: Any, later_tries: Any):
    for name, there in (("unasked", "none"), ("nodes", "rep1")):
        refused = later_tries.words(name)
        assert f"needs -e confirm={story.node.name}" in refused
        assert f"(there: {there})" in refused


def test_a_connected_replica_is_not_lost_in_silence(later_tries: Any):
    assert "replicas still follow this server" in later_tries.words("replica")


def test_a_restart_of_the_server_leaves_it_open(story: Any, by_hand: float):
    assert story.node.sql("SELECT @@read_only, @@log_bin") == "0\t1"


def test_files_are_as_they_were(story: Any, released: Any):
    left = {path for path in changed(story.tree, released.tree) if not PACKAGES.search(path)}
    # Passwords may have been encrypted with the key that was added.
    assert left <= {f"{BENCH}/sites/{state.SITE}/site_config.json"}


def test_everything_else_is_as_it_was(story: Any, released: Any):
    assert story.state() == story.facts
    assert story.node.run("nft list tables") == ""
    # This file has old jobs, which would come back if the bench were adopted again.
    assert "appendonlydir" not in story.node.run(f"ls {BENCH}/config/pids")
    assert story.node.run("ls /var/lib/mysql | grep -c '^binlog' || true") == "0"


def test_users_stay_signed_in_and_wait_a_moment_only(story: Any, released: Any):
    assert story.user.user() == USER
    released.player.noticed_two_restarts_only(released.by_hand)


def test_waiting_jobs_are_done_once(story: Any, released: Any):
    story.done_once(released.player)


def test_the_bench_works_by_itself(story: Any, released: Any):
    story.enqueue(("released",), 0.1)
    wait_until("a job is done", lambda: story.rows("Demo Run", "token = 'released'") == 1)
    restart = "sudo supervisorctl restart frappe-bench-web:frappe-bench-frappe-web"
    story.node.run(f"runuser -u frappe -- {restart}")
    wait_until(
        "the bench answers", lambda: story.user.call("GET", "/api/method/ping").status == 200
    )


def test_a_second_release_says_that_there_is_none(released: Any, alone: Path, release: Any):
    refused = " ".join(playbook(*release, inventory=alone, fails=True).split())
    assert "this host has no record of what it was" in refused


def test_a_bench_with_the_opposites_has_no_such_notices(story: Any, released: Any, alone: Path):
    story.node.run(OPPOSITES)
    words = playbook("--check", "--diff", "playbooks/preflight.yml", *ADOPT, inventory=alone)
    told = words[words.index(f"{story.node.name} is adopted") :]
    assert "addresses and passwords change: bot" in told
    for what in (
        *("frappe-bench-own.conf", "the variable", "runs without", "options of"),
        *("db_socket", "rq_", "sudo lets", "client_max_body_size", "location"),
        *("innodb_flush_log_at_trx_commit", "max_connections", "wins over"),
    ):
        assert what not in told, told
