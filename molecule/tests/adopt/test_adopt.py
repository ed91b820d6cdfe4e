"""A bench made by hand becomes the primary of a fleet, and its users notice a moment only."""

from __future__ import annotations

import json
import re
from typing import Any

from conftest import ADOPT, BENCH, JOBS, PASSWORD, USER, changed, playbook
from nodes import Node, wait_until

from benchfleet import state

# Written by dpkg, useradd and ldconfig; what packages bring stays after a release, too. What has
# our name is never theirs.
PACKAGES = re.compile(
    r"^(?!.*benchfleet)(/etc/(group|gshadow|passwd|shadow)-?$|/etc/ld\.so\.cache$|/etc/nftables\.conf$"
    r"|/etc/nginx/modules-enabled($|/)|/etc$|/etc/(alternatives|init\.d|rc.\.d|logrotate\.d|default|systemd/system)($|/[^/]*$)"
    r"|/etc/systemd/system/[a-z-]+\.target\.wants/(rsync|nftables)\.service$|/etc/subu?g?id-?$)"
)
# Marks and links, and what is told by what it is for.
UNSAID = (
    "/.benchfleet-complete",
    ".wants/benchfleet-firewall.service",
    ".wants/benchfleet-sites.timer",
    "/benchfleet/sites.json",
    "/sites/.fleet-sites.json",
    "/site_config.json",
)
# Whoever may see a restart of MariaDB and one of the bench on two busy processors.
LONGEST_GAP = 30


def test_without_a_wish_and_a_word_nothing_is_touched(story: Any):
    refused = " ".join(playbook("playbooks/preflight.yml", fails=True).split())
    assert "set fleet_adopt: true for this host" in refused
    refused = " ".join(playbook("site.yml", *ADOPT, fails=True).split())
    assert "has to be restarted once: its binary log is off" in refused
    assert "-e adopt_restart_confirmed=true" in refused
    assert changed(story.tree, story.look()) == set()


def test_what_does_not_fit_is_told_with_what_to_set(story: Any):
    wrong = ("-e", "fleet_redis_queue_port=11001", "-e", "bench_frappe_branch=version-16")
    refused = " ".join(playbook("playbooks/preflight.yml", *ADOPT, *wrong, fails=True).split())
    assert "set fleet_redis_queue_port to 11000 in the inventory" in refused
    assert "set bench_frappe_branch to version-15" in refused
    elsewhere = ("-e", "fleet_bench_dir=/home/frappe/bench")
    refused = " ".join(playbook("playbooks/preflight.yml", *ADOPT, *elsewhere, fails=True).split())
    assert f"set fleet_bench_dir to {BENCH}" in refused


def test_a_dry_run_touches_nothing_and_says_what_is_coming(story: Any, dry_run: str):
    words = " ".join(dry_run.split())
    assert "erp1 restarts once" in words
    assert "max_connections 150 -> 300" in words
    assert changed(story.tree, story.look()) == set()


def test_what_was_changed_had_been_announced(story: Any, dry_run: str, adopted: Any):
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
        # A folder that is there in any case: its own attributes did not change.
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
    print(f"longest pauses: {[round(gap, 1) for gap in adopted.player.gaps[:3]]} s")
    assert adopted.player.gaps[0] < LONGEST_GAP
    assert not [words for words in adopted.player.bad if "403" in words]
    saved = story.rows("ToDo", "description = 'saved meanwhile'")
    assert saved >= len(adopted.player.good) > 10


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
    for name in ("crontabs", "wiki", "units"):
        assert now[name] == story.facts[name]
    assert set(story.facts["accounts"].splitlines()) <= set(now["accounts"].splitlines())
    assert story.node.sql("SELECT title FROM wiki.page") == "Kept"


def test_reports_are_read_from_the_replica(story: Any, adopted: Any, lab: state.Lab):
    report = "/api/method/frappe.desk.query_report.run?report_name=ToDo"
    answer = wait_until(
        "the replica answers",
        lambda: (got := story.user.call("GET", report)).bench == lab.hosts[1].name and got,
    )
    assert answer.headers["x-fleet-database"] == lab.hosts[1].name


def test_every_row_holds(adopted: Any):
    passwords = json.dumps({"verify_passwords": {state.SITE: PASSWORD}})
    playbook("playbooks/verify.yml", "-e", passwords)


def test_the_second_run_asks_nothing_and_changes_nothing(story: Any, adopted: Any):
    recaps = re.findall(r"changed=(\d+)", playbook("site.yml", *ADOPT))
    assert len(recaps) >= 2
    assert set(recaps) == {"0"}


def test_a_restart_of_the_server_leaves_it_open(story: Any, adopted: Any):
    node: Node = story.node
    node.run("systemctl restart mariadb")
    assert node.sql("SELECT @@read_only, @@log_bin") == "0\t1"
