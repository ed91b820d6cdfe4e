"""What is on a host already."""

from __future__ import annotations

import pytest
from fleet.preflight import checks

from tests.unit.bare_fleet import mark, whats


def test_an_unfinished_update_is_ended_first(fleet, settings):
    fleet[0]["survey"]["update"] = "20250101-120000"
    assert whats(fleet, settings) == [
        "the update of the apps that began 20250101-120000 is not finished"
    ]
    settings["updating"] = True
    assert whats(fleet, settings) == []


def test_an_unfinished_update_is_ended_first_by_a_run_without_the_primary_too(fleet, settings):
    fleet[0]["survey"]["update"] = "20250101-120000"
    fleet[0]["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
    settings.update(primary=fleet[0], fleet_id="f1")
    assert whats(fleet[1:], settings) == [
        "the update of the apps that began 20250101-120000 is not finished"
    ]


def test_what_supervisor_cannot_hold_or_read_is_told(fleet, settings):
    fleet[0]["program_troubles"] = [("bench_environment is no map", "write a map")]
    fleet[0]["survey"]["supervisor"] = "supervisord cannot read its configuration: [program:x]"
    assert whats(fleet, settings) == [
        f"bench_environment is no map ({fleet[0]['name']})",
        "supervisord cannot read its configuration: [program:x]",
    ]


def test_foreign_data_and_bench_on_a_replica(fleet, settings):
    fleet[1]["survey"]["database"].update(holds_data=True, bytes=3 * 1024**2)
    fleet[1]["survey"]["benches"] = [
        {"path": "/home/erp/bench", "frappe_version": "15.1.0", "named": "", "others": {}}
    ]
    assert whats(fleet, settings) == [
        "rep1 already holds a MariaDB data folder that this fleet did not make",
        "rep1 already holds a bench that this fleet did not make (Frappe 15.1.0)",
    ]


def test_existing_data_on_the_primary_is_not_adopted_without_a_wish(fleet, settings):
    fleet[0]["survey"]["database"].update(holds_data=True, bytes=1)
    fleet[0]["survey"]["benches"] = [
        {"path": "/home/erp/bench", "frappe_version": None, "named": "", "others": {}}
    ]
    found = checks.preflight_problems(fleet, settings)
    assert len(found) == 2
    assert all("set fleet_adopt: true" in f["remedy"] for f in found)


def test_what_names_a_bench_is_said(fleet, settings):
    fleet[0]["survey"]["benches"] = [
        {"path": "/data/b", "frappe_version": None, "named": "/etc/a.service", "others": {}}
    ]
    (found,) = checks.preflight_problems(fleet, settings)
    assert found["place"] == "/data/b on erp1, named by /etc/a.service"


def test_what_is_being_adopted_is_no_strangers(fleet, settings):
    fleet[0]["survey"]["database"].update(holds_data=True, bytes=1)
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": None, "named": "", "others": {}}
    ]
    web = {"pid": 7, "name": "gunicorn", "program": "", "command": "", "unit": "supervisor.service"}
    fleet[0]["survey"]["listeners"] = {"8000": [{**web, "address": "127.0.0.1"}]}
    # What the bench itself listens on is no trouble of its own.
    assert len(whats(fleet, settings)) == 2
    fleet[0]["survey"]["adoption"] = {"bench": {}}
    assert whats(fleet, settings) == []
    fleet[0]["survey"]["listeners"]["8000"][0]["name"] = "apache2"
    assert "port 8000" in whats(fleet, settings)[0]


@pytest.mark.parametrize(("own", "words"), [("f1", "is fleet f1"), ("", "is a new one")])
@pytest.mark.parametrize("number", [0, 1])
def test_host_of_another_fleet(fleet, settings, own, words, number):
    settings["fleet_id"] = own
    mark(fleet[number], "f2")
    fleet[number]["survey"]["database"].update(holds_data=True, bytes=1)
    found = whats(fleet, settings)
    assert len(found) == 1
    assert "belongs to fleet f2" in found[0]
    assert words in found[0]


def test_broken_mark(fleet, settings):
    fleet[0]["survey"]["mark"] = {"state": "broken", "path": "/x", "detail": "it is empty"}
    assert whats(fleet, settings) == ["the fleet's mark on erp1 cannot be read: it is empty"]


def test_commands_of_other_tools(fleet, settings):
    fleet[0]["survey"]["commands"] = [
        {"path": "/usr/local/bin/bench", "origin": "frappe/pilot"},
        {"path": "/usr/bin/bench", "origin": "unknown"},
        {"path": "/opt/bench/bin/bench", "origin": "frappe-bench"},
        {"path": "/root/bin/bench", "origin": "benchfleet"},
    ]
    assert [w.split(" is that of ")[1] for w in whats(fleet, settings)] == [
        "frappe/pilot, not of frappe-bench",
        "an unknown tool, not of frappe-bench",
    ]
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    assert len(whats(fleet, settings)) == 1
