"""Folders of the bench and its CLI."""

from __future__ import annotations

import pytest

from tests.unit.bare_fleet import ids, kinds, mark


@pytest.mark.parametrize(
    "path", ["/home/frappe", "/home/frappe/", "/home/frappe/x/..", "/srv/bench", "/", "bench"]
)
def test_a_bench_lies_inside_its_home(fleet, settings, path):
    for host in fleet:
        host["bench_dir"] = path
    facts = {
        "folder": path,
        "home": "/home/frappe",
        "suggestion": "/home/frappe/frappe-bench",
        "hosts": ["erp1", "rep1"],
    }
    assert kinds(fleet, settings) == [("bench_dir_outside_home", facts)]


@pytest.mark.parametrize(
    ("parent", "kind"),
    [("/data/erp", "bench_not_in_home"), ("/opt", "bench_in_system_folder")],
)
def test_a_bench_that_is_there_is_not_simply_renamed(fleet, settings, parent, kind):
    path = f"{parent}/frappe-bench"
    fleet[0]["bench_dir"] = settings["bench_dir"] = path
    fleet[0]["survey"]["benches"] = [
        {"path": path, "frappe_version": "15.1", "named": "", "others": {}}
    ]
    assert (kind, parent) in [(kind, facts.get("parent")) for kind, facts in kinds(fleet, settings)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "cli_dir_of_system"),
        ("/opt/", "cli_dir_of_system"),
        ("/opt/x/..", "cli_dir_of_system"),
        ("/usr/local", "cli_dir_of_system"),
        ("/home/frappe", "cli_dir_holds_home"),
        ("/home/frappe/frappe-bench", "cli_dir_in_bench"),
        ("/home/frappe/frappe-bench/env", "cli_dir_in_bench"),
        ("bench-cli", "cli_dir_relative"),
    ],
)
def test_the_bench_cli_has_a_folder_of_its_own(fleet, settings, path, kind):
    fleet[0]["cli_dir"] = path
    # The contents of such a folder are not a second problem.
    fleet[0]["survey"]["folders"]["cli"] = "foreign"
    assert kinds(fleet, settings) == [(kind, {"folder": path, "hosts": ["erp1"]})]


@pytest.mark.parametrize("path", ["/opt/bench-cli", "/home/frappe/bench-cli", "/srv/tools/bench"])
@pytest.mark.parametrize("state", ["absent", "empty", "ours"])
def test_folders_that_may_be_made(fleet, settings, path, state):
    fleet[0]["cli_dir"] = path
    fleet[0]["survey"]["folders"] = {"bench": state, "cli": state}
    assert ids(fleet, settings) == []


def test_folders_with_other_contents(fleet, settings):
    fleet[0]["survey"]["folders"] = {"bench": "foreign", "cli": "foreign"}
    assert kinds(fleet, settings) == [
        ("cli_dir_foreign", {"folder": "/opt/bench-cli", "host": "erp1"}),
        ("bench_dir_foreign", {"folder": "/home/frappe/frappe-bench", "host": "erp1"}),
    ]
    # What an interrupted run left behind.
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["folders"]["cli"] = "ours"
    assert ids(fleet, settings) == []
