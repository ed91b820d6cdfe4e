"""What is on a host already."""

from __future__ import annotations

import pytest
from fleet.bench.program_settings import program_problems

from tests.unit.bare_fleet import ids, kinds, mark

UPDATE = ("update_unfinished", {"began": "20250101-120000", "host": "erp1"})


def test_an_unfinished_update_comes_first(fleet, settings):
    fleet[0]["survey"]["update"] = "20250101-120000"
    assert kinds(fleet, settings) == [UPDATE]
    settings["updating"] = True
    assert ids(fleet, settings) == []


def test_an_unfinished_update_comes_first_where_the_primary_is_left_out(fleet, settings):
    fleet[0]["survey"]["update"] = "20250101-120000"
    fleet[0]["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
    settings.update(primary=fleet[0], fleet_id="f1")
    assert kinds(fleet[1:], settings) == [UPDATE]


def test_settings_and_files_that_supervisor_cannot_read(fleet, settings):
    fleet[0]["program_problems"] = list(program_problems([], "", "erp1"))
    fleet[0]["survey"]["supervisor"] = "supervisord cannot read its configuration: [program:x]"
    trouble = "supervisord cannot read its configuration: [program:x]"
    assert kinds(fleet, settings) == [
        ("environment_no_map", {"host": "erp1"}),
        ("supervisor_unreadable", {"trouble": trouble, "host": "erp1"}),
    ]


def test_foreign_data_and_bench_on_a_replica(fleet, settings):
    fleet[1]["survey"]["database"].update(holds_data=True, bytes=3 * 1024**2)
    fleet[1]["survey"]["benches"] = [
        {"path": "/home/erp/bench", "frappe_version": "15.1.0", "named": "", "others": {}}
    ]
    bench = {"host": "rep1", "path": "/home/erp/bench", "frappe": "15.1.0", "named": "its folder"}
    assert kinds(fleet, settings) == [
        ("data_foreign", {"host": "rep1", "folder": "/var/lib/mysql", "mib": 3}),
        ("bench_foreign", bench),
    ]


def test_existing_data_on_the_primary_is_not_adopted_unasked(fleet, settings):
    fleet[0]["survey"]["database"].update(holds_data=True, bytes=1)
    fleet[0]["survey"]["benches"] = [
        {"path": "/home/erp/bench", "frappe_version": None, "named": "", "others": {}}
    ]
    assert ids(fleet, settings) == ["data_adoptable", "bench_adoptable"]


def test_the_file_that_names_a_bench_is_a_fact(fleet, settings):
    fleet[0]["survey"]["benches"] = [
        {"path": "/data/b", "frappe_version": None, "named": "/etc/a.service", "others": {}}
    ]
    ((kind, facts),) = kinds(fleet, settings)
    assert kind == "bench_adoptable"
    assert (facts["path"], facts["named"]) == ("/data/b", "/etc/a.service")


def test_an_adopted_bench_is_no_problem(fleet, settings):
    fleet[0]["survey"]["database"].update(holds_data=True, bytes=1)
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": None, "named": "", "others": {}}
    ]
    web = {"pid": 7, "name": "gunicorn", "program": "", "command": "", "unit": "supervisor.service"}
    fleet[0]["survey"]["listeners"] = {"8000": [{**web, "address": "127.0.0.1"}]}
    # Ports of the bench itself are not reported beside it.
    assert ids(fleet, settings) == ["data_adoptable", "bench_adoptable"]
    fleet[0]["survey"]["adoption"] = {"bench": {}}
    assert ids(fleet, settings) == []
    fleet[0]["survey"]["listeners"]["8000"][0]["name"] = "apache2"
    ((kind, facts),) = kinds(fleet, settings)
    assert (kind, facts["port"]) == ("port_taken", 8000)


@pytest.mark.parametrize(
    ("own", "kind"), [("f1", "host_of_another_fleet"), ("", "host_of_a_fleet")]
)
@pytest.mark.parametrize("number", [0, 1])
def test_host_of_another_fleet(fleet, settings, own, kind, number):
    settings["fleet_id"] = own
    mark(fleet[number], "f2")
    fleet[number]["survey"]["database"].update(holds_data=True, bytes=1)
    facts = {
        "host": fleet[number]["name"],
        "fleet": "f2",
        "own": own,
        "path": "/etc/benchfleet/fleet.json",
        "secrets": settings["secrets_path"],
    }
    assert kinds(fleet, settings) == [(kind, facts)]


def test_broken_mark(fleet, settings):
    fleet[0]["survey"]["mark"] = {"state": "broken", "path": "/x", "detail": "it is empty"}
    facts = {"host": "erp1", "error": "it is empty", "path": "/x"}
    assert kinds(fleet, settings) == [("mark_unreadable", facts)]


def test_commands_of_other_tools(fleet, settings):
    fleet[0]["survey"]["commands"] = [
        {"path": "/usr/local/bin/bench", "origin": "frappe/pilot"},
        {"path": "/usr/bin/bench", "origin": "unknown"},
        {"path": "/opt/bench/bin/bench", "origin": "frappe-bench"},
        {"path": "/root/bin/bench", "origin": "benchfleet"},
    ]
    pilot, unknown = (
        ("bench_command_foreign", {"host": "erp1", "path": path, "origin": origin})
        for path, origin in (
            ("/usr/local/bin/bench", "frappe/pilot"),
            ("/usr/bin/bench", "unknown"),
        )
    )
    assert kinds(fleet, settings) == [pilot, unknown]
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    assert kinds(fleet, settings) == [pilot]
