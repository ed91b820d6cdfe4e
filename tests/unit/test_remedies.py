"""Each remedy of preflight and of an adoption is followed once; then nothing is left to mend.

A trial breaks a fleet that is in order, finds the problem, does what its remedy says, and asks
again: no problem may be left, nor a new one have come. What only an operator can do (take another
server, upgrade a system) ends in a host that is as if it were done.
"""

from __future__ import annotations

import copy
import importlib
import pkgutil
import shutil
import subprocess
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import yaml
from fleet import adoption, systems
from fleet import preflight as judging
from fleet.adoption import judge
from fleet.bench import queues
from fleet.bench.files import redis_address
from fleet.bench.look import installed_apps
from fleet.bench.program_settings import program_problems
from fleet.mariadb import options
from fleet.nginx.certificates import certificate_trouble
from fleet.preflight import checks, secrets
from fleet.preflight.jobs import job_problems
from fleet.preflight.problems import Kind
from fleet.preflight.secrets import SECRETS_OPEN_TO_OTHERS as OPEN
from fleet.preflight.systems import system_problems
from fleet.survey import benches, database
from fleet.survey import system as survey_system

from filter_plugins import mariadb_settings
from tests.unit.bare_fleet import GIB, a_host, first_settings, put_system
from tests.unit.test_adoption import BENCH, an_adopted_host

# Where the trials of other problems are, by the problem's id: beside the judging programs.
ELSEWHERE = {
    "adopt_certificate_unset": "test_adoption.py",
    "adopt_certificates_unset": "test_adoption.py",
    "adopt_command_in_crontab": "test_surroundings.py",
    "adopt_command_in_script": "test_surroundings.py",
    "adopt_group_of_root": "test_surroundings.py",
    "adopt_nginx_access": "test_nginx_look.py",
    "adopt_nginx_broken": "test_nginx_look.py",
    "adopt_nginx_doubled": "test_nginx_look.py",
    "adopt_nginx_files_needed": "test_nginx_look.py",
    "adopt_nginx_main_file": "test_nginx_look.py",
    "adopt_nginx_port": "test_nginx_look.py",
    "adopt_nginx_proxy_protocol": "test_nginx_look.py",
    "adopt_nginx_rule": "test_nginx_look.py",
    "adopt_nginx_server": "test_nginx_look.py",
    "adopt_sudo_of_ansible": "test_surroundings.py",
    "adopt_sudo_without_password": "test_surroundings.py",
    "former_primary_apart": "test_preflight_groups.py",
    "adopt_unserved_names": "test_nginx_look.py",
    "adopt_unserved_patterns": "test_nginx_look.py",
    "adopt_unserved_servers": "test_nginx_look.py",
    "app_code_not_read": "test_versions.py",
    "app_excludes_frappe": "test_apps.py",
    "app_needs_other_app": "test_apps.py",
    "app_of_other_major": "test_apps.py",
    "bench_python_missing": "test_versions.py",
    "bench_python_unfit": "test_versions.py",
    "check_node": "test_versions.py",
    "check_python": "test_versions.py",
    "filter_drops": "test_surroundings.py",
    "filter_on_the_way_drops": "test_surroundings.py",
    "fleet_format_newer": "test_versions.py",
    "host_name_unknown": "test_reach.py",
    "host_not_asked": "test_reach.py",
    "host_silent": "test_reach.py",
    "inventory_missing": "test_fit_inventory.py",
    "leaving_app_in_inventory": "test_leaving.py",
    "leaving_app_not_named": "test_leaving.py",
    "leaving_app_of_site": "test_leaving.py",
    "leaving_app_refused": "test_leaving.py",
    "leaving_data_unknown": "test_leaving.py",
    "leaving_group_has_job": "test_leaving.py",
    "leaving_node_has_job": "test_leaving.py",
    "leaving_node_not_named": "test_leaving.py",
    "leaving_node_primary": "test_leaving.py",
    "leaving_node_unknown": "test_leaving.py",
    "login_shell_missing": "test_reach.py",
    "no_node_fits": "test_versions.py",
    "no_python_fits": "test_versions.py",
    "node_unfit": "test_versions.py",
    "node_unfit_without_other": "test_versions.py",
    "placement_entry_twice": "test_jobs_filters.py",
    "python_missing": "test_reach.py",
    "python_of_adopted_bench": "test_versions.py",
    "python_unfit": "test_versions.py",
    "secrets_locked": "test_preflight_secrets.py",
    "secrets_missing": "test_preflight_secrets.py",
    "secrets_not_yaml": "test_remedies_of_the_secrets_file",
    "secrets_unreadable": "test_remedies_of_the_secrets_file",
    "secrets_without_fleet_id": "test_remedies_of_the_secrets_file",
    "site_app_unknown": "test_apps.py",
    "ssh_cut_off": "test_reach.py",
    "ssh_host_key_changed": "test_reach.py",
    "ssh_host_key_unknown": "test_reach.py",
    "ssh_host_key_unknown_behind_jump_host": "test_reach.py",
    "ssh_key_missing": "test_reach.py",
    "ssh_key_readable": "test_reach.py",
    "ssh_login_refused": "test_reach.py",
    "ssh_refused": "test_reach.py",
    "sudo_denied": "test_reach.py",
    "sudo_hangs": "test_reach.py",
    "sudo_missing": "test_reach.py",
    "sudo_password_missing": "test_reach.py",
    "sudo_password_wrong": "test_reach.py",
    "sudo_wants_terminal": "test_reach.py",
    "variable_differs": "test_agreement.py",
    "vault_password_missing": "test_reach.py",
    "vault_password_wrong": "test_reach.py",
}


