"""Every check of preflight, once passing and once failing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from fleet import systems

from filter_plugins import jobs, preflight

ROLES = Path(__file__).parents[2] / "roles"
GIB = 1024**3


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
        "networks": {"firewall_allow": ["10.9.0.1", "0.0.0.0/0"], "router_trusted_proxies": []},
        "sites": [{"name": "erp.example.com", "apps": []}],
        "mariadb_extra": {},
        "variables": ["lan_ip", "fleet_sites", "ansible_host"],
        "type_errors": [],
        "program_troubles": [],
        "trouble": "",
        "away": False,
        "survey": {
            "mark": {"state": "absent", "path": "/etc/benchfleet/fleet.json"},
            "update": "",
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


@pytest.fixture
def fleet() -> list[dict[str, Any]]:
    """A primary and a replica, both bare and in order."""
    return [a_host("erp1", 11, "primary"), a_host("rep1", 21, "reporting")]


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings of a first run over that fleet."""
    return first_settings()


def first_settings() -> dict[str, Any]:
    """Settings of a first run over a primary erp1 and a replica rep1."""
    return {
        # Without files: whatever they hold is read for each judgement.
        "inventory": "/nowhere/inventory",
        "groups": {"all": ["erp1", "rep1"], "primary": ["erp1"], "reporting": ["rep1"]},
        "primary": {},
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
            "http": 80,
            "https": 443,
        },
        "seed_factor": 2.2,
        "seed_spare_mb": 1024,
        "bench_mb": 2048,
        "clock_seconds": 2,
        "updating": False,
        "taking_back": False,
    }


def all_problems(hosts: list[dict], settings: dict) -> list[dict]:
    """What the role puts together."""
    return preflight.preflight_problems(hosts, settings) + jobs.job_problems(hosts, settings)


def put_system(host: dict[str, Any], version: str) -> None:
    """Have a host run a release of Debian."""
    host.update(version=version, system=systems.system_of("Debian", version))


def whats(hosts: list[dict], settings: dict) -> list[str]:
    """What is wrong, without place and remedy; each problem must have both."""
    problems = all_problems(hosts, settings)
    for found in problems:
        assert set(found) == {"what", "place", "remedy"}
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


def test_bare_fleet_in_order_has_no_problem(fleet, settings):
    assert whats(fleet, settings) == []


def test_finished_fleet_has_no_problem(fleet, settings):
    settings["fleet_id"] = "f1"
    for host in fleet:
        mark(host)
        host["survey"]["database"].update(
            product="MariaDB",
            version="10.11.14",
            program="/usr/sbin/mariadbd",
            holds_data=True,
            bytes=40 * GIB,
        )
        host["survey"]["benches"] = [
            {
                "path": "/home/frappe/frappe-bench",
                "frappe_version": "15.80.0",
                "named": "",
                "others": {},
            },
        ]
        host["survey"]["commands"] = [{"path": "/usr/local/bin/bench", "origin": "frappe-bench"}]
        host["survey"]["disk"]["data"]["free"] = host["survey"]["disk"]["bench"]["free"] = 0
        host["survey"]["listeners"] = {
            "3306": [listener(name="mariadbd", program="/usr/sbin/mariadbd", command="mariadbd")],
            "8000": [
                listener(
                    name="python3", command="/home/frappe/frappe-bench/env/bin/python3 gunicorn"
                )
            ],
            "9000": [listener(name="MainThread", program="/usr/bin/node", command="node s.js")],
            "11000": [listener(name="redis-server", command="redis-server 127.0.0.1:11000")],
            "80": [listener(name="nginx", command="nginx: master process")],
        }
    fleet[1]["survey"]["lan"] = {"ok": True, "address": "10.0.0.11", "port": 22}
    assert whats(fleet, settings) == []


# --- groups ------------------------------------------------------------------------------------


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
    # That it cannot be looked at is said by reach.py.
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
    assert preflight.fleet_hosts(names, [erp1, rep1, rep2], addresses) == {
        "erp1": {"lan_ip": "10.0.0.11", "ssh_key": "keyOferp1"},
        "rep1": {"lan_ip": "10.0.0.21", "ssh_key": "keyOfrep1"},
        "rep2": {"lan_ip": "10.0.0.9", "ssh_key": "keyOfrep2"},
    }


# --- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.255.254", True),
        ("100.64.0.1", True),
        ("100.128.0.1", False),
        ("fd12::1", True),
        ("2001:db8::1", False),
        ("127.0.0.1", False),
        ("169.254.1.1", False),
        ("fe80::1", False),
        ("8.8.8.8", False),
        ("rep1", False),
        ("", False),
    ],
)
def test_private(address, private):
    assert preflight.is_private(address) is private


