"""Secrets and certificates are rotated while users work; leaked secrets no longer work."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import yaml
from calls import failures, working
from nodes import Node

CONFIG = "/home/frappe/frappe-bench/sites/{}/site_config.json"
COMMON = "/home/frappe/frappe-bench/sites/common_site_config.json"


def answers(node: Node, url: str) -> str:
    """The first word of Redis' answer to a connection with this URL."""
    told = node.run(f"redis-cli --no-auth-warning -u {shlex.quote(url)} PING 2>&1")
    return told.splitlines()[-1].split()[0]


def lets_in(node: Node, address: str, user: str, password: str) -> bool:
    """Whether a server lets an account in from a node, over TLS."""
    words = ["mariadb", "--no-defaults", "--ssl", "-h", address, "-u", user, f"-p{password}"]
    return node.says(shlex.join([*words, "-NBe", "SELECT 1"])) == "1"


def test_rotation_is_felt_by_nobody_and_ends_what_was_leaked(
    play: Callable[..., Any], nodes: dict[str, Node], lab: Any, anybody: Any
):
    primary, node = nodes["erp1"], nodes["rep1"]
    file = lab.path / "secrets/fleet.yml"
    old = yaml.safe_load(file.read_text())
    site = next(iter(old["sites"]))
    config = json.loads(node.run(f"cat {CONFIG.format(site)}"))
    # The secrets in the files of the node and the controller, as a thief has them.
    leaked = {
        "repl": old["mariadb_replication_password"],
        "fleet_probe": old["mariadb_probe_password"],
        config.get("db_user") or config["db_name"]: config["db_password"],
    }
    assert all(lets_in(node, primary.host.ip, *one) for one in leaked.items())
    redis = json.loads(node.run(f"cat {COMMON}"))["redis_queue"]
    assert answers(primary, redis) == "PONG"
    with working(anybody) as taken:
        play("playbooks/rotate.yml")
    assert failures(taken) == []
    assert answers(primary, redis) == "NOAUTH"
    for user, password in leaked.items():
        assert not lets_in(node, primary.host.ip, user, password), user
    new = yaml.safe_load(file.read_text())
    assert "rotation" not in new
    keys = primary.run("cat /home/frappe/.ssh/authorized_keys /var/lib/benchfleet/seed/.ssh/*")
    for purpose in ("sync", "code", "seed"):
        former, present = (
            secrets["hosts"]["rep1"]["ssh"][purpose]["public"].split()[1] for secrets in (old, new)
        )
        assert former not in keys
        assert present in keys
    for host in nodes.values():
        assert (
            host.run("cat /etc/benchfleet/tls/ca.crt").strip() == new["ca"]["certificate"].strip()
        )
    # verify runs once, in test_verify_notices.py; the runs before it have nothing of this to mend.
    assert play("site.yml").changes == []
