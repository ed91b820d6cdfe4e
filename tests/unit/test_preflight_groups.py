"""Groups, --limit, and what hosts know of each other."""

from __future__ import annotations

from fleet.preflight import hosts

from tests.unit.bare_fleet import ids, kinds


def test_no_host_at_all(settings):
    settings["groups"] = {"all": []}
    assert kinds([], settings) == [("inventory_empty", {"inventory": "/nowhere/inventory"})]


def test_no_primary(fleet, settings):
    settings["groups"]["primary"] = []
    settings["groups"]["reporting"] = ["erp1", "rep1"]
    assert ids(fleet, settings) == ["primary_missing"]


def test_two_primaries(fleet, settings):
    settings["groups"]["primary"] = ["erp1", "rep1"]
    settings["groups"]["reporting"] = []
    facts = {"inventory": "/nowhere/inventory", "hosts": ["erp1", "rep1"]}
    assert kinds(fleet, settings) == [("primary_several", facts)]


def test_host_in_both_groups(fleet, settings):
    settings["groups"]["reporting"] = ["erp1", "rep1"]
    facts = {"inventory": "/nowhere/inventory", "host": "erp1"}
    assert kinds(fleet, settings) == [("host_in_both_groups", facts)]


def test_host_in_no_group(fleet, settings):
    settings["groups"]["reporting"] = []
    facts = {"inventory": "/nowhere/inventory", "host": "rep1"}
    assert kinds(fleet, settings) == [("host_in_no_group", facts)]


def test_a_run_without_the_primary_needs_a_primary_of_this_fleet(fleet, settings):
    erp1, rep1 = fleet
    settings["primary"] = erp1
    assert kinds([rep1], settings) == [("primary_left_out", {"host": "erp1"})]
    settings["fleet_id"] = "f1"
    erp1["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
    assert ids([rep1], settings) == []
    # The others are compared with it.
    erp1["survey"]["database"].update(product="MariaDB", version="11.8.1")
    assert ids([rep1], settings) == ["replica_older"]
    # A primary that cannot be reached is reported by preflight/reach.py.
    erp1.update(survey=None, trouble="No route to host")
    assert ids([rep1], settings) == []


def test_a_run_without_a_reporting_node_has_no_problem(fleet, settings):
    assert ids(fleet[:1], settings) == []


def test_a_host_that_could_not_be_surveyed_hides_no_other_problem(fleet, settings):
    fleet[1].update(survey=None, trouble="Task failed: Incorrect sudo password", addresses=[])
    fleet[1].update(default="", distribution="", version="", system={})
    settings["groups"]["primary"] = []
    inventory = {"inventory": "/nowhere/inventory"}
    assert kinds(fleet, settings) == [
        ("primary_missing", inventory),
        ("host_in_no_group", {**inventory, "host": "erp1"}),
    ]


def test_an_update_needs_all_hosts(fleet, settings):
    settings["updating"] = True
    assert kinds(fleet[:1], settings) == [("update_limited", {"hosts": ["rep1"]})]


def test_hosts_that_are_away_keep_what_the_others_know_of_them(fleet):
    erp1, rep1 = fleet
    names = ["erp1", "rep1", "rep2", "rep3"]
    erp1["survey"]["known_hosts"] = {"10.0.0.9": "keyOfrep2"}
    rep1["survey"]["known_hosts"] = {"10.0.0.11": "anOldKeyOferp1", "10.0.0.9": "key\nand more"}
    rep2 = {"name": "rep2", "survey": None, "address": "", "ssh_key": ""}
    addresses = {"erp1": "10.0.0.77", "rep2": "10.0.0.9", "gone": "10.0.0.8"}
    assert hosts.fleet_hosts(names, [erp1, rep1, rep2], addresses) == {
        "erp1": {"lan_ip": "10.0.0.11", "ssh_key": "keyOferp1"},
        "rep1": {"lan_ip": "10.0.0.21", "ssh_key": "keyOfrep1"},
        "rep2": {"lan_ip": "10.0.0.9", "ssh_key": "keyOfrep2"},
    }


def test_a_standby_that_is_no_host(fleet, settings):
    settings["standby_named"] = "rep9"
    assert kinds(fleet, settings) == [
        ("standby_unknown", {"host": "rep9", "nodes": ["erp1", "rep1"]})
    ]
    for fine in ("rep1", "erp1", "", None):
        settings["standby_named"] = fine
        assert ids(fleet, settings) == []


def test_a_primary_that_was_given_up_is_no_reporting_node_yet(fleet, settings):
    erp1, rep1 = fleet
    settings.update(fleet_id="f1", state_dir="/var/lib/benchfleet")
    record = {"fleet_id": "f1", "epoch": 4, "primary": "erp1", "since": "", "open_alone": False}
    for host, role, known in (
        (erp1, "reporting", {"erp1": "a"}),
        (rep1, "primary", {"erp1": "a", "rep1": "b"}),
    ):
        mark = {
            "state": "present",
            "fleet_id": "f1",
            "path": "/x",
            "role": role,
            "format": 1,
            "versions": {},
        }
        epoch = 4 if host is erp1 else 3
        host["survey"].update(mark=mark, record={**record, "epoch": epoch, "hosts": known})
    found = [of for of in kinds(fleet, settings) if of[0] == "former_primary_apart"]
    assert found == [("former_primary_apart", {"host": "rep1", "path": "/x"})]
    settings["reseeded"] = "rep2, rep1"
    assert "former_primary_apart" not in ids(fleet, settings)
    settings["reseeded"] = ""
    state = f"{settings['state_dir']}/mariadb-seed.json"
    rep1["survey"]["state"] = {"files": {state: ["0600", "root", "root", "x"]}}
    assert "former_primary_apart" not in ids(fleet, settings)