@pytest.mark.parametrize(
    ("lan_ip", "default", "addresses", "expected"),
    [
        ("", "10.0.0.1", ["10.0.0.1", "192.168.0.1"], "10.0.0.1"),
        ("192.168.0.1", "10.0.0.1", ["10.0.0.1", "192.168.0.1"], "192.168.0.1"),
        ("", "8.8.8.8", ["8.8.8.8", "10.0.0.9", "127.0.0.1"], "10.0.0.9"),
        ("", "8.8.8.8", ["8.8.8.8", "10.0.0.9", "10.1.0.9"], ""),
        ("", "8.8.8.8", ["8.8.8.8", "fd00::9"], "fd00::9"),
        ("", "", [], ""),
    ],
)
def test_lan_ip_is_chosen(lan_ip, default, addresses, expected):
    host = {"lan_ip": lan_ip, "default": default, "addresses": addresses}
    assert preflight.lan_ip(host) == expected
    assert preflight.good_lan_ip(host) == expected


@pytest.mark.parametrize("lan_ip", ["8.8.8.8", "10.9.9.9", "nonsense"])
def test_unusable_lan_ip_is_never_used(lan_ip):
    host = {"lan_ip": lan_ip, "default": "10.0.0.1", "addresses": ["10.0.0.1", "8.8.8.8"]}
    assert preflight.good_lan_ip(host) == ""


def test_missing_lan_ip(fleet, settings):
    fleet[0].update(default="8.8.8.8", addresses=["8.8.8.8", "127.0.0.1"])
    assert whats(fleet, settings) == ["erp1 has no lan_ip, and no private address (it has 8.8.8.8)"]
    fleet[0].update(addresses=["8.8.8.8", "10.0.0.1", "10.1.0.1"])
    assert whats(fleet, settings) == [
        "erp1 has no lan_ip, and several private addresses to choose from: 10.0.0.1, 10.1.0.1"
    ]


def test_public_lan_ip(fleet, settings):
    fleet[0].update(lan_ip="8.8.8.8", addresses=["8.8.8.8", "10.0.0.11"])
    found = preflight.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        "lan_ip 8.8.8.8 of erp1 is a public address; MariaDB and Redis are never put there"
    ]
    assert found[0]["place"] == "lan_ip of erp1 in the inventory"
    assert found[0]["remedy"].endswith("erp1 has: 10.0.0.11")


def test_loopback_lan_ip(fleet, settings):
    fleet[0]["lan_ip"] = "127.0.0.1"
    assert "is a loopback address" in whats(fleet, settings)[0]


def test_lan_ip_that_is_no_address(fleet, settings):
    fleet[0]["lan_ip"] = "erp1.lan"
    assert whats(fleet, settings) == ["lan_ip 'erp1.lan' of erp1 is not an IP address"]


def test_lan_ip_of_another_machine(fleet, settings):
    fleet[0]["lan_ip"] = "10.0.0.12"
    assert whats(fleet, settings) == ["lan_ip 10.0.0.12 is not an address of erp1"]


def test_shared_lan_ip_is_reported_once(fleet, settings):
    for host in fleet:
        host.update(lan_ip="10.0.0.5", addresses=["10.0.0.5"])
    assert whats(fleet, settings) == ["lan_ip 10.0.0.5 is shared by erp1, rep1"]


# --- server_id ---------------------------------------------------------------------------------


def test_server_id_from_address():
    assert preflight.lan_server_id("10.210.4.11") == 210 * 65536 + 4 * 256 + 11
    assert preflight.lan_server_id("fd00::1:203") == 0x10203
    with pytest.raises(ValueError, match="set mariadb_server_id"):
        preflight.lan_server_id("10.0.0.0")


def test_shared_server_id(fleet, settings):
    fleet[1]["server_id"] = str(preflight.lan_server_id("10.0.0.11"))
    assert whats(fleet, settings) == ["server_id 11 would be used by erp1, rep1"]
    fleet[1]["server_id"] = 12
    assert whats(fleet, settings) == []


def test_server_ids_that_only_look_different(fleet, settings):
    fleet[0].update(lan_ip="10.0.0.1", addresses=["10.0.0.1"])
    fleet[1].update(lan_ip="100.64.0.1", addresses=["100.64.0.1"])
    assert whats(fleet, settings) == []
    fleet[1].update(lan_ip="fd00::1", addresses=["fd00::1"])
    assert whats(fleet, settings) == ["server_id 1 would be used by erp1, rep1"]


@pytest.mark.parametrize("value", [0, "abc", 2**32, "-1", "1.5"])
def test_invalid_server_id(fleet, settings, value):
    fleet[0]["server_id"] = value
    assert "is not a server_id" in whats(fleet, settings)[0]


# --- sites -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["erp.example.com", "erp", "a-b.example.com", "xn--bcher-kva.example", "1erp.de"]
)
def test_site_names(name):
    assert preflight.is_site_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "Erp.example.com",
        "_erp.com",
        "-a.com",
        "a-.com",
        "a..b",
        "a/b",
        "10.0.0",
        "10.0.0.256",
        "assets",
        "é.fr",
    ],
)
def test_no_site_names(name):
    assert not preflight.is_site_name(name)


