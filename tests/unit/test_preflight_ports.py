"""Ports of the services."""

from __future__ import annotations

import pytest
from fleet.preflight import checks

from tests.unit.bare_fleet import ids, listener, mark, whats


def test_taken_port_names_the_process(fleet, settings):
    fleet[0]["survey"]["listeners"] = {"80": [listener()]}
    [found] = checks.preflight_problems(fleet, settings)
    assert found["id"] == "router_port_taken"
    assert found["facts"] | {"service": ""} == {
        "port": 80,
        "service": "",
        "setting": "http",
        "process": "apache2 (process 99; apache2.service; /usr/sbin/apache2 -k start)",
        "addresses": ["0.0.0.0"],
        "host": "erp1",
    }


def test_taken_port_never_advises_to_stop_ssh(fleet, settings):
    fleet[0]["survey"]["listeners"] = {"80": [listener(unit="ssh.service")]}
    found = checks.preflight_problems(fleet, settings)
    assert "ssh" not in str(found)


def test_port_of_a_service_that_a_replica_does_not_have(fleet, settings):
    settings["standby"] = ""
    fleet[1]["survey"]["listeners"] = {"80": [listener()], "13000": [listener()]}
    assert whats(fleet, settings) == []
    # The standby has a router, and a Redis.
    settings["standby"] = "rep1"
    found = checks.preflight_problems(fleet, settings)
    named = {(one["facts"]["port"], one["facts"]["setting"]) for one in found}
    assert named == {(80, "http"), (13000, "redis_cache")}
    fleet[1]["survey"]["listeners"] = {"3306": [listener()], "8000": [listener()]}
    assert len(whats(fleet, settings)) == 2


def test_the_right_service_on_a_host_of_no_fleet_is_a_problem(fleet, settings):
    fleet[0]["survey"]["listeners"] = {"80": [listener(name="nginx")]}
    assert len(whats(fleet, settings)) == 1
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    assert whats(fleet, settings) == []
    fleet[0]["survey"]["listeners"] = {"80": [listener(name="caddy")]}
    assert len(whats(fleet, settings)) == 1


def test_two_services_on_one_port(fleet, settings):
    settings["ports"]["redis_queue"], settings["standby"] = 13000, ""
    [found] = checks.preflight_problems(fleet, settings)
    assert found["id"] == "port_shared"
    assert found["facts"] == {
        "port": 13000,
        "host": "erp1",
        "services": ["redis_cache", "redis_queue"],
    }


def test_port_that_is_no_number_is_left_to_the_types(fleet, settings):
    settings["ports"]["web"] = "abc"
    assert whats(fleet, settings) == []


@pytest.mark.parametrize("host", [0, 1])
def test_the_port_of_the_record_is_that_of_its_service(fleet, settings, host):
    entry = {"pid": 7, "name": "fleet-record", "command": "", "program": "", "unit": ""}
    entry["address"] = "10.0.0.11"
    fleet[host]["survey"]["listeners"] = {"8004": [entry]}
    assert ids(fleet, settings) == ["port_taken"], "no host of the fleet yet"
    settings["fleet_id"] = "f1"
    for one in fleet:
        one["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
    assert ids(fleet, settings) == []
    entry["name"] = "other"
    assert ids(fleet, settings) == ["port_taken"]