def by_supervisor(
    programs: list[str], *kept: str, path: str = "/etc/supervisor/conf.d/b.conf"
) -> dict[str, Any]:
    """A file by which supervisor runs the bench; kept are programs of the operator's own."""
    return {"path": path, "ours": False, "programs": programs, "kept": list(kept)}


class Fleet:
    """A primary and a reporting node, both in order; adopted: its bench was made by hand."""

    def __init__(self, adopted: bool) -> None:
        self.settings = {**first_settings(), "check_mode": False, "state_dir": "/var/lib/fleet"}
        self.erp, self.rep = a_host("erp1", 11, "primary"), a_host("rep1", 21, "reporting")
        for host in (self.erp, self.rep):
            host["when_away"] = "primary"
        if adopted:
            other = an_adopted_host()
            survey = {**self.erp["survey"], **other.pop("survey")}
            survey["database"] = {**self.erp["survey"]["database"], **survey["database"]}
            survey["listeners"] = {"8000": [{**listener("gunicorn"), "unit": "supervisor.service"}]}
            self.erp.update(other, survey=survey, networks=self.erp["networks"])

    @property
    def found(self) -> dict[str, Any]:
        """What was found of the bench made by hand."""
        found: dict[str, Any] = self.erp["survey"]["adoption"]
        return found

    def problems(self) -> list[dict[str, str]]:
        """All that stands in the way."""
        hosts = [host for host in (self.erp, self.rep) if host]
        return [
            *checks.preflight_problems(hosts, self.settings),
            *judge.adoption_problems(hosts, self.settings),
            *job_problems(hosts, self.settings),
            *system_problems(hosts),
        ]


def listener(name: str) -> dict[str, Any]:
    """A process that listens."""
    return {"pid": 7, "name": name, "command": "", "program": "", "unit": "", "address": "::"}


class Trial(NamedTuple):
    """What is broken, the problem's id, how its remedy is followed; paths are Fleet's, by dots."""

    broken: dict[str, Any]
    id: str
    followed: dict[str, Any] | Callable[[Fleet], None]


def put(fleet: Fleet, changes: dict[str, Any] | Callable[[Fleet], None]) -> None:
    """Change a fleet: values by their paths, or by a function."""
    if callable(changes):
        changes(fleet)
        return
    for path, value in changes.items():
        first, *keys = path.split(".")
        here: Any = getattr(fleet, first)
        if not keys:
            setattr(fleet, first, value)
            continue
        here = reduce(lambda inner, key: inner[key], keys[:-1], here)
        here[keys[-1]] = copy.deepcopy(value)


def a_bench(path: str, version: str, **others: Any) -> dict[str, Any]:
    """A bench as it is found; others are its sites on another kind of database."""
    return {"path": path, "frappe_version": version, "named": "", "others": others}


def sites(value: Any) -> dict[str, Any]:
    """fleet_sites, which both hosts see."""
    return {"erp.sites": value, "rep.sites": value}


SITE = {"name": "erp.example.com", "apps": []}
A_SITE = {"user": "_c", "host": "", "names": [], "refused": []}


def plan(extra: dict[str, Any]) -> dict[str, Any]:
    """The settings of a primary's MariaDB with some of an operator's, by the role's own filters."""
    return mariadb_settings.mariadb_values(
        mariadb_settings.mariadb_settings(4096, "primary", 2, {}, extra)
    )


# Of a run that another began.
LEASE = {
    "run": "other",
    "account": "ann",
    "controller": "laptop",
    "playbook": "update.yml",
    "arguments": "",
    "begun": 1.8e9,
    "age": 30.0,
}
HAVE = "erp.survey.adoption."
CERTIFICATE = {"of": "router_certificate", "certificate": "/c", "key": "/k", "trouble": ""}
ACME = {"email": "admin@example.com", "server": "https://acme.example.com/directory"}
MADE = {
    "erp.survey.benches": [a_bench(BENCH, "15.1.0")],
    "erp.survey.mark": {"state": "present", "path": "/m", "fleet_id": "f1"},
    "settings.fleet_id": "f1",
}
RECORD = {"fleet_id": "f1", "epoch": 7, "primary": "erp1", "since": "2026-11-30T10:00:00+00:00",
          "hosts": {"erp1": "10.0.0.11", "rep1": "10.0.0.21"}, "open_alone": True}  # fmt: skip
GROUPS = {"all": ["erp1", "rep1"], "primary": ["erp1"], "reporting": ["rep1"]}