def put_sites(fleet: list[dict], sites: Any) -> None:
    """Set fleet_sites for all hosts."""
    for host in fleet:
        host["sites"] = copy.deepcopy(sites)


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ([], ["fleet_sites is empty: there is no site to serve"]),
        ("erp.example.com", ["fleet_sites is 'erp.example.com', not a list"]),
        (["erp.example.com"], ["'erp.example.com' is not a site entry"]),
        ([{"apps": []}], ["a site entry has no name"]),
        ([{"name": "Erp_1.com"}], ["site name 'Erp_1.com' is not a host name"]),
        (
            [{"name": "a.com", "app": []}],
            ["unknown key 'app' in a site entry; did you mean apps?"],
        ),
        ([{"name": "a.com"}, {"name": "a.com"}], ["site a.com is listed 2 times"]),
        ([{"name": "a.com", "names": ["a", "10.0.0.11", "www.a.com"]}], []),
        ([{"name": "a.com", "names": None}], []),
        ([{"name": "a.com", "names": "a"}], ["names is 'a', not a list"]),
        (
            [{"name": "a.com", "names": ["a:80", "A", "10.0.0.999", "fd00::1"]}],
            [
                f"{name!r} is neither a host name nor an IPv4 address"
                for name in ("a:80", "A", "10.0.0.999", "fd00::1")
            ],
        ),
        ([{"name": "a.com"}, {"name": "b.com", "names": ["a.com"]}], ["a.com is named twice"]),
        (
            [{"name": "a.com", "names": ["erp"]}, {"name": "b.com", "names": ["erp"]}],
            ["erp is named twice"],
        ),
    ],
)
def test_sites(fleet, settings, sites, expected):
    put_sites(fleet, sites)
    assert whats(fleet, settings) == expected


def test_sites_that_differ_between_hosts_are_told_elsewhere(fleet, settings):
    fleet[1]["sites"] = []
    assert whats(fleet, settings) == []


# --- variables ---------------------------------------------------------------------------------


def test_unknown_variable(fleet, settings):
    for host in fleet:
        host["variables"].append("bench_frappe_brnch")
    found = preflight.preflight_problems(fleet, settings)
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


def test_what_supervisor_cannot_hold_or_read_is_told(fleet, settings):
    fleet[0]["program_troubles"] = [("bench_environment is no map", "write a map")]
    fleet[0]["survey"]["supervisor"] = "supervisord cannot read its configuration: [program:x]"
    assert whats(fleet, settings) == [
        f"bench_environment is no map ({fleet[0]['name']})",
        "supervisord cannot read its configuration: [program:x]",
    ]


# --- folders and workers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/home/frappe", "/home/frappe/", "/home/frappe/x/..", "/srv/bench", "/", "bench"]
)
def test_a_bench_lies_inside_its_home(fleet, settings, path):
    for host in fleet:
        host["bench_dir"] = path
    found = preflight.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        f"fleet_bench_dir {path} is not a folder inside fleet_bench_home /home/frappe"
    ]
    assert found[0]["place"] == "fleet_bench_dir in the inventory (erp1, rep1)"
    assert found[0]["remedy"].endswith("/home/frappe/frappe-bench")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/", "a folder of the system"),
        ("/opt/", "a folder of the system"),
        ("/opt/x/..", "a folder of the system"),
        ("/usr/local", "a folder of the system"),
        ("/home/frappe", "a folder that holds the bench account's home or its bench"),
        ("/home/frappe/frappe-bench", "a part of the bench"),
        ("/home/frappe/frappe-bench/env", "a part of the bench"),
        ("bench-cli", "not an absolute path"),
    ],
)
def test_the_bench_cli_has_a_folder_of_its_own(fleet, settings, path, reason):
    fleet[0]["cli_dir"] = path
    # What is there is not worth a second problem.
    fleet[0]["survey"]["folders"]["cli"] = "foreign"
    assert whats(fleet, settings) == [f"bench_cli_dir {path} is {reason}"]


@pytest.mark.parametrize("path", ["/opt/bench-cli", "/home/frappe/bench-cli", "/srv/tools/bench"])
@pytest.mark.parametrize("state", ["absent", "empty", "ours"])
def test_folders_that_may_be_made(fleet, settings, path, state):
    fleet[0]["cli_dir"] = path
    fleet[0]["survey"]["folders"] = {"bench": state, "cli": state}
    assert whats(fleet, settings) == []


def test_folders_with_somebody_elses_things(fleet, settings):
    fleet[0]["survey"]["folders"] = {"bench": "foreign", "cli": "foreign"}
    assert whats(fleet, settings) == [
        "bench_cli_dir /opt/bench-cli of erp1 holds something that Benchfleet did not make",
        "fleet_bench_dir /home/frappe/frappe-bench of erp1 holds something that is no bench",
    ]
    # What an interrupted run left behind.
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["folders"]["cli"] = "ours"
    assert whats(fleet, settings) == []


@pytest.mark.parametrize("value", ["", 0, 2, "2"])
def test_background_workers_on_a_reporting_node_are_nothing_to_warn_of(fleet, settings, value):
    fleet[1]["background_workers"] = value
    assert jobs.job_warnings(fleet, settings) == []


def test_background_workers_may_be_a_map():
    known = preflight.known_variables(str(ROLES))
    assert known["options"]["bench_background_workers"]["type"] == "raw"


