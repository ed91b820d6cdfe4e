"""Variables of the inventory: names, types, bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet.preflight import checks, variables

from filter_plugins import jobs
from tests.unit.bare_fleet import whats

ROLES = Path(__file__).parents[2] / "roles"


def test_unknown_variable(fleet, settings):
    for host in fleet:
        host["variables"].append("bench_frappe_brnch")
    found = checks.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        "unknown variable bench_frappe_brnch; did you mean bench_frappe_branch?"
    ]
    assert "all hosts" in found[0]["place"]


def test_misspelt_lan_ip(fleet, settings):
    fleet[1]["variables"].append("lan_pi")
    assert whats(fleet, settings) == ["unknown variable lan_pi; did you mean lan_ip?"]


def test_allowed_variable(fleet, settings):
    fleet[0]["variables"] += ["mariadb_exporter_port", "backup_dir", "fleet_lan_ip", "__bench_x"]
    assert whats(fleet, settings) == ["unknown variable mariadb_exporter_port"]
    settings["allowed_variables"] = ["mariadb_exporter_port"]
    assert whats(fleet, settings) == []


def test_types(fleet, settings):
    for host in fleet:
        host["type_errors"] = ["argument 'x' is of type str"]
    assert whats(fleet, settings) == ["argument 'x' is of type str"]


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
    assert whats(fleet, settings) == [
        "read_guard_wait is 60: it takes 0 to 10 seconds",
        "read_guard_fallback_calls is 0: it takes 1 to 100 calls",
    ]
    place = checks.preflight_problems(fleet, settings)[0]["place"]
    assert place == "read_guard_wait in the inventory, for erp1, rep1"


def test_bounds_of_what_is_kept(fleet, settings):
    fleet[0]["keep"] = {"number": 0, "days": "30"}
    fleet[1]["keep"] = {"number": "0", "days": -1}
    assert whats(fleet, settings) == [
        "number of fleet_keep is 0: it takes 1 to 1000",
        "days of fleet_keep is -1: it takes 1 to 36500",
    ]
    # What else is wrong in the map is reported with the types.
    for value in ({"number": None}, {"number": "many", "days": 1}):
        fleet[0]["keep"] = fleet[1]["keep"] = value
        assert whats(fleet, settings) == []
    fleet[1]["keep"] = 3
    assert whats(fleet, settings) == ["fleet_keep is 3, and no map"]


def test_proxies(fleet, settings):
    for proxy in ("http://10.0.0.1:3128", "https://proxy.lan:8080/"):
        fleet[0]["proxy"] = proxy
        assert whats(fleet, settings) == []
    for host, proxy in zip(fleet, ("http://user:secret@proxy.lan:3128", "proxy.lan"), strict=True):
        host["proxy"] = proxy
    told = checks.preflight_problems(fleet, settings)
    assert [(problem["what"], problem["place"]) for problem in told] == [
        (
            "fleet_http_proxy 'http://proxy.lan:3128' holds an account",
            "fleet_http_proxy in the inventory, for erp1",
        ),
        (
            "fleet_http_proxy 'proxy.lan' is not the address of a proxy",
            "fleet_http_proxy in the inventory, for rep1",
        ),
    ]
    assert "secret" not in str(told)


def test_addresses_and_networks_of_settings(fleet, settings):
    for host in fleet:
        host["networks"] = {"firewall_allow": ["10.0.0.0/33"], "router_trusted_proxies": ["::1"]}
    fleet[0]["networks"]["router_trusted_proxies"] = ["10.0.0.5", "lb.lan", "0.0.0.0/0"]
    told = checks.preflight_problems(fleet, settings)
    assert [(problem["what"].partition(" (")[0], problem["place"]) for problem in told] == [
        (
            "'10.0.0.0/33' in firewall_allow is neither an address nor a network",
            "firewall_allow in the inventory, for erp1, rep1",
        ),
        (
            "'lb.lan' in router_trusted_proxies is neither an address nor a network",
            "router_trusted_proxies in the inventory, for erp1",
        ),
        (
            "'0.0.0.0/0' in router_trusted_proxies would be everybody",
            "router_trusted_proxies in the inventory, for erp1",
        ),
    ]