FLEET = [
    Trial({"erp.program_problems": list(program_problems({}, "-b x", "erp1"))},
          "web_arguments_taken", {"erp.program_problems": list(program_problems({}, "", "erp1"))}),
    Trial({"rep.survey.supervisor": "its option environment has a %"},
          "supervisor_unreadable", {"rep.survey.supervisor": ""}),
    Trial({"rep.survey.supervisor_writers": {"/etc/supervisor/conf.d/x.conf": "frappe"}},
          "supervisor_file_writable", {"rep.survey.supervisor_writers": {}}),
    # Runs.
    Trial({"rep.survey.lease": LEASE}, "run_under_way", {"settings.break_lock": True}),
    # The record of who is primary.
    Trial({**MADE, "rep.survey.mark": MADE["erp.survey.mark"],
           "rep.survey.record": {"trouble": "x"}}, "record_unreadable",
          {"rep.survey.record": RECORD}),
    Trial({**MADE, "erp.survey.record": {**RECORD, "epoch": 8, "primary": "rep1"},
           "rep.survey.record": RECORD}, "primary_moved",
          {"settings.groups": {**GROUPS, "primary": ["rep1"], "reporting": ["erp1"]}}),
    # Addresses.
    Trial({"erp.default": "203.0.113.1"} | {"erp.addresses": ["10.0.0.11", "10.1.0.1"]},
          "lan_ip_ambiguous", {"erp.lan_ip": "10.0.0.11"}),
    Trial({"erp.default": "", "erp.addresses": ["203.0.113.1"]}, "lan_ip_missing",
          {"erp.addresses": ["203.0.113.1", "10.0.0.11"]}),
    Trial({"erp.lan_ip": "erp1.lan"}, "lan_ip_invalid",
          {"erp.lan_ip": "10.0.0.11"}),
    Trial({"erp.lan_ip": "203.0.113.1", "erp.addresses": ["203.0.113.1", "10.0.0.11"]},
          "lan_ip_not_private",
          {"erp.lan_ip": "10.0.0.11"}),
    Trial({"erp.lan_ip": "10.0.0.99"}, "lan_ip_not_on_host", {"erp.lan_ip": "10.0.0.11"}),
    Trial({"rep.default": "10.0.0.11", "rep.addresses": ["10.0.0.11"]},
          "lan_ip_shared",
          {"rep.default": "10.0.0.21", "rep.addresses": ["10.0.0.21"]}),
    # Groups.
    Trial({"settings.groups": {}}, "inventory_empty", {"settings.groups": GROUPS}),
    Trial({"settings.groups.primary": []}, "primary_missing", {"settings.groups": GROUPS}),
    Trial({"settings.groups.primary": ["erp1", "rep2"]}, "primary_several",
          {"settings.groups": GROUPS}),
    Trial({"settings.groups.reporting": ["erp1", "rep1"]}, "host_in_both_groups",
          {"settings.groups": GROUPS}),
    Trial({"settings.standby_named": "rep9"}, "standby_unknown", {"settings.standby_named": None}),
    Trial({"settings.groups.all": ["erp1", "rep1", "old"]}, "host_in_no_group",
          {"settings.groups": GROUPS}),
    Trial({"settings.updating": True, "settings.groups.all": ["erp1", "rep1", "rep2"],
           "settings.groups.reporting": ["rep1", "rep2"]}, "update_limited",
          {"settings.groups": GROUPS}),
    Trial({"settings.primary": a_host("erp1", 11, "primary"), "erp": None}, "primary_left_out",
          {"settings.primary": {}, "erp": a_host("erp1", 11, "primary")}),
    # Sites.
    Trial(sites("erp.example.com"), "sites_not_a_list", sites([SITE])),
    Trial(sites([]), "sites_empty", sites([SITE])),
    Trial(sites([SITE, SITE]), "site_listed_twice", sites([SITE])),
    Trial(sites([{**SITE, "names": "erp"}]), "site_names_not_a_list",
          sites([{**SITE, "names": ["erp", "10.0.0.11"]}])),
    Trial(sites([{**SITE, "names": ["http://Erp:80"]}]), "site_further_name_invalid",
          sites([{**SITE, "names": ["erp"]}])),
    Trial(sites([{**SITE, "names": ["erp", "erp"]}]), "site_name_taken",
          sites([{**SITE, "names": ["erp"]}])),
    Trial(sites([{**SITE, "app": []}]), "site_key_unknown", sites([SITE])),
    Trial(sites(["erp.example.com"]), "site_entry_invalid",
          sites([{"name": "erp.example.com"}])),
    Trial(sites([{"apps": []}]), "site_without_name", sites([SITE])),
    Trial(sites([{"name": "Erp Test.com"}]), "site_name_invalid",
          sites([{"name": "erp-test.com"}])),
    Trial({**MADE, "erp.survey.gone_sites": ["erp.example.com"]}, "site_gone",
          sites([{"name": "crm.example.com"}])),
    # Variables.
    Trial({"erp.variables": ["fleet_site"]}, "variable_unknown",
          {"settings.allowed_variables": ["fleet_site"]}),
    Trial({"erp.type_errors": ["x is no number"]}, "variable_type",
          {"erp.type_errors": []}),
    Trial({"erp.read_path": {"read_guard_wait": 99}}, "read_path_out_of_range",
          {"erp.read_path": {"read_guard_wait": 10}}),
    Trial({"erp.keep": {"number": 0, "days": 30}}, "keep_out_of_range",
          {"erp.keep": {"number": 3, "days": 30}}),
    Trial({"erp.keep": 3}, "keep_not_a_map", {"erp.keep": {"number": 3, "days": 30}}),
    Trial({"erp.proxy": "http://u:p@proxy.lan"}, "proxy_with_account",
          {"erp.proxy": "http://proxy.lan:3128"}),
    Trial({"erp.proxy": "proxy.lan"}, "proxy_invalid", {"erp.proxy": "http://proxy.lan:3128"}),
    Trial({"erp.networks.firewall_allow": ["office"]}, "network_invalid",
          {"erp.networks.firewall_allow": ["10.0.0.0/24"]}),
    Trial({"erp.networks.router_trusted_proxies": ["::/0"]}, "network_too_wide",
          {"erp.networks.router_trusted_proxies": ["fd00::5"]}),
    *(Trial({"erp.service_ip": value}, "service_ip_unusable", {"erp.service_ip": "10.0.0.99/24"})
      for value in ("10.0.0.99", "fd00::9/64", "10.0.0.0/24", "10.0.0.11/24")),
    # Certificates.
    Trial({"erp.survey.certificates": [{**CERTIFICATE, "key": ""}], "erp.certificate": "/c"},
          "certificate_incomplete", {"erp.survey.certificates": [CERTIFICATE]}),
    Trial({"erp.survey.certificates": [{**CERTIFICATE, "trouble": "no"}], "erp.certificate": "/c"},
          "certificate_unusable", {"erp.survey.certificates": [CERTIFICATE]}),
    Trial({"erp.survey.certificates": [CERTIFICATE]}, "certificate_of_one_site",
          {"erp.certificate": "/c"}),
    Trial({"erp.acme": {**ACME, "email": "admin"}}, "acme_email_invalid",
          {"erp.acme": ACME}),
    Trial({"erp.acme": {**ACME, "server": "acme"}}, "acme_server_invalid",
          {"erp.acme": ACME}),
    Trial({"erp.acme": ACME, "erp.certificate": "/c"}, "acme_beside_certificate",
          {"erp.certificate": ""}),
    # Folders.
    Trial({"erp.bench_dir": "/opt/bench-1"}, "bench_dir_outside_home",
          {"erp.bench_dir": BENCH}),
    *(Trial({"erp.cli_dir": folder}, kind, {"erp.cli_dir": "/opt/bench-cli"})
      for folder, kind in (("/home/frappe", "cli_dir_holds_home"), ("cli", "cli_dir_relative"),
                           ("/opt", "cli_dir_of_system"), (f"{BENCH}/cli", "cli_dir_in_bench"))),
    Trial({"erp.survey.folders.cli": "foreign"}, "cli_dir_foreign",
          {"erp.survey.folders.cli": "absent"}),
    Trial({"rep.survey.folders.bench": "foreign"}, "bench_dir_foreign",
          {"rep.survey.folders.bench": "absent"}),
    # Numbers, versions.
    Trial({"erp.server_id": 5, "rep.server_id": 5}, "server_id_shared",
          {"rep.server_id": 6}),
    Trial({"erp.server_id": "x"}, "server_id_invalid", {"erp.server_id": ""}),
    Trial({"erp.lan_ip": "10.0.0.0", "erp.addresses": ["10.0.0.0"]}, "server_id_not_derivable",
          {"erp.server_id": 77}),
    Trial({"erp.survey.systemd": False}, "no_systemd",
          {"erp.survey.systemd": True}),
    Trial({"erp.ssh_key": ""}, "ssh_host_key_missing", {"erp.ssh_key": "AAAA"}),
    Trial({"erp.survey.database.product": "MySQL", "erp.survey.database.version": "8.0",
           "erp.survey.database.program": "/usr/sbin/mysqld"}, "database_not_mariadb",
          {"erp.survey.database.product": None}),
    Trial({"erp.survey.database.product": "MariaDB", "erp.survey.database.version": "10.6.1",
           "erp.survey.database.program": "/m"},
          "mariadb_unsupported", {"erp.survey.database.version": "10.11.6"}),
    Trial(lambda f: put_system(f.erp, "13.1"), "replica_older",  # type: ignore[arg-type]
          lambda f: put_system(f.rep, "13.1")),
    Trial({**MADE, "erp.survey.benches": [a_bench(BENCH, "13.9")]},
          "frappe_unsupported",
          {"erp.survey.benches": [a_bench(BENCH, "15.1")]}),
    Trial({"erp.branch": "version-14", "rep.branch": "version-14"}, "read_guard_on_frappe_14",
          {"erp.read_guard": False, "rep.read_guard": False}),
    Trial({"erp.branch": "version-12", "rep.branch": "version-12"}, "frappe_branch_unsupported",
          {"erp.branch": "version-15", "rep.branch": "version-15"}),
    # What is on the hosts.
    Trial({"erp.survey.mark": {"state": "broken", "path": "/m", "detail": "x"}}, "mark_unreadable",
          {"erp.survey.mark": {"state": "absent", "path": "/m"}}),
    Trial({**MADE, "settings.fleet_id": "f2"}, "host_of_another_fleet",
          {"settings.fleet_id": "f1"}),
    Trial({**MADE, "settings.fleet_id": ""}, "host_of_a_fleet", {"settings.fleet_id": "f1"}),
    Trial({"erp.survey.database.holds_data": True}, "data_foreign",
          {"erp.survey.database.holds_data": False}),
    Trial({"rep.survey.database.holds_data": True}, "data_foreign",
          {"rep.survey.database.holds_data": False}),
    # Another host is used as primary.
    *(Trial({"erp.survey.benches": [a_bench(BENCH, "15.1")],
             "erp.survey.database.holds_data": True}, kind,
            {"erp.survey.benches": [], "erp.survey.database.holds_data": False})
      for kind in ("data_adoptable", "bench_adoptable")),
    Trial({"rep.survey.benches": [a_bench(BENCH, "15.1")]}, "bench_foreign",
          {"rep.survey.benches": []}),
    Trial({"erp.survey.update": "2026-01-01"}, "update_unfinished",
          {"erp.survey.update": ""}),
    Trial({"erp.survey.commands": [{"path": "/usr/bin/bench", "origin": "unknown"}]},
          "bench_command_foreign", {"erp.survey.commands": []}),
    Trial({"settings.ports.report": 8000}, "port_shared", {"settings.ports.report": 8001}),
    Trial({"erp.survey.listeners": {"8001": [listener("php-fpm")]}},
          "port_taken", {"settings.ports.report": 8017}),
    Trial({"erp.survey.listeners": {"80": [listener("apache2")]}}, "router_port_taken",
          {"erp.survey.listeners": {}}),
    Trial({"erp.survey.disk.bench.free": 1, "erp.survey.disk.data.free": 1}, "disk_too_small",
          {"erp.survey.disk.bench.free": 9 * GIB, "erp.survey.disk.data.free": 9 * GIB}),
    Trial({"rep.survey.lan": {"ok": False, "detail": "no answer", "address": "x", "port": 22}},
          "primary_unreachable", {"rep.survey.lan": {"ok": True}}),
    Trial({"rep.survey.clock": {"low": 60.0, "high": 61.0}}, "clocks_differ",
          {"rep.survey.clock": {"low": 0.0, "high": 0.1}}),
    Trial({"erp.survey.database.answers": {"lc_time_names": "en_US"},
           "rep.mariadb_extra": {"lc_time_names": "de_DE"}}, "setting_differs_from_primary",
          {"erp.mariadb_extra": {"lc_time_names": "de_DE"}}),
    Trial({"rep.survey.time_zone": {"name": "Europe/Berlin", "offsets": [3600] * 3}},
          "time_zone_differs",
          {"rep.survey.time_zone": {"name": "Etc/UTC", "offsets": [0] * 3}}),
    Trial({"rep.survey.time_zone": {"name": "Etc/UTC", "offsets": [3600] * 3}},
          "time_zone_data_differs",
          {"rep.survey.time_zone": {"name": "Etc/UTC", "offsets": [0] * 3}}),
    Trial({"erp.survey.database.answers": {"time_zone": "+02:00"}},
          "mariadb_time_zone_differs",
          {"erp.survey.database.answers": {"time_zone": "SYSTEM"}}),
    Trial({"settings.secrets.problem": OPEN.found(path="/s", mode="0644")},
          "secrets_open_to_others",
          {"settings.secrets.problem": None}),
]  # fmt: skip