def test_variables_of_our_own_roles_are_known():
    known = preflight.known_variables(str(ROLES))
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
    known = preflight.known_variables(str(tmp_path))
    assert known["variables"] == ["thing_a", "thing_b", "thing_c", "thing_d"]
    assert known["options"] == {"thing_a": {"type": "int"}}


# --- systems and versions ----------------------------------------------------------------------


def test_debian_13(fleet, settings):
    for host in fleet:
        put_system(host, "13.1")
    assert whats(fleet, settings) == []


@pytest.mark.parametrize("key", ["", "keyOferp1\n10.0.0.11 ssh-ed25519 another"])
def test_no_systemd_and_no_host_key(fleet, settings, key):
    fleet[0]["survey"]["systemd"] = False
    fleet[0]["ssh_key"] = key
    assert whats(fleet, settings) == [
        "erp1 was not booted with systemd",
        "erp1 has no ed25519 ssh host key",
    ]


@pytest.mark.parametrize(
    ("product", "version", "bad"),
    [
        ("MariaDB", "10.11.6", False),
        ("MariaDB", "11.4.3", False),
        ("MariaDB", "11.8.2", False),
        ("MariaDB", "10.6.18", True),
        ("MariaDB", "10.1.11", True),
        ("MySQL", "8.0.36", True),
    ],
)
def test_installed_database(fleet, settings, product, version, bad):
    for host in fleet:
        host["survey"]["database"].update(
            product=product, version=version, program="/usr/sbin/mysqld"
        )
    expected = [f"{product} {version} is installed on {h}" for h in ("erp1", "rep1")]
    assert whats(fleet, settings) == (expected if bad else [])


def test_replica_older_than_primary(fleet, settings):
    put_system(fleet[0], "13")
    assert whats(fleet, settings) == [
        "the replica rep1 would run MariaDB 10.11, older than the primary's 11.8"
    ]
    put_system(fleet[0], "12.5")
    put_system(fleet[1], "13")
    assert whats(fleet, settings) == []


@pytest.mark.parametrize(
    ("branch", "known"),
    [
        ("version-14", True),
        ("version-15", True),
        ("version-16", True),
        ("version-16-hotfix", True),
        ("v15.2.0", True),
        ("develop", True),
        ("main", True),
        ("our-fork", True),
        ("17.0.0-dev", True),
        ("16.0.0-dev", True),
        ("version-13", False),
        ("version-17", False),
        ("v12.1.0", False),
        ("13.58.1", False),
    ],
)
def test_frappe_versions(fleet, settings, branch, known):
    assert preflight.is_known_frappe(branch) is known
    fleet[0].update(branch=branch, read_guard=False)
    expected = f"bench_frappe_branch {branch!r} is not a version of Frappe that is supported"
    assert whats(fleet, settings) == ([] if known else [expected])


def test_frappe_14_runs_without_the_guard(fleet, settings):
    fleet[0]["branch"] = "version-14"
    found = ["Frappe 14 has no place for the guard of the read path, and fleet_read_guard is on"]
    assert whats(fleet, settings) == found
    fleet[0].update(branch="", read_guard=False)
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "14.9.0", "named": "", "others": {}}
    ]
    assert whats(fleet, settings) == []
    fleet[0]["read_guard"] = True
    assert whats(fleet, settings) == found
    settings["groups"]["reporting"] = []
    assert found[0] not in whats(fleet, settings)


def test_frappe_of_our_own_bench(fleet, settings):
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "13.0.1", "named": "", "others": {}}
    ]
    assert whats(fleet, settings) == ["Frappe 13.0.1 is in the bench of erp1"]
    fleet[0]["survey"]["benches"][0]["frappe_version"] = "15.0.1"
    assert whats(fleet, settings) == []


# What the survey says of benches of Frappe 15 and of one that can use Chromium.
FRAPPE_15 = {"real": True, "tools": {"wkhtmltopdf": ""}}
FRAPPE_17 = {"real": True, "tools": {"wkhtmltopdf": "", "chrome": ""}}


@pytest.mark.parametrize(
    ("branch", "releases", "bench", "warned"),
    [
        ("version-15", ("12", "12"), None, ""),
        ("version-15", ("13", "13"), None, "on erp1, rep1:"),
        ("version-15", ("12", "13"), None, "on rep1:"),
        ("v15.44.2", ("13", "13"), None, "on erp1, rep1:"),
        ("version-16", ("13", "13"), None, ""),
        ("develop", ("13", "13"), None, ""),
        ("trial", ("13", "13"), None, ""),
        ("trial", ("13", "13"), FRAPPE_15, "on erp1, rep1:"),
        ("trial", ("13", "13"), FRAPPE_17, ""),
        # An update goes from the code that is there.
        ("version-15", ("13", "13"), FRAPPE_17, ""),
    ],
)
def test_pdfs_that_will_not_work_are_told(fleet, branch, releases, bench, warned):
    for host, release in zip(fleet, releases, strict=True):
        host["branch"] = branch
        put_system(host, release)
    if bench:
        fleet[0]["survey"]["printing"] = bench
    found = preflight.pdf_warnings(fleet)
    assert len(found) == bool(warned)
    assert all(warned in words and "which their system does not have" in words for words in found)


