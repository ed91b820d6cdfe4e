"""Sites that are made and dropped by hand are served, reported on and removed without site.yml.

test_remove.py tests that they leave nothing to do for site.yml.
"""

from __future__ import annotations

import json
import secrets as random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from calls import REPORT, RUN, Somebody
from fleet.http import Visitor
from nodes import Node, wait_until

from benchfleet.lab import state

BENCH = "/home/frappe/frappe-bench"
# As long as a name may be: nginx, files and logs have to accept it.
NEW = ".".join(["made-by-hand-" * 4 + "s", "x" * 63, "y" * 63, "lab.test"])
ADDED, LINKED = "shop.lab.test", "old.lab.test"
SYNC = "/usr/local/lib/benchfleet/site-sync"
# The primary's timer gives the nodes access within 15 s; then cron copies at each full minute.
COPIED_SECONDS = 180
LIB = "/usr/local/lib/benchfleet"
# MariaDB answers five seconds before it is open for writes.
LATE = "/run/systemd/system/mariadb.service.d/a-late.conf"
OPENED_LATE = "[Service]\\nExecStartPost=/bin/sleep 5\\n"
ADMIN_PASSWORD = random.token_hex(8)


@pytest.fixture(scope="module")
def hosts(nodes: dict[str, Node]) -> list[Node]:
    """The primary, then the reporting nodes."""
    return list(nodes.values())


def has_folder(host: Node) -> bool:
    """Whether the site is on a host."""
    return host.run(f"test -d {BENCH}/sites/{NEW} && echo yes || echo no") == "yes"


def copy(nodes: list[Node]) -> None:
    """Make the nodes copy the sites folder now."""
    for node in nodes:
        node.run(f"runuser -u frappe -- {SYNC} --wait 60", 90)


def drop(primary: Node) -> None:
    """Drop the site, unless it is gone."""
    if has_folder(primary):
        primary.run(f"{LIB}/drop-site {NEW} --no-backup")
    primary.run(f"rm -rf {BENCH}/archived/sites/{NEW}*")


@pytest.fixture(scope="module")
def database(hosts: list[Node]) -> Iterator[str]:
    """The site, made by hand while the database server starts; its database's name."""
    primary, *nodes = hosts
    primary.run(f"install -d {LATE.rpartition('/')[0]} && printf '{OPENED_LATE}' > {LATE}")
    primary.run("systemctl daemon-reload && systemctl stop mariadb")
    primary.run("systemctl start --no-block mariadb")
    try:
        primary.run(f"{LIB}/new-site {NEW} --admin-password {ADMIN_PASSWORD}", 300)
    finally:
        primary.run(f"rm {LATE} && systemctl daemon-reload")
    try:
        config = json.loads(primary.run(f"cat {BENCH}/sites/{NEW}/site_config.json"))
        yield str(config["db_name"])
    finally:
        drop(primary)
        gone = lambda: not any(has_folder(node) for node in nodes)  # noqa: E731
        wait_until("the nodes have no copy", gone, COPIED_SECONDS)


def test_the_sites_account_has_rights_on_its_database_alone(
    hosts: list[Node], database: str
) -> None:
    primary, *_ = hosts
    granted = f"SELECT DISTINCT REPLACE(Db, CHAR(92), '') FROM mysql.db WHERE User = '{database}'"
    assert primary.sql(granted) == database
    assert "GRANT USAGE ON *.*" in primary.sql(f"SHOW GRANTS FOR '{database}'@'127.0.0.1'")
    assert primary.sql("SELECT COUNT(*) FROM mysql.user WHERE user = 'benchfleet_setup'") == "0"


def test_bench_names_the_command_that_makes_a_site(hosts: list[Node]) -> None:
    primary, *_ = hosts
    words = f"cd {BENCH} && bench new-site refused.lab.test 2>&1 || true"
    said = primary.run(f"sudo -iu frappe sh -c '{words}'")
    assert f"sudo {LIB}/new-site NAME" in said
    assert not primary.says(f"ls -d {BENCH}/sites/refused.lab.test")


