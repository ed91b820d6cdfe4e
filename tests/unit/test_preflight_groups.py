"""Groups, --limit, and who is known to whom."""

from __future__ import annotations

from fleet.preflight import hosts

from tests.unit.bare_fleet import whats


def test_no_host_at_all(settings):
    settings["groups"] = {"all": []}
    assert whats([], settings) == ["the inventory holds no host at all"]


def test_no_primary(fleet, settings):
    settings["groups"]["primary"] = []
    settings["groups"]["reporting"] = ["erp1", "rep1"]
    assert whats(fleet, settings) == ["no host is in group primary"]


def test_two_primaries(fleet, settings):
    settings["groups"]["primary"] = ["erp1", "rep1"]
    settings["groups"]["reporting"] = []
    assert whats(fleet, settings) == ["group primary holds 2 hosts: erp1, rep1"]


def test_host_in_both_groups(fleet, settings):
    settings["groups"]["reporting"] = ["erp1", "rep1"]
    assert whats(fleet, settings) == ["erp1 is in group primary and in group reporting"]


def test_host_in_no_group(fleet, settings):
    settings["groups"]["reporting"] = []
    assert whats(fleet, settings) == ["rep1 is in neither group primary nor group reporting"]


def test_a_run_without_the_primary_builds_on_one_of_this_fleet(fleet, settings):
    erp1, rep1 = fleet
    settings["primary"] = erp1
    assert whats([rep1], settings) == [
        "the primary erp1 is left out of this run, and is not of this fleet yet"
    ]
    settings["fleet_id"] = "f1"
    erp1["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
    assert whats([rep1], settings) == []
    # It is what the others are compared with.
    erp1["survey"]["database"].update(product="MariaDB", version="11.8.1")
    assert whats([rep1], settings) == [
        "the replica rep1 would run MariaDB 10.11, older than the primary's 11.8"
    ]
    # That it cannot be looked at is said by preflight/reach.py.
    erp1.update(survey=None, trouble="No route to host")
    assert whats([rep1], settings) == []


def test_a_run_without_a_reporting_node_is_one_like_others(fleet, settings):
    assert whats(fleet[:1], settings) == []


def test_a_host_that_could_not_be_looked_at_hides_no_other_problem(fleet, settings):
    fleet[1].update(survey=None, trouble="Task failed: Incorrect sudo password", addresses=[])
    fleet[1].update(default="", distribution="", version="", system={})
    settings["groups"]["primary"] = []
    assert whats(fleet, settings) == [
        "no host is in group primary",
        "erp1 is in neither group primary nor group reporting",
    ]


def test_an_update_is_everybodys(fleet, settings):
    settings["updating"] = True
    assert whats(fleet[:1], settings) == [
        "rep1 left out of an update: the fleet would run two versions"
    ]


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