def test_tables_that_a_restart_empties_are_told_when_they_are_copied(fleet, settings):
    settings["groups"]["mariadb_replica"] = ["rep1"]
    assert preflight.memory_warnings(fleet, settings) == []
    fleet[1]["survey"]["database"]["memory_tables"] = ["`_a`.`left`"]
    fleet[0]["survey"]["database"]["memory_tables"] = ["`_a`.`cache`", "`wiki`.`hits`"]
    (words,) = preflight.memory_warnings(fleet, settings)
    assert "erp1: `_a`.`cache`, `wiki`.`hits`." in words
    assert words.index("TRUNCATE") < words.index("ALTER")
    del settings["groups"]["mariadb_replica"]
    assert preflight.memory_warnings(fleet, settings) == []


def test_a_wkhtmltopdf_of_the_operators_prints(fleet):
    for host in fleet:
        host["branch"] = "version-15"
        put_system(host, "13")
    fleet[0]["survey"]["printing"] = {
        "real": True,
        "tools": {"wkhtmltopdf": "/usr/local/bin/wkhtmltopdf"},
    }
    (words,) = preflight.pdf_warnings(fleet)
    assert "on rep1:" in words
    fleet[1]["survey"] = None
    assert preflight.pdf_warnings(fleet) == []


# --- what is on the hosts ----------------------------------------------------------------------


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
    found = preflight.preflight_problems(fleet, settings)
    assert len(found) == 2
    assert all("set fleet_adopt: true" in f["remedy"] for f in found)


def test_a_site_on_another_database_is_told_before_all_that_would_mislead(fleet, settings):
    place = settings["bench_dir"]
    file = f"{place}/sites/shop.test/site_config.json"
    others = {"shop.test": {"kind": "postgres", "file": file}}
    bench = {"path": place, "frappe_version": "15.1.0", "named": "", "others": others}
    fleet[0]["survey"]["benches"] = [bench]
    (found,) = preflight.preflight_problems(fleet, settings)
    assert "the database of site shop.test of erp1 is postgres (db_type)" in found["what"]
    assert found["place"] == f"{file} on erp1"
    assert "--db-type mariadb" in found["remedy"]
    # In a fleet it is told by what looks for new sites, and runs go on.
    mark(fleet[0])
    assert whats(fleet, settings | {"fleet_id": "f1"}) == []


def test_what_names_a_bench_is_said(fleet, settings):
    fleet[0]["survey"]["benches"] = [
        {"path": "/data/b", "frappe_version": None, "named": "/etc/a.service", "others": {}}
    ]
    (found,) = preflight.preflight_problems(fleet, settings)
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


def test_taken_port_names_the_process(fleet, settings):
    fleet[0]["survey"]["listeners"] = {"80": [listener()]}
    found = preflight.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        "port 80, which the router needs, is taken by apache2 "
        "(process 99; apache2.service; /usr/sbin/apache2 -k start)"
    ]
    assert found[0]["place"] == "0.0.0.0 port 80 on erp1"


def test_taken_port_never_advises_to_stop_ssh(fleet, settings):
    fleet[0]["survey"]["listeners"] = {"80": [listener(unit="ssh.service")]}
    found = preflight.preflight_problems(fleet, settings)
    assert "ssh" not in str(found)


def test_port_of_a_service_that_a_replica_does_not_have(fleet, settings):
    fleet[1]["survey"]["listeners"] = {"80": [listener()], "13000": [listener()]}
    assert whats(fleet, settings) == []
    fleet[1]["survey"]["listeners"] = {"3306": [listener()], "8000": [listener()]}
    assert len(whats(fleet, settings)) == 2


def test_right_service_on_a_host_that_is_not_ours_is_a_stranger(fleet, settings):
    fleet[0]["survey"]["listeners"] = {"80": [listener(name="nginx")]}
    assert len(whats(fleet, settings)) == 1
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    assert whats(fleet, settings) == []
    fleet[0]["survey"]["listeners"] = {"80": [listener(name="caddy")]}
    assert len(whats(fleet, settings)) == 1


def test_two_services_on_one_port(fleet, settings):
    settings["ports"]["redis_queue"] = 13000
    assert whats(fleet, settings) == [
        "port 13000 of erp1 belongs to redis_cache and redis_queue: two services, one port"
    ]


def test_bounds_of_the_read_path(fleet, settings):
    fleet[1]["read_path"] = {"read_guard_wait": "60", "read_guard_fallback_calls": 0}
    fleet[0]["read_path"] = {"read_guard_wait": "60", "read_guard_fallback_seconds": "soon"}
    assert whats(fleet, settings) == [
        "read_guard_wait is 60: it takes 0 to 10 seconds",
        "read_guard_fallback_calls is 0: it takes 1 to 100 calls",
    ]
    place = preflight.preflight_problems(fleet, settings)[0]["place"]
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
    told = preflight.preflight_problems(fleet, settings)
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


