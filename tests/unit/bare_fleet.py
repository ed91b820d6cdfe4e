"""A primary and a replica that are in order, for the tests of preflight."""

from __future__ import annotations

import copy
from typing import Any

from fleet import systems
from fleet.preflight import checks

from filter_plugins import jobs

GIB = 1024**3
# The run that preflight is part of.
OWN_RUN = {
    "run": "own",
    "account": "bob",
    "controller": "desk",
    "machine": "m1",
    "boot": "b1",
    "pid_space": "",
    "playbook": "site.yml",
}


def a_host(name: str, number: int, group: str, **changes: Any) -> dict[str, Any]:
    """A bare Debian 12 host that is in order."""
    address = f"10.0.0.{number}"
    host = {
        "name": name,
        "groups": [group],
        "lan_ip": "",
        "default": address,
        "addresses": [address, "127.0.0.1", "fe80::1"],
        "distribution": "Debian",
        "version": "12.5",
        "system": systems.system_of("Debian", "12.5"),
        "untried_system": False,
        "address": address,
        "ssh_key": f"keyOf{name}",
        "server_id": "",
        "branch": "version-15",
        "python": "",
        "bench_home": "/home/frappe",
        "bench_dir": "/home/frappe/frappe-bench",
        "cli_dir": "/opt/bench-cli",
        "background_workers": 6 if group == "primary" else 0,
        "apps": [],
        "placement": {},
        "away_seconds": None,
        "heavy": "reporting",
        "read_guard": True,
        "read_path": {},
        "proxy": "",
        "keep": {"number": 3, "days": 30},
        "certificate": "",
        "acme": {"email": "", "server": ""},
        "service_ip": "",
        "networks": {"firewall_allow": ["10.9.0.1", "0.0.0.0/0"], "router_trusted_proxies": []},
        "sites": [{"name": "erp.example.com", "apps": []}],
        "mariadb_extra": {},
        "variables": ["lan_ip", "fleet_sites", "ansible_host"],
        "type_errors": [],
        "program_problems": [],
        "trouble": "",
        "away": False,
        "survey": {
            "mark": {"state": "absent", "path": "/etc/benchfleet/fleet.json"},
            "update": "",
            "lease": None,
            "record": None,
            "database": {
                "product": None,
                "version": None,
                "data_dir": "/var/lib/mysql",
                "holds_data": False,
                "bytes": 0,
                "memory_tables": [],
                "answers": {"lc_time_names": None, "div_precision_increment": None},
            },
            "disk": {
                "data": {"free": 50 * GIB, "device": "1", "on": "/var/lib"},
                "bench": {"free": 50 * GIB, "device": "1", "on": "/home"},
            },
            "benches": [],
            "folders": {"bench": "absent", "cli": "absent"},
            "gone_sites": [],
            "commands": [],
            "listeners": {},
            "pythons": {"/usr/bin/python3": "3.11.2"},
            "env": "",
            "time_zone": {"name": "Etc/UTC", "offsets": [0, 0, 0]},
            "systemd": True,
            "printing": {
                "real": False,
                "tools": {"wkhtmltopdf": ""},
                "packages": [],
                "config": {},
            },
            "jobs": {"known": False, "apps": [], "matches": {}, "overlaps": [], "queues": {}},
            "certificates": [],
            "lan": None,
            "dropped": [],
            "filters": [],
            "clock": {"low": -0.3, "high": 0.2},
        },
    }
    host.update(changes)
    return host


def first_settings() -> dict[str, Any]:
    """Settings of a first run over a primary erp1 and a replica rep1."""
    return {
        # A path without files: an inventory's files are read for each judgement.
        "inventory": "/nowhere/inventory",
        "groups": {"all": ["erp1", "rep1"], "primary": ["erp1"], "reporting": ["rep1"]},
        "primary": {},
        "standby": "rep1",
        "known_variables": ["fleet_sites", "mariadb_server_id", "bench_frappe_branch"],
        "prefixes": ["fleet_", "mariadb_", "bench_"],
        "site_keys": ["name", "apps", "names"],
        "allowed_variables": [],
        "secrets": {"exists": False, "encrypted": False, "fleet_id": "", "problem": None},
        "secrets_path": "inventory/example/secrets/fleet.yml",
        "fleet_id": "",
        "bench_dir": "/home/frappe/frappe-bench",
        "ports": {
            "mariadb": 3306,
            "redis_cache": 13000,
            "redis_queue": 11000,
            "web": 8000,
            "socketio": 9000,
            "report": 8001,
            "health": 8002,
            "record": 8004,
            "forward": 8003,
            "http": 80,
            "https": 443,
        },
        "seed_factor": 2.2,
        "seed_spare_mb": 1024,
        "bench_mb": 2048,
        "clock_seconds": 2,
        "check_mode": False,
        "break_lock": False,
        "run": OWN_RUN,
        "updating": False,
        "taking_back": False,
    }


def all_problems(hosts: list[dict], settings: dict) -> list[dict]:
    """Problems of preflight's own checks and of jobs."""
    return checks.preflight_problems(hosts, settings) + jobs.job_problems(hosts, settings)


def put_system(host: dict[str, Any], version: str) -> None:
    """Give a host a release of Debian."""
    host.update(version=version, system=systems.system_of("Debian", version))


def kinds(hosts: list[dict], settings: dict) -> list[tuple[str, dict]]:
    """The problems of preflight's own checks: (id, facts) each; their texts are there."""
    problems = checks.preflight_problems(hosts, settings)
    for found in problems:
        assert set(found) == {"id", "what", "place", "remedy", "facts"}
        assert all(found[text] for text in ("what", "place", "remedy"))
    return [(found["id"], found["facts"]) for found in problems]


def ids(hosts: list[dict], settings: dict) -> list[str]:
    """The ids of these problems."""
    return [kind for kind, _facts in kinds(hosts, settings)]


def whats(hosts: list[dict], settings: dict) -> list[str]:
    """What is wrong, without place and remedy; asserts that each problem has both."""
    problems = all_problems(hosts, settings)
    for found in problems:
        assert set(found) == {"id", "what", "place", "remedy", "facts"}
        assert all(found.values())
    return [found["what"] for found in problems]


def mark(host: dict, fleet_id: str = "f1") -> None:
    """Put a fleet's mark on a host."""
    host["survey"]["mark"] = {
        "state": "present",
        "path": "/etc/benchfleet/fleet.json",
        "fleet_id": fleet_id,
        "role": "primary",
    }


def listener(**changes: Any) -> dict[str, Any]:
    """A listening process."""
    entry = {
        "pid": 99,
        "name": "apache2",
        "command": "/usr/sbin/apache2 -k start",
        "program": "/usr/sbin/apache2",
        "unit": "apache2.service",
        "address": "0.0.0.0",
    }
    entry.update(changes)
    return entry


def put_sites(fleet: list[dict], sites: Any) -> None:
    """Set fleet_sites for all hosts."""
    for host in fleet:
        host["sites"] = copy.deepcopy(sites)
