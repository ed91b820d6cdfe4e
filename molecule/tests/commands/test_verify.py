"""`./fleet verify` finds nothing wrong on the finished fleet, and leaves nothing on it."""

from __future__ import annotations

import json
from typing import Any

from nodes import Node

from benchfleet.lab import state

SITES = "/home/frappe/frappe-bench/sites"


def test_verify_holds(verify: Any, nodes: dict[str, Node]):
    checks = verify()
    assert {key: check["saw"] for key, check in checks.items() if not check["ok"]} == {}
    rows = {check["row"] for check in checks.values()}
    assert rows == {f"S{n}" for n in [*range(15), 16, 17]}
    primary = nodes["erp1"]
    site = json.loads(primary.run(f"cat {SITES}/{state.SITE}/site_config.json"))
    for table, left in (
        (f"{site['db_name']}.`tabToDo`", "description LIKE 'fleet-verify%'"),
        (f"{site['db_name']}.`tabScheduled Job Type`", "method = 'frappe.ping'"),
        ("benchfleet.probe", "TRUE"),
    ):
        assert primary.sql(f"SELECT COUNT(*) FROM {table} WHERE {left}") == "0", table
    for node in nodes.values():
        assert node.run(f"find {SITES} -name 'fleet-verify*'") == ""
        node.run("test ! -e /var/lib/benchfleet/verify")