def test_certificates(fleet, settings):
    def pair(of: str, trouble: str = "", **files: str) -> dict[str, str]:
        return {"of": of, "certificate": "/c.pem", "key": "/c.key", "trouble": trouble, **files}

    fleet[0]["survey"]["certificates"] = [pair("certificate of a.test in fleet_sites")]
    (found,) = whats(fleet, settings)
    assert found.startswith("/c.pem is the certificate of a site, and router_certificate is not")
    fleet[0]["certificate"] = "/d.pem"
    assert whats(fleet, settings) == []
    fleet[0]["survey"]["certificates"] = [
        pair("router_certificate", key="", trouble="x"),
        pair("certificate of a.test in fleet_sites", "/c.key is not the key of /c.pem"),
    ]
    told = preflight.preflight_problems(fleet, settings)
    assert [(problem["what"], problem["place"]) for problem in told] == [
        (
            "of a certificate and its key only /c.pem is named",
            "router_certificate in the inventory, on erp1",
        ),
        (
            "/c.key is not the key of /c.pem",
            "certificate of a.test in fleet_sites in the inventory, on erp1",
        ),
    ]


def test_a_ca_is_asked_with_settings_that_can_work(fleet, settings):
    fleet[0]["acme"] = {"email": "ops@example.com", "server": "https://ca.example.com/dir"}
    assert whats(fleet, settings) == []
    fleet[0]["acme"] = {"email": "ops", "server": "http://ca.example.com/dir"}
    fleet[0]["certificate"] = "/d.pem"
    told = preflight.preflight_problems(fleet, settings)
    assert [(problem["what"].partition(":")[0], problem["place"]) for problem in told] == [
        (
            "router_acme_email 'ops' is no address of e-mail",
            "router_acme_email in the inventory, for erp1",
        ),
        (
            "router_acme_server 'http",
            "router_acme_server in the inventory, for erp1",
        ),
        (
            "router_certificate is set, and so is router_acme_email",
            "router_certificate in the inventory, for erp1",
        ),
    ]


def test_addresses_and_networks_of_settings(fleet, settings):
    for host in fleet:
        host["networks"] = {"firewall_allow": ["10.0.0.0/33"], "router_trusted_proxies": ["::1"]}
    fleet[0]["networks"]["router_trusted_proxies"] = ["10.0.0.5", "lb.lan", "0.0.0.0/0"]
    told = preflight.preflight_problems(fleet, settings)
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


def test_port_that_is_no_number_is_left_to_the_types(fleet, settings):
    settings["ports"]["web"] = "abc"
    assert whats(fleet, settings) == []


def test_disk_for_the_copy(fleet, settings):
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["database"].update(holds_data=True, bytes=10 * GIB)
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "15.0", "named": "", "others": {}}
    ]
    disk = fleet[1]["survey"]["disk"]
    disk["data"]["free"] = disk["bench"]["free"] = 24 * GIB
    assert whats(fleet, settings) == [
        "rep1 has 24.0 GiB free, and needs 23.0 GiB for the copy of the primary's 10.0 GiB "
        "and 2.0 GiB for a bench"
    ]
    disk["bench"].update(device="2", free=3 * GIB)
    assert whats(fleet, settings) == []
    mark(fleet[1])
    fleet[1]["survey"]["database"].update(holds_data=True, bytes=10 * GIB)
    disk["data"]["free"] = 0
    assert whats(fleet, settings) == []


def test_disk_for_the_bench_of_the_primary(fleet, settings):
    for disk in fleet[0]["survey"]["disk"].values():
        disk["free"] = GIB
    assert whats(fleet, settings) == ["erp1 has 1.0 GiB free, and needs 2.0 GiB for a bench"]


def test_lan(fleet, settings):
    fleet[1]["survey"]["lan"] = {
        "ok": False,
        "address": "10.0.0.11",
        "port": 22,
        "detail": "no answer",
    }
    found = preflight.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        "rep1 cannot reach the primary erp1 over the LAN: no answer"
    ]
    assert found[0]["place"] == "TCP from rep1 (10.0.0.21) to 10.0.0.11 port 22"


def test_clocks(fleet, settings):
    fleet[1]["survey"]["clock"] = {"low": 2.0, "high": 2.9}
    assert whats(fleet, settings) == []
    fleet[1]["survey"]["clock"] = {"low": -5.4, "high": -4.9}
    assert whats(fleet, settings) == [
        "the clocks of rep1 and erp1 differ by 4.6 s or more (limit 2 s)"
    ]


def test_a_reporting_node_has_no_setting_of_its_own_that_changes_reports(fleet, settings):
    fleet[1]["mariadb_extra"] = {"lc-time-names": "de_DE", "max_connections": 50}
    (what,) = whats(fleet, settings)
    assert what.startswith("lc_time_names is de_DE for rep1, and unset for the primary erp1: a rep")
    fleet[0]["survey"]["database"]["answers"]["lc_time_names"] = "en_US"
    assert "en_US for the primary" in whats(fleet, settings)[0]
    # What the inventory sets for the primary holds from this run on.
    fleet[0]["mariadb_extra"] = {"lc_time_names": "DE_de"}
    assert whats(fleet, settings) == []
    fleet[1]["mariadb_extra"] = fleet[0]["mariadb_extra"] = "no map"
    assert whats(fleet, settings) == []


