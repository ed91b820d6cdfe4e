"""Variables that must have one value in the whole fleet."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.template import trust_as_template
from fleet.preflight.agreement import FLEET_WIDE
from fleet.preflight.variables import role_options

from filter_plugins import agreement

OPTIONS = set(role_options(str(agreement.ROLES)))
# Variables that may differ between hosts; agreement.py says which may not.
OWN = frozenset(
    {
        # Used on the primary only, which is one host.
        "adopt_backup_dir",
        "adopt_restart_confirmed",
        "adopt_sudo_confirmed",
        "bench_build_assets",
        "fleet_adopt",
        # Of one run.
        "fleet_break_lock",
        "redis_cache_memory_mb",
        "redis_queue_memory_mb",
        "router_acme_email",
        "router_acme_server",
        "router_certificate",
        "router_certificate_key",
        "router_connect_timeout",
        "router_drain_seconds",
        "router_max_upload",
        "router_node_drained",
        "router_primary_methods",
        "router_read_timeout",
        "router_report_methods",
        "router_report_pool_calls",
        "router_trusted_proxies",
        "router_report_retry_window",
        "router_service_ip",
        "site_accounts_max_statement_time",
        "site_accounts_max_user_connections",
        "update_backup_dir",
        "update_job_seconds",
        # Settings of a host, or of a group of equal hosts.
        "bench_background_workers",
        "bench_python",
        "bench_python_mirror",
        "bench_environment",
        "bench_web_arguments",
        "bench_web_workers",
        "firewall_allow",
        "firewall_ports",
        "failover_max_loss",
        "fleet_http_proxy",
        "fleet_keep",
        "fleet_memory_mb",
        "fleet_untried_system",
        "mariadb_replica_catch_up_timeout",
        "mariadb_replica_heartbeat_max_age",
        "mariadb_replica_reseed",
        "mariadb_server_id",
        "mariadb_settings_extra",
        "read_guard_fallback_calls",
        "read_guard_fallback_seconds",
        "read_guard_policy",
        "read_guard_wait",
        "site_accounts_timeout",
        "site_sync_connect_timeout",
        "site_sync_log_days",
        "site_sync_transfer_timeout",
        "site_sync_wait",
        "switch_job_seconds",
        "verify_file_seconds",
        "verify_job_seconds",
        "verify_passwords",
        "verify_user",
    }
)


def problems(**hosts: dict[str, Any]) -> list[dict[str, Any]]:
    """Problems of a fleet of these hosts with their inventory variables."""
    return agreement.agreement_problems(hosts, list(hosts))


def test_every_variable_is_the_fleets_or_a_hosts() -> None:
    undecided = OPTIONS - FLEET_WIDE - OWN
    assert not undecided, f"put these into FLEET_WIDE or OWN: {undecided}"
    assert not FLEET_WIDE & OWN
    assert OPTIONS >= FLEET_WIDE | OWN, "no role has these any more"


def test_every_default_has_its_option() -> None:
    assert set(agreement.role_defaults()) <= OPTIONS


def test_a_port_that_one_group_sets_is_reported_with_hosts_and_values() -> None:
    (found,) = problems(erp1={}, rep1={"fleet_web_port": 8005}, rep2={"fleet_web_port": "8005"})
    assert found["id"] == "variable_differs"
    assert found["facts"] == {
        "name": "fleet_web_port",
        "values": {"8000": ["erp1"], "8005": ["rep1", "rep2"]},
    }


@pytest.mark.parametrize("name", sorted(FLEET_WIDE))
def test_each_shared_variable_is_compared_with_the_default(name: str) -> None:
    (found,) = problems(
        erp1={name: "/another", "inventory_dir": "/i"}, rep1={"inventory_dir": "/i"}
    )
    assert found["id"] == "variable_differs"
    assert found["facts"]["name"] == name
    assert found["facts"]["values"]["/another"] == ["erp1"]
    assert list(found["facts"]["values"].values()) == [["erp1"], ["rep1"]]


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_hosts_own_variable_may_differ(name: str) -> None:
    assert problems(erp1={name: 1}, rep1={}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fleet_web_port", 8000),
        ("fleet_web_port", "8000"),
        ("fleet_read_guard", "yes"),
        ("fleet_bench_dir", "/home/frappe/frappe-bench"),
        ("jobs_placement", {}),
        ("preflight_seed_factor", "2.2"),
    ],
)
def test_a_host_that_sets_the_default_agrees(name: str, value: Any) -> None:
    assert problems(erp1={name: value}, rep1={}) == []


def test_what_follows_from_another_variable_is_reported_once() -> None:
    found = problems(erp1={"fleet_bench_user": "erp"}, rep1={})
    assert [entry["facts"] for entry in found] == [
        {"name": "fleet_bench_user", "values": {"erp": ["erp1"], "frappe": ["rep1"]}}
    ]


def test_a_folder_is_what_it_follows_from() -> None:
    user = {"fleet_bench_user": "erp"}
    assert problems(erp1={**user, "fleet_bench_home": "/home/erp"}, rep1=user) == []


def test_an_unset_release_is_the_recorded_one_and_not_the_default() -> None:
    release = agreement.role_defaults()["bench_cli_version"]
    (found,) = problems(erp1={"bench_cli_version": release}, rep1={})
    assert found["facts"]["values"] == {release: ["erp1"], "nothing": ["rep1"]}
    assert problems(erp1={"bench_cli_version": ""}, rep1={}) == []


@pytest.mark.parametrize("password", ["secret", "sec/ret", "se@cret"])
def test_a_login_in_an_address_is_not_shown(password: str) -> None:
    app = {"name": "shop", "repo": f"https://me:{password}@git.example.com/shop"}
    (found,) = problems(erp1={"bench_apps": [app]}, rep1={})
    assert "ret" not in str(found["facts"])
    assert "ret" not in found["what"]
    assert "git.example.com/shop" in found["what"]


def test_what_depends_on_unknown_facts_is_not_judged() -> None:
    rep2 = {"fleet_web_port": trust_as_template("{{ ansible_facts.port }}")}
    assert problems(erp1={}, rep1={}, rep2=rep2) == []
    assert len(problems(erp1={}, rep1={"fleet_web_port": 1}, rep2=rep2)) == 1


def test_an_inventory_may_build_on_a_default() -> None:
    own = {"bench_cli_dir": trust_as_template("{{ fleet_bench_home }}/cli")}
    (found,) = problems(erp1={}, rep1=own)
    assert found["facts"]["values"]["/home/frappe/cli"] == ["rep1"]


def test_a_variable_of_another_host_is_its_own_or_the_default() -> None:
    hosts = {"erp1": {"bench_web_workers": 0}, "rep1": {}}
    assert agreement.in_effect("erp1", hosts, "bench_web_workers") == 0
    default = agreement.role_defaults()["bench_web_workers"]
    assert agreement.in_effect("rep1", hosts, "bench_web_workers") == default
    with pytest.raises(
        AnsibleFilterError, match=r"(?=.*\bbench_background_workers\b)(?=.*\brep1\b)"
    ):
        agreement.in_effect("rep1", hosts, "bench_background_workers")
