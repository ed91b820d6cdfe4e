"""An adopted primary is put back as it was, and its users notice a moment only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import BENCH, INVENTORY, USER, changed, playbook
from nodes import wait_until
from test_adopt import LONGEST_GAP, PACKAGES

from benchfleet import state


def test_release_is_asked_for_and_waits_for_the_reporting_nodes(
    story: Any, adopted: Any, alone: Path
):
    before = story.look()
    confirmed = ("-e", f"confirm={story.node.name}")
    for words, inventory, there in (((), alone, "none"), (confirmed, INVENTORY, "rep1")):
        told = playbook("playbooks/release.yml", *words, inventory=inventory, fails=True)
        refused = " ".join(told.split())
        assert f"needs -e confirm={story.node.name}" in refused
        assert f"(there: {there})" in refused
    assert changed(before, story.look()) == set()


def test_a_connected_replica_is_not_lost_in_silence(story: Any, adopted: Any, alone: Path):
    words = ("playbooks/release.yml", "-e", f"confirm={story.node.name}")
    refused = playbook(*words, inventory=alone, fails=True)
    assert "replicas still follow this server" in refused


def test_files_are_as_they_were(story: Any, released: Any):
    left = {path for path in changed(story.tree, released.tree) if not PACKAGES.search(path)}
    # Passwords may have been encrypted with the key that came.
    assert left <= {f"{BENCH}/sites/{state.SITE}/site_config.json"}


def test_everything_else_is_as_it_was(story: Any, released: Any):
    assert story.state() == story.facts
    assert story.node.run("nft list tables") == ""
    assert story.node.run("ls /var/lib/mysql | grep -c '^binlog' || true") == "0"


def test_users_stay_signed_in(story: Any, released: Any):
    assert story.user.user() == USER
    print(f"longest pauses: {[round(gap, 1) for gap in released.player.gaps[:3]]} s")
    assert released.player.gaps[0] < LONGEST_GAP
    assert not [words for words in released.player.bad if "403" in words]


def test_waiting_jobs_are_done_once(story: Any, released: Any):
    story.done_once(released.player)


def test_the_bench_works_by_itself(story: Any, released: Any):
    story.enqueue(("released",))
    wait_until("a job is done", lambda: story.rows("Demo Run", "token = 'released'") == 1)
    restart = "sudo supervisorctl restart frappe-bench-web:frappe-bench-frappe-web"
    story.node.run(f"runuser -u frappe -- {restart}")
    wait_until(
        "the bench answers", lambda: story.user.call("GET", "/api/method/ping").status == 200
    )


def test_a_second_release_says_that_there_is_none(story: Any, released: Any, alone: Path):
    words = ("playbooks/release.yml", "-e", f"confirm={story.node.name}")
    refused = " ".join(playbook(*words, inventory=alone, fails=True).split())
    assert "this host has no record of what it was" in refused