def test_settings_that_a_reporting_node_takes_from_the_primary(fleet):
    primary, node = fleet
    assert preflight.shared_settings(primary, node) == {}
    theirs = {"lc_time_names": "de_DE", "div_precision_increment": "4", "old_mode": ""}
    primary["survey"]["database"] |= {
        "answers": {**theirs, "time_zone": "SYSTEM"},
        "usual": ["div_precision_increment", "old_mode"],
    }
    # A new node, whose server is not there yet.
    assert preflight.shared_settings(primary, node) == {"lc_time_names": "de_DE"}
    mine = node["survey"]["database"]
    mine["answers"] = {**theirs, "old_mode": "NO_PROGRESS_INFO"}
    assert preflight.shared_settings(primary, node) == {"lc_time_names": "de_DE", "old_mode": ""}
    # Taken over, it is as the primary's, and stays.
    mine |= {"answers": theirs, "taken": {"lc_time_names": "de_DE", "old_mode": ""}}
    assert preflight.shared_settings(primary, node) == {"lc_time_names": "de_DE", "old_mode": ""}
    primary["mariadb_extra"] = {"div-precision-increment": 6, "max_connections": 7}
    assert preflight.shared_settings(primary, node)["div_precision_increment"] == 6


def test_a_second_run_on_servers_with_defaults_takes_nothing_over(fleet):
    for host in fleet:
        host["survey"]["database"] |= {
            "product": "MariaDB",
            "version": "10.11.6",
            "answers": {"lc_time_names": "en_US", "character_set_collations": "utf8mb4=general"},
            "usual": ["lc_time_names"],
            "taken": {},
        }
    primary, node = fleet
    assert preflight.shared_settings(primary, node) == {}
    node["survey"]["database"]["version"] = "11.8.2"
    collation = {"character_set_collations": "utf8mb4=general"}
    assert preflight.shared_settings(primary, node) == collation
    primary["survey"]["database"]["version"] = "11.8.2"
    assert preflight.shared_settings(primary, node) == {}


def test_a_reporting_node_keeps_its_settings_while_the_primarys_server_is_down(fleet):
    primary, node = fleet
    node["survey"]["database"] |= {
        "answers": {"lc_time_names": "de_DE", "div_precision_increment": "4"},
        "taken": {"lc_time_names": "de_DE"},
    }
    assert preflight.shared_settings(primary, node) == {"lc_time_names": "de_DE"}
    primary["survey"]["database"]["answers"]["lc_time_names"] = "en_US"
    assert preflight.shared_settings(primary, node) == {"lc_time_names": "en_US"}
    primary["survey"] = None
    assert preflight.shared_settings(primary, node) == {"lc_time_names": "de_DE"}


def test_time_zones_of_hosts_and_servers(fleet, settings):
    here, there = (host["survey"] for host in (fleet[1], fleet[0]))
    there["time_zone"] = {"name": "Europe/Berlin", "offsets": [3600, 7200, 3600]}
    (problem,) = preflight.preflight_problems(fleet, settings)
    assert problem["what"].startswith("the time zone of rep1 is Etc/UTC, and Europe/Berlin on the")
    assert "`timedatectl set-timezone Europe/Berlin` on rep1" in problem["remedy"]
    here["time_zone"] = {"name": "Europe/Paris", "offsets": [3600, 7200, 3600]}
    assert whats(fleet, settings) == []
    here["time_zone"]["offsets"] = [3600, 3600, 3600]
    here["time_zone"]["name"] = "Europe/Berlin"
    (problem,) = preflight.preflight_problems(fleet, settings)
    assert problem["remedy"].startswith("upgrade the package tzdata on rep1 and erp1, and restart")
    here["time_zone"] = dict(there["time_zone"])
    there["database"]["answers"]["time_zone"] = "Europe/Berlin"
    assert whats(fleet, settings) == []
    there["database"]["answers"]["time_zone"] = "Europe/Paris"
    assert len(whats(fleet, settings)) == 1
    there["database"]["answers"]["time_zone"] = "+01:00"
    (what,) = whats(fleet, settings)
    assert what.startswith("time_zone of MariaDB is SYSTEM on rep1, and +01:00 on the primary erp1")
    here["database"]["answers"]["time_zone"] = "+01:00"
    assert whats(fleet, settings) == []
    for survey, zone in ((here, "SYSTEM"), (there, "-05:30")):
        survey["time_zone"] = {"name": "x", "offsets": [-19800] * 3}
        survey["database"]["answers"]["time_zone"] = zone
    assert whats(fleet, settings) == []


def test_clock_bounds_hold_a_right_clock_however_slow_ssh_is():
    from plugins.action.survey import clock_bounds

    bounds = clock_bounds(before=100.0, after=110.0, started=103.0, ended=104.0)
    assert bounds == {"low": -6.0, "high": 3.0}


# --- secrets -----------------------------------------------------------------------------------