def placed(value: Any) -> dict[str, Any]:
    """jobs_placement, which both hosts see."""
    return {"erp.placement": value, "rep.placement": value}


GOOD = placed({"app.tasks.run": "erp1"})
WORKERS = "erp.background_workers"
JOBS = [
    Trial(placed("app.tasks.run"), "placement_no_map", GOOD),
    Trial(placed({"app tasks": "erp1"}), "placement_job_malformed", GOOD),
    Trial(placed({"app.tasks.run": None}), "placement_server_malformed", GOOD),
    Trial(placed({"app.tasks.run": ["erp1", "rep1"]}), "placement_several_servers",
          {**placed({"app.tasks.run": "reporting"}), "rep.background_workers": {"placed": 1}}),
    Trial(placed({"app.tasks.run": "erp9"}), "placement_server_unknown", GOOD),
    Trial({**placed({"app.tasks.run": "db1"}),
           "settings.groups": {**GROUPS, "all": ["erp1", "rep1", "db1"],
                               "mariadb_replica": ["db1"]}},
          "placement_host_without_bench", GOOD),
    Trial({**placed({"app.tasks.run": "dbs"}), "settings.groups": {**GROUPS, "dbs": []}},
          "placement_group_without_bench", GOOD),
    Trial({**placed({"app.tasks.run": "rep+1", "app.tasks.two": "rep/1"}),
           "settings.groups": {**GROUPS, "rep+1": ["erp1"], "rep/1": ["erp1"]}},
          "placement_queue_shared",
          {**placed({"app.tasks.run": "rep_1", "app.tasks.two": "rep-1"}),
           "settings.groups": {**GROUPS, "rep_1": ["erp1"], "rep-1": ["erp1"]}}),
    Trial({WORKERS: "many"}, "workers_malformed", {WORKERS: 6}),
    Trial({WORKERS: {"": 1, "long,default,short": 1}}, "workers_without_queue",
          {WORKERS: {"long,default,short": 1}}),
    Trial({WORKERS: {"long,default,short": "x"}}, "workers_not_counted",
          {WORKERS: {"long,default,short": 1}}),
    Trial({WORKERS: {"long,default,short": 1, "long, default, short": 1}}, "workers_twice",
          {WORKERS: {"long,default,short": 2}}),
    Trial({WORKERS: {"long,default,short": 1, "at-erp1": 1}}, "workers_queue_of_server",
          {WORKERS: {"long,default,short": 1, "placed": 1}}),
    Trial({WORKERS: {"long,default,short,shrt": 1}}, "workers_queue_unknown",
          {WORKERS: {"long,default,short": 1}}),
    Trial({WORKERS: 0}, "workers_none", {WORKERS: 1}),
    Trial({WORKERS: {"long,short": 1}}, "queue_without_workers",
          {WORKERS: {"long,short": 1, "default": 1}}),
    Trial({WORKERS: {"long": 1}, "rep.background_workers": 2, **placed({"app.tasks.run": "rep1"})},
          "primary_lacks_queues", {"erp.when_away": "wait"}),
    Trial(placed({"app.tasks.run": "rep1"}), "host_without_placed_workers",
          {"rep.background_workers": {"placed": 1}}),
    Trial(placed({"app.tasks.run": "reporting"}), "group_without_placed_workers",
          {"rep.background_workers": {"placed": 1}}),
    Trial({"erp.away_seconds": 1}, "away_seconds_out_of_bounds", {"erp.away_seconds": 60}),
    Trial({**placed({"app.tasks.rnu": "erp1"}), "erp.survey.jobs": {
        "known": True, "apps": ["app"], "matches": {"app.tasks.rnu": []}, "queues": {}}},
          "placement_job_unknown", placed({})),
    Trial({**placed({"app.*": "erp1"}), "erp.survey.jobs": {
        "known": True, "apps": ["app"], "matches": {"app.*": []}, "queues": {}}},
          "placement_pattern_without_jobs", placed({})),
    Trial(placed({"app.*": "erp1", "app.tasks.run": "erp1"}), "job_placed_twice", GOOD),
]  # fmt: skip
SYSTEMS = [
    Trial(lambda f: put_system(f.erp, "10.1"), "system_unknown",  # type: ignore[arg-type]
          lambda f: put_system(f.erp, "12.5")),
    Trial({"erp.system": next(row for row in systems.SYSTEMS if not row["tried"])},
          "system_untried", {"erp.untried_system": True}),
]  # fmt: skip

