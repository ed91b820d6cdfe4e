"""After all tests before this one, the fleet is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import shop
from fleet.preflight.versions import release_versions
from nodes import Node

from benchfleet.runner import ROOT


@pytest.mark.usefixtures("grown")
def test_status_says_who_is_up_and_what_is_newer(
    nodes: dict[str, Node], fleet_command: Callable[..., str]
):
    told = json.loads(fleet_command("status", "--json"))
    assert {row["host"]: row["state"] for row in told["status"]} == dict.fromkeys(nodes, "up")
    assert {row["host"] for row in told["file_systems"]} == set(nodes)
    usual = release_versions(str(ROOT / "roles"))["yarn"]
    assert [row for row in told["versions"] if row["software"] == "yarn"] == [
        {
            "software": "yarn",
            "hosts": list(nodes),
            "in_force": shop.OLDER_YARN,
            "recorded": shop.OLDER_YARN,
            "available": usual,
            "upgrade": f"bench_yarn_version: {usual} in the inventory, then site.yml",
        }
    ]
    mariadb = [row for row in told["versions"] if row["software"] == "MariaDB"]
    assert all(row["in_force"] and row["available"] for row in mariadb)


def test_each_row_holds(verify: Callable[[], dict[tuple[str, str], dict[str, Any]]]):
    assert [place for place, check in verify().items() if not check["ok"]] == []