def test_secrets_state_of_no_file(tmp_path):
    state = preflight.secrets_state(str(tmp_path / "fleet.yml"))
    assert state == {"exists": False, "encrypted": False, "fleet_id": "", "problem": None}


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("fleet_id: f1\n", 0o600, None),
        ("fleet_id: f1\n", 0o640, "mode 0640"),
        ("fleet_id: 'f1\nx: {", 0o600, "not valid YAML"),
        ("", 0o600, "holds no fleet_id"),
        ("- a\n", 0o600, "holds no fleet_id"),
    ],
)
def test_secrets_state(tmp_path, fleet, settings, text, mode, words):
    file = tmp_path / "fleet.yml"
    file.write_text(text)
    file.chmod(mode)
    state = settings["secrets"] = preflight.secrets_state(str(file))
    found = whats(fleet, settings)
    if words is None:
        assert found == []
        assert state["fleet_id"] == "f1"
    else:
        assert len(found) == 1
        assert words in found[0]


@pytest.fixture
def encrypted(tmp_path):
    """The path of an encrypted secrets file, and its state."""
    file = tmp_path / "fleet.yml"
    file.write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    return str(file), preflight.secrets_state(str(file))


def test_encrypted_secrets_are_no_problem_once_they_are_open(fleet, settings, encrypted):
    path, state = encrypted
    assert state["encrypted"]
    settings["secrets"] = preflight.opened_secrets(state, path, {"fleet_id": "f1"}, fleet)
    assert settings["secrets"]["fleet_id"] == "f1"
    assert whats(fleet, settings) == []
    assert preflight.missing_secrets(state, path, {"fleet_id": "f1"}) is None


@pytest.mark.parametrize("content", [{}, {"other": 1}, "text", {"fleet_id": 5}])
def test_encrypted_secrets_without_a_password_are_the_only_problem(
    fleet, settings, encrypted, content
):
    path, state = encrypted
    for host in fleet:
        host["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
    settings["secrets"] = preflight.opened_secrets(state, path, content, fleet)
    settings["fleet_id"] = settings["secrets"]["fleet_id"]
    (found,) = all_problems(fleet, settings)
    assert "no vault password was given, or one that does not fit" in found["what"]
    assert found["place"] == f"{path} on the controller"
    assert "--ask-vault-pass" in found["remedy"]
    assert preflight.missing_secrets(state, path, content) == found


def test_a_running_fleet_has_secrets(tmp_path):
    path = str(tmp_path / "fleet.yml")
    found = preflight.missing_secrets(preflight.secrets_state(path), path, {})
    assert found["what"] == "the secrets file does not exist"
    assert "(-i)" in found["remedy"]


# --- all at once -------------------------------------------------------------------------------


def test_many_problems_come_in_one_message(fleet, settings):
    put_sites(fleet, [])
    settings["groups"]["primary"] = ["erp1", "rep1"]
    fleet[0].update(lan_ip="8.8.8.8", distribution="Ubuntu", branch="version-12")
    fleet[0]["variables"].append("mariadb_servr_id")
    fleet[1]["survey"]["database"]["holds_data"] = True
    fleet[1]["survey"]["listeners"] = {"3306": [listener()]}
    for host in fleet:
        host["placement"] = {"erpnext.stock.run": "rpe1"}
    fleet[1]["background_workers"] = {"lnog": 1}
    problems = all_problems(fleet, settings)
    text = preflight.preflight_text(problems)
    assert text.startswith(f"Preflight found {len(problems)} problems. Nothing was touched")
    for words in (
        "group primary holds 2 hosts",
        "in group primary and in group reporting",
        "fleet_sites is empty",
        "unknown variable mariadb_servr_id; did you mean mariadb_server_id?",
        "lan_ip 8.8.8.8 of erp1 is a public address",
        "not an address of erp1",
        "'version-12' is not a version",
        "rep1 already holds a MariaDB data folder",
        "port 3306, which MariaDB needs, is taken by apache2",
        "'rpe1' in jobs_placement is neither a host nor a group of the inventory; did you",
        "unknown queue 'lnog' in bench_background_workers; did you mean long?",
    ):
        assert words in text
    assert text.count("remedy:") == text.count("place:") == len(problems)


def test_one_problem_reads_well():
    text = preflight.preflight_text([preflight.problem("a", "b", "c")])
    assert text == (
        "Preflight found 1 problem. Nothing was touched on any host.\n"
        "\n1. a\n   place:  b\n   remedy: c"
    )


def test_filters_are_offered():
    names = preflight.FilterModule().filters()
    assert {"lan_server_id", "preflight_problems", "preflight_text"} <= set(names)


def test_a_site_that_was_dropped_is_not_made_again(fleet, settings):
    settings["state_dir"] = "/var/lib/benchfleet"
    name = fleet[0]["sites"][0]["name"]
    fleet[0]["survey"]["gone_sites"] = ["other.example.com"]
    assert whats(fleet, settings) == []
    fleet[0]["survey"]["gone_sites"].append(name)
    (found,) = preflight.preflight_problems(fleet, settings)
    assert f"site {name} was on the bench of {fleet[0]['name']} and is gone" in found["what"]
    assert "take it out of fleet_sites" in found["remedy"]
    assert f"remove /var/lib/benchfleet/made-site-{name} on" in found["remedy"]