ADOPTED = [
    Trial({"erp.groups": ["primary", "bench_primary", "mariadb_primary", "redis"]},
          "adopt_group_missing",
          {"erp.groups": ["primary", "bench_primary", "mariadb_primary", "redis", "router"]}),
    Trial({"erp.survey.benches": [a_bench("/home/frappe/b2", "15.1")]},
          "adopt_bench_elsewhere", {"erp.bench_dir": "/home/frappe/b2",
           "settings.bench_dir": "/home/frappe/b2",
           f"{HAVE}supervisor": [by_supervisor(["b2-web"])]}),
    Trial({"erp.survey.benches": []}, "adopt_bench_missing",
          {"erp.survey.benches": [a_bench(BENCH, "15.1")]}),
    Trial({"erp.survey.benches": [a_bench(path, "15.1")
                                  for path in (BENCH, "/home/frappe/b2")]},
          "adopt_second_bench",
          {"erp.survey.benches": [a_bench(BENCH, "15.1")]}),
    Trial({"erp.survey.benches": [a_bench(BENCH, "15.1"),
                                  {**a_bench("/home/frappe/b2", "15.1"), "named": "/etc/x"}]},
          "adopt_second_bench_named",
          {"erp.survey.benches": [a_bench(BENCH, "15.1")]}),
    Trial({f"{HAVE}bench.owner": "erp"}, "adopt_bench_owner", {"erp.bench_user": "erp"}),
    Trial({f"{HAVE}bench.home": "/home/frappe/"[:5]}, "adopt_bench_home",
          {"erp.bench_home": "/home"}),
    Trial({f"{HAVE}bench.shell": "/bin/sh"}, "adopt_bench_shell",
          {f"{HAVE}bench.shell": "/bin/bash"}),
    # A bench outside of its account's home, and the home of both problems.
    Trial({"erp.bench_dir": "/opt/bench/frappe-bench",
           "settings.bench_dir": "/opt/bench/frappe-bench",
           "erp.survey.benches": [a_bench("/opt/bench/frappe-bench", "15.1")]},
          "bench_not_in_home",
          {"erp.bench_home": "/opt/bench", f"{HAVE}bench.home": "/opt/bench"}),
    Trial({"erp.bench_dir": "/opt/frappe-bench", "settings.bench_dir": "/opt/frappe-bench",
           "erp.survey.benches": [a_bench("/opt/frappe-bench", "15.1")]},
          "bench_in_system_folder",
          {"erp.bench_dir": BENCH, "settings.bench_dir": BENCH,
           "erp.survey.benches": [a_bench(BENCH, "15.1")]}),
    Trial({f"{HAVE}bench.unversioned": ["own"]}, "adopt_app_without_git",
          {f"{HAVE}bench.unversioned": []}),
    Trial({f"{HAVE}bench.python": ""}, "adopt_bench_python", {f"{HAVE}bench.python": "3.11.2"}),
    Trial({"erp.survey.benches": [a_bench(BENCH, "16.2.0")]},
          "adopt_frappe_branch",
          {"erp.branch": "version-16", "rep.branch": "version-16"}),
    # Of a version in the making there is no branch with its number.
    Trial({"erp.survey.benches": [a_bench(BENCH, "17.0.0-dev")]},
          "adopt_frappe_branch",
          {"erp.branch": "develop", "rep.branch": "develop"}),
    Trial({f"{HAVE}bench.services.webserver_port": "8011"}, "adopt_service_port",
          {"settings.ports.web": 8011}),
    *(Trial({f"{HAVE}bench.redis.{key}": redis_address(url) | {"local": local}}, kind,
            {f"{HAVE}bench.redis.{key}": redis_address(good) | {"local": True}})
      for key, url, local, kind, good in (
          ("redis_cache", "redis://10.9.9.9:13000", False, "adopt_redis_elsewhere",
           "redis://127.0.0.1:13000"),
          ("redis_cache", "unix:///s", True, "adopt_redis_socket", "redis://127.0.0.1:13000"),
          ("redis_cache", "rediss://127.0.0.1", True, "adopt_redis_tls",
           "redis://127.0.0.1:13000"),
          ("redis_cache", "redis://:x/y@h", True, "adopt_redis_url", "redis://127.0.0.1:13000"),
          ("redis_queue", "redis://127.0.0.1:13000", True, "adopt_redis_shared",
           "redis://127.0.0.1:11000"),
          ("redis_queue", "redis://127.0.0.1:11000/3", True, "adopt_redis_database",
           "redis://127.0.0.1:11000"))),
    Trial({f"{HAVE}bench.files": {"config/redis_queue.conf": {"refused": ["include"], "gone": []}}},
          "adopt_redis_setting", {f"{HAVE}bench.files": {}}),
    Trial({f"{HAVE}bench.keys.unread": ["erp.example.com/site_config.json"]},
          "adopt_config_unreadable", {f"{HAVE}bench.keys.unread": []}),
    *(Trial({f"{HAVE}bench.keys.refused": [key]}, kind, {f"{HAVE}bench.keys.refused": []})
      for key, kind in (("read_from_replica", "adopt_key_of_a_replica"),
                        ("db_ssl_ca", "adopt_key_of_tls"),
                        ("db_name", "adopt_key_of_a_site"),
                        ("redis_cache_sentinel_enabled", "adopt_key_of_sentinel"),
                        ("use_rq_auth", "adopt_key_of_all_sites"))),
    Trial({"erp.survey.benches": [a_bench(BENCH, "15.1", pg={"kind": "postgres", "file": "/f"})]},
          "site_on_other_database", {"erp.survey.benches": [a_bench(BENCH, "15.1")]}),
    Trial({f"{HAVE}bench.sites": {"erp.example.com": {**A_SITE, "host": "10.0.0.11"}}},
          "adopt_database_by_own_address",
          {f"{HAVE}bench.sites": {"erp.example.com": A_SITE}}),
    Trial({"erp.survey.listeners": {"8000": [listener("gunicorn")]}}, "adopt_not_by_supervisor",
          {"erp.survey.listeners": {"8000": [{**listener("gunicorn"),
                                              "unit": "supervisor.service"}]}}),
    Trial({f"{HAVE}supervisor": []}, "adopt_no_program",
          lambda f: put(f, {f"{HAVE}supervisor": Fleet(True).found["supervisor"]})),
    Trial({f"{HAVE}supervisor": [by_supervisor(["erp-web"])]}, "adopt_prefix_missing",
          {f"{HAVE}supervisor": [by_supervisor(["frappe-bench-web"])]}),
    Trial({f"{HAVE}supervisor": [by_supervisor(["frappe-bench-web"], path="/srv/erp.conf")]},
          "adopt_other_folder",
          {f"{HAVE}supervisor": [by_supervisor(["frappe-bench-web"])]}),
    Trial({f"{HAVE}supervisor": [by_supervisor(["frappe-bench-web"], "frappe-bench-redis-bot")]},
          "adopt_program_names_taken",
          {f"{HAVE}supervisor": [by_supervisor(["frappe-bench-web"], "frappe-bench-bot")]}),
    *(Trial({f"{HAVE}programs.refused": [{"reason": reason, "section": "program:bot", "file": "/f",
                                          "writer": "x", "names": ["root"]}]},
            kind, {f"{HAVE}programs.refused": []})
      for reason, kind in (("account", "adopt_other_account"), ("options", "adopt_other_options"),
                           ("section", "adopt_other_section"))),
    Trial({f"{HAVE}programs.unread": True}, "adopt_folder_unread",
          {f"{HAVE}programs.unread": False}),
    # Sites as benches have them: names that are no host's, and addresses.
    *(Trial({f"{HAVE}bench.sites": {site: A_SITE},
             f"{HAVE}nginx.files": []},
            "adopt_no_site_named", sites([{"name": site}]))
      for site in ("crm.example.com", "test_site", "10.0.2.15", "site1.local")),
    Trial({f"{HAVE}bench.sites": {"ERP": A_SITE},
           f"{HAVE}nginx.files": []},
          "adopt_no_site_in_lower_case",
          {f"{HAVE}bench.sites": {"erp": A_SITE},
           **sites([{"name": "erp"}])}),
    Trial({f"{HAVE}bench.services.db_host": "10.9.9.9"}, "adopt_database_elsewhere",
          {f"{HAVE}bench.services.db_host": ""}),
    Trial({f"{HAVE}database.trouble": "Access denied"}, "adopt_root_refused",
          {f"{HAVE}database.trouble": ""}),
    Trial({f"{HAVE}database.follows": True}, "adopt_server_follows",
          {f"{HAVE}database.follows": False}),
    Trial({f"{HAVE}database.read_only": True}, "adopt_server_read_only",
          {f"{HAVE}database.read_only": False}),
    Trial({f"{HAVE}database.accounts": ["repl@%"]}, "adopt_names_taken",
          {f"{HAVE}database.accounts": ["repl_old@%"]}),
    Trial({f"{HAVE}database.accounts": ["app@web01.lan"]}, "adopt_accounts_by_name",
          {f"{HAVE}database.accounts": ["app@10.0.0.5"]}),
    # The plan is made of this setting by the role's own filters.
    Trial({f"{HAVE}database.accounts": ["app@web01.lan"]}, "adopt_accounts_by_name",
          lambda f: put(f, {"erp.mariadb_plan": plan(
              {"skip_name_resolve": False})})),
    Trial({f"{HAVE}database.settings": {"port": "3307"}}, "adopt_mariadb_port",
          {"settings.ports.mariadb": 3307}),
    Trial({"erp.restart_confirmed": False}, "adopt_restart_for_binlog",
          {"erp.restart_confirmed": True}),
    Trial({"erp.restart_confirmed": False, f"{HAVE}database.log_bin": True},
          "adopt_restart_for_settings", {"erp.restart_confirmed": True}),
]  # fmt: skip


