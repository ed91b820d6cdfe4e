"""Folders of the bench and its CLI."""

from __future__ import annotations

import pytest
from fleet.preflight import checks

from tests.unit.bare_fleet import mark, whats


@pytest.mark.parametrize(
    "path", ["/home/frappe", "/home/frappe/", "/home/frappe/x/..", "/srv/bench", "/", "bench"]
)
def test_a_bench_lies_inside_its_home(fleet, settings, path):
    for host in fleet:
        host["bench_dir"] = path
    found = checks.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        f"fleet_bench_dir {path} is not a folder inside fleet_bench_home /home/frappe"
    ]
    assert found[0]["place"] == "fleet_bench_dir in the inventory (erp1, rep1)"
    assert found[0]["remedy"].endswith("/home/frappe/frappe-bench")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/", "a folder of the system"),
        ("/opt/", "a folder of the system"),
        ("/opt/x/..", "a folder of the system"),
        ("/usr/local", "a folder of the system"),
        ("/home/frappe", "a folder that holds the bench account's home or its bench"),
        ("/home/frappe/frappe-bench", "a part of the bench"),
        ("/home/frappe/frappe-bench/env", "a part of the bench"),
        ("bench-cli", "not an absolute path"),
    ],
)
def test_the_bench_cli_has_a_folder_of_its_own(fleet, settings, path, reason):
    fleet[0]["cli_dir"] = path
    # What is there is not worth a second problem.
    fleet[0]["survey"]["folders"]["cli"] = "foreign"
    assert whats(fleet, settings) == [f"bench_cli_dir {path} is {reason}"]


@pytest.mark.parametrize("path", ["/opt/bench-cli", "/home/frappe/bench-cli", "/srv/tools/bench"])
@pytest.mark.parametrize("state", ["absent", "empty", "ours"])
def test_folders_that_may_be_made(fleet, settings, path, state):
    fleet[0]["cli_dir"] = path
    fleet[0]["survey"]["folders"] = {"bench": state, "cli": state}
    assert whats(fleet, settings) == []


def test_folders_with_somebody_elses_things(fleet, settings):
    fleet[0]["survey"]["folders"] = {"bench": "foreign", "cli": "foreign"}
    assert whats(fleet, settings) == [
        "bench_cli_dir /opt/bench-cli of erp1 holds something that Benchfleet did not make",
        "fleet_bench_dir /home/frappe/frappe-bench of erp1 holds something that is no bench",
    ]
    # What an interrupted run left behind.
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["folders"]["cli"] = "ours"
    assert whats(fleet, settings) == []
