"""Variables of the inventory: names, types, bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet.preflight import variables

from filter_plugins import jobs
from tests.unit.bare_fleet import all_problems, ids, kinds

ROLES = Path(__file__).parents[2] / "roles"


def test_unknown_variable(fleet, settings):
    for host in fleet:
        host["variables"].append("bench_frappe_brnch")
    ((kind, facts),) = kinds(fleet, settings)
    assert (kind, facts["name"]) == ("variable_unknown", "bench_frappe_brnch")
    assert " bench_frappe_branch?" in facts["hint"]
    assert facts["hosts"] == "all hosts"


def test_misspelt_lan_ip(fleet, settings):
    fleet[1]["variables"].append("lan_pi")
    ((kind, facts),) = kinds(fleet, settings)
    assert (kind, facts["name"], facts["hosts"]) == ("variable_unknown", "lan_pi", ["rep1"])
    assert " lan_ip?" in facts["hint"]


def test_allowed_variable(fleet, settings):
    fleet[0]["variables"] += ["mariadb_exporter_port", "backup_dir", "fleet_lan_ip", "__bench_x"]
    ((kind, facts),) = kinds(fleet, settings)
    assert (kind, facts["name"]) == ("variable_unknown", "mariadb_exporter_port")
    assert facts["hint"] == ""
    settings["allowed_variables"] = ["mariadb_exporter_port"]
    assert ids(fleet, settings) == []


def test_types(fleet, settings):
    for host in fleet:
        host["type_errors"] = ["argument 'x' is of type str"]
    facts = {"error": "argument 'x' is of type str", "hosts": ["erp1", "rep1"]}
    assert kinds(fleet, settings) == [("variable_type", facts)]


@pytest.mark.parametrize("value", ["", 0, 2, "2"])
def test_background_workers_on_a_reporting_node_are_nothing_to_warn_of(fleet, settings, value):
    fleet[1]["background_workers"] = value
    assert jobs.job_warnings(fleet, settings) == []


def test_background_workers_may_be_a_map():
    known = variables.known_variables(str(ROLES))
    assert known["options"]["bench_background_workers"]["type"] == "raw"


def test_variables_of_our_own_roles_are_known():
    known = variables.known_variables(str(ROLES))
    assert {"fleet_sites", "fleet_web_port", "preflight_bench_mb"} <= set(known["variables"])
    assert {"fleet_", "preflight_", "bench_"} <= set(known["prefixes"])
    assert {"name", "apps"} <= set(known["site_keys"])
    assert "fleet_sites" not in known["options"]
    assert known["options"]["fleet_web_port"]["type"] == "int"


def test_variables_are_read_from_specs_defaults_and_tasks(tmp_path):
    role = tmp_path / "thing"
    for folder in ("meta", "defaults", "tasks"):
        (role / folder).mkdir(parents=True)
    (role / "meta/argument_specs.yml").write_text(
        "argument_specs: {main: {options: {thing_a: {type: int, required: true}}}}"
    )
    (role / "defaults/main.yml").write_text("---\nthing_b: 1\n")
    (role / "tasks/main.yml").write_text(
        "- register: thing_c\n- ansible.builtin.set_fact:\n    thing_d: 1\n"
    )
    known = variables.known_variables(str(tmp_path))
    assert known["variables"] == ["thing_a", "thing_b", "thing_c", "thing_d"]
    assert known["options"] == {"thing_a": {"type": "int"}}


def test_bounds_of_the_read_path(fleet, settings):
    fleet[1]["read_path"] = {"read_guard_wait": "60", "read_guard_fallback_calls": 0}
    fleet[0]["read_path"] = {"read_guard_wait": "60", "read_guard_fallback_seconds": "soon"}
    found = [(kind, *facts.values()) for kind, facts in kinds(fleet, settings)]
    kind = "read_path_out_of_range"
    assert found == [
        (kind, "read_guard_wait", "60", 0, 10, "seconds", ["erp1", "rep1"]),
        (kind, "read_guard_fallback_calls", "0", 1, 100, "calls", ["rep1"]),
    ]


def test_bounds_of_what_is_kept(fleet, settings):
    fleet[0]["keep"] = {"number": 0, "days": "30"}
    fleet[1]["keep"] = {"number": "0", "days": -1}
    found = [(kind, *facts.values()) for kind, facts in kinds(fleet, settings)]
    assert found == [
        ("keep_out_of_range", "number", "0", 1, 1000, ["erp1", "rep1"]),
        ("keep_out_of_range", "days", "-1", 1, 36500, ["rep1"]),
    ]
    # Other errors in the map are reported as variable_type.
    for value in ({"number": None}, {"number": "many", "days": 1}):
        fleet[0]["keep"] = fleet[1]["keep"] = value
        assert ids(fleet, settings) == []
    fleet[1]["keep"] = 3
    assert kinds(fleet, settings) == [("keep_not_a_map", {"value": "3", "hosts": ["rep1"]})]


def test_proxies(fleet, settings):
    for proxy in ("http://10.0.0.1:3128", "https://proxy.lan:8080/"):
        fleet[0]["proxy"] = proxy
        assert ids(fleet, settings) == []
    for host, proxy in zip(fleet, ("http://user:secret@proxy.lan:3128", "proxy.lan"), strict=True):
        host["proxy"] = proxy
    assert kinds(fleet, settings) == [
        ("proxy_with_account", {"value": "http://proxy.lan:3128", "hosts": ["erp1"]}),
        ("proxy_invalid", {"value": "proxy.lan", "hosts": ["rep1"]}),
    ]
    assert "secret" not in str(all_problems(fleet, settings))


def test_addresses_and_networks_of_settings(fleet, settings):
    for host in fleet:
        host["networks"] = {"firewall_allow": ["10.0.0.0/33"], "router_trusted_proxies": ["::1"]}
    fleet[0]["networks"]["router_trusted_proxies"] = ["10.0.0.5", "lb.lan", "0.0.0.0/0"]
    found = [
        (kind, facts["value"], facts["name"], facts["hosts"])
        for kind, facts in kinds(fleet, settings)
    ]
    assert found == [
        ("network_invalid", "10.0.0.0/33", "firewall_allow", ["erp1", "rep1"]),
        ("network_invalid", "lb.lan", "router_trusted_proxies", ["erp1"]),
        ("network_too_wide", "0.0.0.0/0", "router_trusted_proxies", ["erp1"]),
    ]