def followed(trial: Trial, adopted: bool) -> None:
    """Try one remedy."""
    fleet = Fleet(adopted)
    assert fleet.problems() == []
    put(fleet, trial.broken)
    told = fleet.problems()
    assert trial.id in [found["id"] for found in told], told
    put(fleet, trial.followed)
    assert fleet.problems() == []


@pytest.mark.parametrize("trial", [*FLEET, *JOBS, *SYSTEMS], ids=lambda trial: trial.id)
def test_remedies_of_preflight(trial: Trial) -> None:
    followed(trial, False)


@pytest.mark.parametrize("trial", ADOPTED, ids=lambda trial: trial.id)
def test_remedies_of_an_adoption(trial: Trial) -> None:
    followed(trial, True)


# All files that make problems.
JUDGES = [
    module
    for package in (adoption, judging)
    for entry in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    if hasattr(module := importlib.import_module(entry.name), "Kind")
] + [queues]


def kinds_of(module: ModuleType) -> list[Kind]:
    """The kinds of problems that a module names."""
    return [value for value in vars(module).values() if isinstance(value, Kind)]


def test_no_problem_is_without_a_trial() -> None:
    ids = set()
    for trials, adopted in (([*FLEET, *JOBS, *SYSTEMS], False), (ADOPTED, True)):
        for trial in trials:
            fleet = Fleet(adopted)
            put(fleet, trial.broken)
            ids |= {found["id"] for found in fleet.problems()}
    kinds = {kind.id for module in JUDGES for kind in kinds_of(module)}
    assert kinds - ids - set(ELSEWHERE) == set()


