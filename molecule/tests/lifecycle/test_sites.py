"""Sites that are made and dropped by hand: served, reported on and forgotten without site.yml."""

from __future__ import annotations

import json
import secrets as random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import REPORT, RUN, Somebody
from nodes import Node, wait_until
from plays import INVENTORY, ROOT, environment

from benchfleet import state
from module_utils.verify_look import Visitor

BENCH = "/home/frappe/frappe-bench"
NEW = "byhand.lab.test"
SYNC = "/usr/local/lib/benchfleet/site-sync"
# The timer of the primary looks every 15 s.
SERVED_SECONDS = 30
# After that a node's copy, which cron makes at each full minute, and a test at once.
COPIED_SECONDS = 100
ROOT_USER, ROOT_PASSWORD = "by_hand", "by-hand"
ADMIN_PASSWORD = random.token_hex(8)


@pytest.fixture(scope="module")
def hosts(lab: state.Lab) -> list[Node]:
    """The primary, then the reporting nodes."""
    return [Node(lab, host) for host in lab.hosts]


def bench(primary: Node, *words: str) -> None:
    """A bench command about a site, as an operator types it, who knows a database administrator."""
    account = f"'{ROOT_USER}'@'127.0.0.1'"
    primary.sql(
        f"CREATE USER {account} IDENTIFIED BY '{ROOT_PASSWORD}';"
        f"GRANT ALL ON *.* TO {account} WITH GRANT OPTION"
    )
    login = f"--db-root-username {ROOT_USER} --db-root-password {ROOT_PASSWORD}"
    try:
        primary.run(f"sudo -iu frappe sh -c 'cd {BENCH} && bench {' '.join(words)} {login}'")
    finally:
        primary.sql(f"DROP USER {account}")


def has_folder(host: Node) -> bool:
    """Whether the site is on a host."""
    return host.run(f"test -d {BENCH}/sites/{NEW} && echo yes || echo no") == "yes"


def copy(nodes: list[Node]) -> None:
    """Have the nodes copy the sites folder now."""
    for node in nodes:
        node.run(f"runuser -u frappe -- {SYNC} --wait 60", 90)


def drop(primary: Node) -> None:
    """Drop the site, unless that is done."""
    if has_folder(primary):
        bench(primary, "drop-site", NEW, "--no-backup", "--force")
    primary.run(f"rm -rf {BENCH}/archived/sites/{NEW}*")


@pytest.fixture(scope="module")
def database(hosts: list[Node]) -> Iterator[str]:
    """The site, made by hand; its database's name."""
    primary, *nodes = hosts
    bench(primary, "new-site", NEW, f"--admin-password {ADMIN_PASSWORD}")
    try:
        config = json.loads(primary.run(f"cat {BENCH}/sites/{NEW}/site_config.json"))
        yield str(config["db_name"])
    finally:
        drop(primary)
        gone = lambda: not any(has_folder(node) for node in nodes)  # noqa: E731
        wait_until("the nodes have no copy", gone, COPIED_SECONDS)


def sign_in(address: str) -> Somebody | None:
    """The Administrator of the new site at the router; None while the site is not known there."""
    try:
        return Somebody(address, NEW, "Administrator", ADMIN_PASSWORD)
    except AssertionError:
        return None


def test_a_new_site_is_served_and_reported_on(hosts: list[Node], database: str) -> None:
    primary, *nodes = hosts
    address = primary.host.ip
    who: Somebody = wait_until(
        "the router knows the new site", lambda: sign_in(address), SERVED_SECONDS
    )
    assert who.save().ok
    copy(nodes)
    wanted = {(node.name, node.name) for node in nodes}
    seen: set[tuple[str, str]] = set()

    def every_node_answers() -> bool:
        # No report fails meanwhile: who cannot answer yet lets the primary do it.
        taken = who.report()
        assert taken.ok, taken
        assert taken.fresh, taken
        seen.add(taken.place)
        return wanted <= seen

    wait_until("each node answers from its replica", every_node_answers, COPIED_SECONDS)
    who.tidy()
    # The key by which all benches read the site's secrets was there before the copies.
    keys = {
        json.loads(host.run(f"cat {BENCH}/sites/{NEW}/site_config.json"))["encryption_key"]
        for host in hosts
    }
    assert len(keys) == 1
    accounts = f"SELECT COUNT(*) FROM mysql.user WHERE user = '{database}_ro'"
    assert int(primary.sql(accounts)) == len(nodes)


def test_a_dropped_site_leaves_nothing(hosts: list[Node], database: str) -> None:
    primary, *nodes = hosts
    drop(primary)
    accounts = f"SELECT COUNT(*) FROM mysql.user WHERE user LIKE '{database}%'"
    wait_until("its accounts are gone", lambda: primary.sql(accounts) == "0", SERVED_SECONDS)
    stranger = Visitor(primary.host.ip, 80, NEW)
    path = f"/api/method/{RUN}?report_name={REPORT}"
    wait_until("nginx sends nobody there", lambda: not stranger.call("GET", path).bench, 10)
    answer = stranger.call("GET", path)
    assert answer.status == 404
    assert "Traceback" not in answer.text
    assert NEW not in primary.run("nginx -T 2>/dev/null")
    copy(nodes)
    for node in nodes:
        assert not has_folder(node)
        assert node.sql(accounts) == "0"


def test_the_next_run_changes_nothing(play: Callable[..., Any], hosts: list[Node]) -> None:
    assert play("site.yml").changes == []


def test_a_dropped_site_of_the_inventory_is_not_made_again(hosts: list[Node]) -> None:
    primary = hosts[0]
    note = "/var/lib/benchfleet/made-site-gone.lab.test"
    primary.run(f"touch {note}")
    names = json.dumps({"fleet_sites": [{"name": state.SITE}, {"name": "gone.lab.test"}]})
    try:
        done = subprocess.run(
            ["ansible-playbook", "-i", str(INVENTORY), "site.yml", "-e", names],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        primary.run(f"rm {note}")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "site gone.lab.test was on the bench of" in said
    assert "take it out of fleet_sites" in said
    assert f"remove {note} on" in said
    assert not primary.says(f"ls -d {BENCH}/sites/gone.lab.test")