def test_what_new_site_cannot_make_leaves_nothing(hosts: list[Node], database: str) -> None:
    primary, *_ = hosts
    # The timer creates the accounts on the nodes meanwhile.
    counts = (
        "SELECT COUNT(*) FROM mysql.user WHERE host = '127.0.0.1';"
        "SELECT COUNT(*) FROM information_schema.SCHEMATA"
    )
    before = primary.sql(counts)
    for words in (
        f"{NEW} --admin-password x",
        "broken.lab.test --admin-password x --install-app gone",
        "broken.lab.test --db-name mysql",
    ):
        with pytest.raises(RuntimeError, match="new-site: "):
            primary.run(f"{LIB}/new-site {words}", 300)
    assert primary.sql(counts) == before
    assert has_folder(primary)
    assert not primary.says(f"ls -d {BENCH}/sites/broken.lab.test")
    assert not primary.says("ls /var/lib/benchfleet/making-site-*")


def sign_in(address: str, name: str = NEW) -> Somebody | None:
    """The Administrator of the new site at the router; None while the router does not serve it."""
    try:
        return Somebody(address, name, "Administrator", ADMIN_PASSWORD)
    except AssertionError:
        return None


def test_a_new_site_is_served_and_reported_on(hosts: list[Node], database: str) -> None:
    primary, *nodes = hosts
    address = primary.host.ip
    who: Somebody = wait_until("the router knows the new site", lambda: sign_in(address))
    assert who.save().ok
    copy(nodes)
    wanted = {(node.name, node.name) for node in nodes}
    seen: set[tuple[str, str]] = set()

    def every_node_answers() -> bool:
        # No report fails meanwhile: the primary answers for nodes that cannot answer yet.
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


@contextmanager
def linked(primary: Node, site: str) -> Iterator[Visitor]:
    """A link in the sites folder, as another name of a site, and a user who opens it."""
    primary.run(f"runuser -u frappe -- ln -s {site} {BENCH}/sites/{LINKED}")
    try:
        yield Visitor(primary.host.ip, 80, LINKED)
    finally:
        primary.run(f"rm {BENCH}/sites/{LINKED}")


def status(visitor: Visitor) -> int:
    """The router's status for a user who is not signed in."""
    return visitor.call("GET", "/api/method/ping").status


def test_a_site_is_served_under_each_of_its_names(hosts: list[Node], database: str) -> None:
    primary, *_ = hosts
    words = f"bench setup add-domain {ADDED} --site {NEW}"
    primary.run(f"sudo -iu frappe sh -c 'cd {BENCH} && {words}'")
    with linked(primary, NEW) as stranger:
        for name in (ADDED, LINKED):
            known = f"the router knows {name}"
            who: Somebody = wait_until(known, lambda n=name: sign_in(primary.host.ip, n))
            assert who.save().ok
            assert who.report().ok
            who.tidy()
    wait_until("it is known no more", lambda: status(stranger) == 404)


def test_a_torn_configuration_of_one_site_holds_up_no_other(
    hosts: list[Node], database: str
) -> None:
    primary, *_ = hosts
    folder = f"{BENCH}/sites/{NEW}"
    primary.run(f"cd {folder} && cp -p site_config.json kept.json && echo {{ > site_config.json")
    try:
        with linked(primary, state.SITE) as other:
            wait_until("the other site has its new name", lambda: status(other) == 200)
            told = primary.run("cat /var/lib/benchfleet/sites.json")
            assert f"{NEW} is served as before: {folder}/site_config.json is not valid" in told
    finally:
        primary.run(f"cd {folder} && mv kept.json site_config.json")
    wait_until("it is served", lambda: sign_in(primary.host.ip))


def test_a_dropped_site_leaves_nothing(hosts: list[Node], database: str) -> None:
    primary, *nodes = hosts
    drop(primary)
    accounts = f"SELECT COUNT(*) FROM mysql.user WHERE user LIKE '{database}%'"
    wait_until("its accounts are gone", lambda: primary.sql(accounts) == "0")
    stranger = Visitor(primary.host.ip, 80, NEW)
    path = f"/api/method/{RUN}?report_name={REPORT}"
    wait_until("nginx sends nobody there", lambda: not stranger.call("GET", path).bench)
    answer = stranger.call("GET", path)
    assert answer.status == 404
    assert "Traceback" not in answer.text
    assert NEW not in primary.run("nginx -T 2>/dev/null")
    copy(nodes)
    for node in nodes:
        assert not has_folder(node)
        assert node.sql(accounts) == "0"