def test_remedies_of_the_secrets_file(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yml"
    good = yaml.safe_dump({"fleet_id": "f1"})

    def found() -> str:
        problem = secrets.secrets_state(str(file))["problem"]
        return problem["id"] if problem else ""

    assert found() == ""
    file.write_text(good)
    file.chmod(0o644)
    assert found() == "secrets_open_to_others"
    file.chmod(0o600)
    assert found() == ""
    # Restored from a backup.
    for text, kind in (
        ("{", "secrets_not_yaml"),
        ("[]", "secrets_without_fleet_id"),
        ("fleet_id: 1", "secrets_without_fleet_id"),
    ):
        file.write_text(text)
        assert found() == kind
        file.write_text(good)
        assert found() == ""
    file.unlink()
    file.mkdir()
    assert found() == "secrets_unreadable"


def holds_data(folder: str) -> bool:
    """Whether the survey finds a server's data in a folder."""
    found = database.read_database(folder, "/none", options.program())
    return bool(found["holds_data"])


def test_remedies_on_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator does there, by the functions that look at a host."""
    # git init, git add --all, git commit.
    app = tmp_path / "bench/apps/own"
    app.mkdir(parents=True)
    (app / "own.py").write_text("x = 1\n")
    assert installed_apps(str(tmp_path / "bench")) == {}
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=app, check=True)
    assert list(installed_apps(str(tmp_path / "bench"))) == ["own"]
    # Remove or rename the command bench.
    command = tmp_path / "bin/bench"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    assert len(benches.find_commands([], (str(command.parent),))) == 1
    command.rename(command.with_name("bench.old"))
    assert benches.find_commands([], (str(command.parent),)) == []
    # Move the data folder, and the one of the CLI, away.
    for folder in ("data", "cli"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ibdata1").write_bytes(b"x")
    assert holds_data(f"{tmp_path}/data")
    assert benches.folder_state(f"{tmp_path}/cli") == "foreign"
    for folder in ("data", "cli"):
        (tmp_path / folder).rename(tmp_path / f"{folder}.before")
    assert not holds_data(f"{tmp_path}/data")
    assert benches.folder_state(f"{tmp_path}/cli") == "absent"
    # Remove the note of a site that shall be made anew.
    note = tmp_path / "state/made-site-erp.example.com"
    note.parent.mkdir()
    note.write_text("")
    assert benches.gone_sites(f"{tmp_path}/bench", str(note.parent)) == ["erp.example.com"]
    note.unlink()
    assert benches.gone_sites(f"{tmp_path}/bench", str(note.parent)) == []
    # timedatectl set-timezone makes such a link.
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    monkeypatch.setenv("TZ", "UTC")
    there = survey_system.time_zone("/usr/share/zoneinfo/Asia/Kolkata")
    assert survey_system.time_zone(str(link))["offsets"] != there["offsets"]
    # By another name: a process reads the same one once.
    link = tmp_path / "localtime.new"
    link.symlink_to("/usr/share/zoneinfo/Asia/Kolkata")
    assert survey_system.time_zone(str(link))["offsets"] == there["offsets"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_key_with_a_password_becomes_one_without(tmp_path: Path) -> None:
    certificate, key, new = (str(tmp_path / name) for name in ("c.pem", "c.key", "new.key"))
    words = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-subj",
        "/CN=erp.example.com",
        "-passout",
        "pass:secret",
    ]
    subprocess.run(
        ["openssl", *words, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    trouble = certificate_trouble(certificate, key)
    # Another key's message begins with the key.
    assert trouble.startswith(f"{certificate} ")
    assert key in trouble
    words = ["pkey", "-in", key, "-out", new, "-passin", "pass:secret"]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    assert certificate_trouble(certificate, new) == ""
