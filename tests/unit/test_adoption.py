"""A bench made by hand is judged before it is adopted."""

from __future__ import annotations

import copy
import os
import pwd
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fleet.adoption import bench as looking
from fleet.adoption import host as judged_host
from fleet.adoption import judge as adoption
from fleet.bench.files import redis_address

ROLE = Path(__file__).parents[2] / "roles/adopt"
BENCH = "/home/frappe/frappe-bench"
PORTS = {
    "mariadb": 3306,
    "redis_cache": 13000,
    "redis_queue": 11000,
    "web": 8000,
    "socketio": 9000,
}
FOUND: dict[str, Any] = {
    "bench": {
        "owner": "frappe",
        "home": "/home/frappe",
        "shell": "/bin/bash",
        "python": "3.11.2",
        "apps": ["frappe"],
        "unversioned": [],
        "built": True,
        "sites": {
            "erp.example.com": {
                "user": "_a",
                "host": "",
                "names": ["shop.example.com"],
                "refused": [],
            }
        },
        "services": {"webserver_port": "8000", "socketio_port": "9000", "db_host": ""},
        "redis": {
            "redis_cache": redis_address("redis://127.0.0.1:13000/1") | {"local": True},
            "redis_queue": redis_address("redis://localhost:11000") | {"local": True},
        },
        "files": {},
        "keys": {"unread": [], "refused": [], "out": [], "adds": False, "paths": []},
    },
    "database": {
        "trouble": "",
        "accounts": ["root@localhost", "_a@localhost", "app@10.0.%"],
        "databases": ["_a"],
        "log_bin": False,
        "read_only": False,
        "follows": False,
        "asleep": [],
        "settings": {"max_connections": "150", "max_allowed_packet": "64M"},
    },
    "supervisor": [
        {
            "path": "/etc/supervisor/conf.d/frappe-bench.conf",
            "ours": False,
            "programs": ["frappe-bench-frappe-web", "frappe-bench-web"],
            "kept": [],
        }
    ],
    "sudo": {"trouble": "", "rules": [], "groups": []},
    "crontabs": [],
    "programs": {
        "trouble": "",
        "unread": False,
        "work": [],
        "own": [],
        "queues": {},
        "kept": [],
        "refused": [],
        "digest": "",
    },
    "nginx": {
        "trouble": "",
        "missed": "",
        "doubled": [],
        "files": [
            {
                "path": "/etc/nginx/conf.d/frappe-bench.conf",
                "names": ["erp.example.com"],
                "apart": [],
                "certificates": [],
                "stops": [],
            }
        ],
    },
}


@pytest.fixture
def host() -> dict[str, Any]:
    """A primary that may be adopted."""
    return an_adopted_host()


def an_adopted_host() -> dict[str, Any]:
    """A primary that may be adopted, as far as an adoption is judged by it."""
    web = {"pid": 1, "name": "gunicorn", "unit": "supervisor.service"}
    return {
        "name": "erp1",
        "groups": ["primary", "bench_primary", "mariadb_primary", "redis", "router"],
        "bench_dir": BENCH,
        "bench_home": "/home/frappe",
        "bench_user": "frappe",
        "branch": "version-15",
        "python": "/usr/bin/python3",
        "sites": [{"name": "erp.example.com"}],
        "restart_confirmed": True,
        "sudo_confirmed": False,
        "backup_dir": "/var/backups/benchfleet",
        "certificate": "",
        "networks": {"router_trusted_proxies": []},
        "router": {"router_max_upload": "50m", "router_read_timeout": 120},
        "web_workers": 4,
        "web_arguments": "",
        "environment": [],
        "background_workers": 6,
        "acme": {"email": "", "server": ""},
        "mariadb_plan": {
            "max_connections": 300,
            "max_allowed_packet": 67108864,
            "skip_name_resolve": True,
        },
        "survey": {
            "mark": {"state": "absent"},
            "benches": [{"path": BENCH, "frappe_version": "15.4.0", "named": "", "others": {}}],
            "pythons": {"/usr/bin/python3": "3.11.2"},
            "listeners": {"8000": [web]},
            "database": {"bytes": 1048576},
            "adoption": copy.deepcopy(FOUND),
        },
    }


@pytest.fixture
def settings() -> dict[str, Any]:
    """The settings of the fleet."""
    return {"inventory": "hosts.yml", "ports": dict(PORTS), "check_mode": False}


def problem_ids(host: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Ids of the problems of a host, in their order."""
    return [found["id"] for found in adoption.adoption_problems([host], settings)]


def notices(host: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Facts of the notices of a host, by their ids."""
    return {found["id"]: dict(found["facts"]) for found in adoption.adoption_notices([host])}


def test_a_sound_bench_is_taken(host, settings):
    assert adoption.adoption_problems([host], settings) == []
    found = notices(host)
    assert found.keys() == {"adopted", "restarted", "out_of_service", "settings_overridden"}
    assert found["adopted"] == {
        "host": "erp1",
        "bench": BENCH,
        "apps": ["frappe"],
        "mib": "1",
        "record": "/var/backups/benchfleet",
    }
    assert found["out_of_service"]["files"] == [
        "/etc/nginx/conf.d/frappe-bench.conf",
        "/etc/supervisor/conf.d/frappe-bench.conf",
    ]
    assert found["settings_overridden"] == {"settings": ["max_connections 150 -> 300"]}
    assert len(adoption.notice_texts([host])) == len(found)
    host["survey"]["adoption"]["database"]["asleep"] = ["_a.nightly"]
    host["survey"]["adoption"]["database"]["settings"]["event_scheduler"] = "ON"
    host["mariadb_plan"]["event_scheduler"] = False
    found = notices(host)
    assert found["events_begin"] == {"host": "erp1", "events": ["_a.nightly"]}
    assert found["settings_overridden"] == {"settings": ["max_connections 150 -> 300"]}
    host["mariadb_plan"] = {"max_connections": 300, "innodb_buffer_pool_size": 402653184}
    host["survey"]["adoption"]["database"]["settings"]["innodb_buffer_pool_size"] = "192M"
    changed = ["innodb_buffer_pool_size 192M -> 384M", "max_connections 150 -> 300"]
    assert notices(host)["settings_overridden"] == {"settings": changed}
    assert judged_host.set_aside(host) == {
        "nginx": ["/etc/nginx/conf.d/frappe-bench.conf"],
        "supervisor": ["/etc/supervisor/conf.d/frappe-bench.conf"],
    }


def test_without_an_adoption_nothing_is_judged_or_said(host, settings):
    host["survey"]["adoption"] = None
    assert adoption.adoption_problems([host, {"survey": None}], settings) == []
    assert adoption.adoption_notices([host]) == []
    assert judged_host.set_aside(host) == {"nginx": [], "supervisor": []}


def test_an_adoption_that_was_begun_is_not_judged_again(host, settings):
    host["restart_confirmed"] = False
    host["survey"]["mark"]["state"] = "present"
    assert adoption.adoption_problems([host], settings) == []


# Where in what was found, the value there, the id of the problem, and some of its facts.
TROUBLES = [
    ("bench.unversioned", ["tarball"], "adopt_app_without_git", {"app": "tarball"}),
    ("bench.owner", "erp", "adopt_bench_owner", {"owner": "erp", "user": "frappe"}),
    ("bench.home", "/srv/frappe", "adopt_bench_home", {"home": "/srv/frappe"}),
    ("bench.shell", "/bin/sh", "adopt_bench_shell", {"shell": "/bin/sh", "owner": "frappe"}),
    ("bench.python", "", "adopt_bench_python", {"bench": BENCH}),
    (
        "bench.sites",
        {"crm.example.com": {"user": "_c", "host": "", "names": [], "refused": []}},
        "adopt_no_site_named",
        {"names": ["crm.example.com"]},
    ),
    (
        "bench.sites.erp.host",
        "10.0.0.9",
        "adopt_database_elsewhere",
        {"address": "10.0.0.9", "whose": "site erp.example.com"},
    ),
    (
        "bench.redis.redis_queue.port",
        11001,
        "adopt_service_port",
        {"service": "redis_queue", "port": "11001", "wanted": "11000"},
    ),
    ("bench.redis.redis_queue.db", 1, "adopt_redis_database", {"key": "redis_queue", "db": 1}),
    ("bench.redis.redis_queue.port", 13000, "adopt_redis_shared", {"key": "redis_queue"}),
    (
        "bench.redis.redis_cache",
        redis_address("redis://c:1") | {"local": False},
        "adopt_redis_elsewhere",
        {"key": "redis_cache", "at": "c"},
    ),
    (
        "bench.redis.redis_cache",
        redis_address("rediss://c") | {"local": False},
        "adopt_redis_tls",
        {"key": "redis_cache"},
    ),
    (
        "bench.redis.redis_queue",
        redis_address("unix:///s") | {"local": True},
        "adopt_redis_socket",
        {"key": "redis_queue"},
    ),
    (
        "bench.redis.redis_queue",
        redis_address("redis://:x/y@h") | {"local": True},
        "adopt_redis_url",
        {"key": "redis_queue"},
    ),
    (
        "bench.files",
        {"config/redis_queue.conf": {"refused": ["line 3, include, names"], "gone": []}},
        "adopt_redis_setting",
        {"setting": "line 3, include, names", "file": "config/redis_queue.conf"},
    ),
    (
        "bench.keys.unread",
        ["common_site_config.json"],
        "adopt_config_unreadable",
        {"file": "common_site_config.json"},
    ),
    (
        "bench.keys.refused",
        ["db_password"],
        "adopt_key_of_a_site",
        {"key": "db_password", "file": "common_site_config.json"},
    ),
    ("bench.keys.refused", ["db_ssl_ca"], "adopt_key_of_tls", {"key": "db_ssl_ca"}),
    ("bench.keys.refused", ["read_from_replica"], "adopt_key_of_a_replica", {}),
    ("bench.keys.refused", ["redis_queue_sentinel_enabled"], "adopt_key_of_sentinel", {}),
    (
        "bench.sites.erp.refused",
        ["use_rq_auth"],
        "adopt_key_of_all_sites",
        {"key": "use_rq_auth", "file": "erp.example.com/site_config.json"},
    ),
    (
        "bench.services.webserver_port",
        "8080",
        "adopt_service_port",
        {"service": "web", "port": "8080", "wanted": "8000"},
    ),
    ("database.trouble", "Access denied", "adopt_root_refused", {"trouble": "Access denied"}),
    ("database.follows", True, "adopt_server_follows", {"host": "erp1"}),
    ("database.read_only", True, "adopt_server_read_only", {"host": "erp1"}),
    ("database.accounts", ["repl@%"], "adopt_names_taken", {"names": ["repl@%"]}),
    ("database.databases", ["benchfleet"], "adopt_names_taken", {"names": ["database benchfleet"]}),
    (
        "database.accounts",
        ["app@web01.lan"],
        "adopt_accounts_by_name",
        {"accounts": ["app@web01.lan"]},
    ),
    (
        "database.settings",
        {"port": "3307"},
        "adopt_mariadb_port",
        {"port": "3307", "wanted": 3306},
    ),
    ("supervisor", [], "adopt_no_program", {"host": "erp1", "owner": "frappe"}),
    (
        "programs.unread",
        True,
        "adopt_folder_unread",
        {"folder": "/etc/supervisor/conf.d", "host": "erp1"},
    ),
    ("nginx.trouble", "unknown directive", "adopt_nginx_broken", {"trouble": "unknown directive"}),
]


@pytest.mark.parametrize(("place", "value", "kind", "facts"), TROUBLES)
def test_each_trouble_is_a_problem_with_its_facts(host, settings, place, value, kind, facts):
    *folders, last = place.split(".")
    here = host["survey"]["adoption"]
    for name in folders:
        here = here["erp.example.com" if name == "erp" else name]
    here[last] = value
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == kind
    assert found["facts"] | facts == found["facts"]


def test_the_restart_is_confirmed_but_in_a_dry_run(host, settings):
    host["restart_confirmed"] = False
    assert problem_ids(host, settings) == ["adopt_restart_for_binlog"]
    assert adoption.adoption_problems([host], {**settings, "check_mode": True}) == []
    host["survey"]["adoption"]["database"]["log_bin"] = True
    assert problem_ids(host, settings) == ["adopt_restart_for_settings"]


def test_a_bench_elsewhere_is_named_and_nothing_else_is_said(host, settings):
    host["survey"]["benches"] = [
        {"path": "/opt/bench", "frappe_version": None, "named": "", "others": {}}
    ]
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_bench_elsewhere"
    assert found["facts"] == {"host": "erp1", "bench": BENCH, "found": "/opt/bench"}


def test_a_second_bench_is_reported_with_what_names_it(host, settings):
    other = {"path": "/data/b", "frappe_version": None, "named": "process 7 (node)", "others": {}}
    host["survey"]["benches"].append(other)
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_second_bench_named"
    assert found["facts"] == {"host": "erp1", "bench": "/data/b", "named": "process 7 (node)"}
    other["named"] = ""
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_second_bench"
    assert found["place"] == "/data/b on erp1"


def test_of_a_bench_without_mariadb_nothing_else_is_said(host, settings):
    other = {"kind": "postgres", "file": "/x"}
    host["survey"]["benches"][0]["others"] = {"erp.example.com": other}
    host["survey"]["adoption"]["database"]["trouble"] = "Can't connect"
    assert adoption.adoption_problems([host], settings) == []
    # Where one of two sites is on MariaDB, the rest is judged, too.
    host["survey"]["adoption"]["bench"]["sites"]["shop.test"] = {
        "user": "_s",
        "host": "",
        "names": [],
        "refused": [],
    }
    assert problem_ids(host, settings) == ["adopt_root_refused"]


def test_the_servers_own_lan_address_is_no_other_server(host, settings):
    host["addresses"] = ["10.0.0.11"]
    host["survey"]["adoption"]["bench"]["services"]["db_host"] = "10.0.0.11"
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_database_by_own_address"
    assert found["facts"] | {"whose": "the bench", "address": "10.0.0.11"} == found["facts"]


def test_settings_that_go_are_named_without_their_values(host):
    bench = host["survey"]["adoption"]["bench"]
    bench["keys"] |= {"out": ["db_socket", "rq_password"], "adds": True, "paths": ["key of x"]}
    bench["files"] = {"config/redis_queue.conf": {"refused": [], "gone": ["aclfile", "user erp"]}}
    found = notices(host)
    assert found["settings_go"]["settings"] == [
        "db_socket of common_site_config.json",
        "rq_password of common_site_config.json",
        "aclfile of config/redis_queue.conf",
        "user erp of config/redis_queue.conf",
    ]
    assert found["keys_of_files"] == {"keys": ["key of x"]}
    assert "keys_by_function" in found
    bench["keys"]["adds"] = False
    assert "keys_by_function" not in notices(host)


INPUT = """\
{"db_host": "localhost", "db_socket": "/run/mysqld/mysqld.sock", "use_rq_auth": true,
 "redis_cache": "redis://127.0.0.1", "redis_queue": "redis://u:se/c@ret@127.0.0.1:11000/0",
 "rq_password": "secret", "rq_username": "home-frappe-frappe-bench", "http_timeout": 600}
"""


def test_a_look_at_a_bench_takes_no_secret_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("sites/a.test", "config"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sites/common_site_config.json").write_text(INPUT)
    site = '{"db_name": "a", "redis_cache": "redis://:se/cret@h", "db_host": "127.0.1.1",'
    site += ' "ledger_key": "/etc/hostname", "none": "/none", "backup_path": "/etc"}'
    (tmp_path / "sites/a.test/site_config.json").write_text(site)
    (tmp_path / "config/redis_queue.conf").write_text("port 1\nuser erp on >secret\ninclude /x")
    monkeypatch.setattr(looking, "installed_apps", lambda _: {})
    monkeypatch.setattr(looking, "python_version", lambda *_: "")
    found = looking.look_at_bench(str(tmp_path))
    assert found["keys"]["unread"] == []
    assert found["keys"]["paths"] == ["ledger_key of a.test/site_config.json"]
    assert found["keys"]["out"] == ["db_socket", "rq_password", "rq_username", "use_rq_auth"]
    assert found["redis"]["redis_cache"]["port"] == 6379
    assert found["redis"]["redis_queue"]["trouble"]
    assert found["sites"]["a.test"]["refused"] == ["redis_cache"]
    assert (found["sites"]["a.test"]["host"], found["services"]["db_host"]) == ("", "")
    assert found["files"]["config/redis_queue.conf"]["gone"] == ["user erp"]
    assert not re.search(r"secret|ret@|se/c", repr(found))
    (tmp_path / "sites/common_site_config.json").write_text("\ufeff{}")
    (tmp_path / "sites/a.test/site_config.json").write_text("[]")
    names = ["common_site_config.json", "a.test/site_config.json"]
    assert looking.look_at_bench(str(tmp_path))["keys"]["unread"] == names


def test_another_frappe_than_the_inventorys(host, settings):
    host["branch"] = "version-14"
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_frappe_branch"
    assert found["facts"]["version"] == "15.4.0"
    assert found["facts"]["branch"] == "version-14"
    assert found["facts"]["wanted"] == "version-15"


def test_a_service_that_supervisor_does_not_run_is_refused(host, settings):
    host["survey"]["listeners"]["8000"][0]["unit"] = "session-3.scope"
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_not_by_supervisor"
    facts = {"process": "gunicorn", "service": "web", "unit": "session-3.scope", "pid": 1}
    assert found["facts"] | facts == found["facts"]


def test_strange_names_and_places_of_programs_are_refused(host, settings):
    file = host["survey"]["adoption"]["supervisor"][0]
    file.update(programs=["erp-web"], kept=["wiki", "frappe-bench-frappe-long-worker"])
    prefix, taken = adoption.adoption_problems([host], settings)
    assert prefix["id"] == "adopt_prefix_missing"
    assert prefix["facts"]["prefix"] == "frappe-bench-"
    assert prefix["facts"]["programs"] == ["erp-web"]
    assert taken["id"] == "adopt_program_names_taken"
    assert taken["facts"]["programs"] == ["frappe-bench-frappe-long-worker"]
    file.update(path=f"{BENCH}/config/supervisor.conf", programs=[], kept=["wiki"])
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_other_folder"
    assert found["facts"]["file"] == f"{BENCH}/config/supervisor.conf"


def test_certificates_go_on_being_served(host, settings):
    file = host["survey"]["adoption"]["nginx"]["files"][0]
    file["certificates"] = [["/etc/le/full.pem", "/etc/le/key.pem"]]
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_certificate_unset"
    assert found["facts"]["certificate"] == "/etc/le/full.pem"
    assert found["facts"]["key"] == "/etc/le/key.pem"
    file["certificates"].append(["/etc/le/two.pem", "/etc/le/two.key"])
    (found,) = adoption.adoption_problems([host], settings)
    assert found["id"] == "adopt_certificates_unset"
    assert found["facts"]["certificates"] == ["/etc/le/full.pem", "/etc/le/two.pem"]
    host["certificate"] = "/etc/le/full.pem"
    assert adoption.adoption_problems([host], settings) == []


def test_names_that_would_no_longer_be_served_are_refused(host, settings):
    found = host["survey"]["adoption"]
    found["bench"]["sites"]["crm.example.com"] = {
        "user": "_c",
        "host": "",
        "names": [],
        "refused": [],
    }
    assert adoption.adoption_problems([host], settings) == []
    assert notices(host)["site_not_named"] == {"site": "crm.example.com"}
    # Of these, one is a site, one is a further name of a site in its site_config.json.
    found["nginx"]["files"][0]["names"] += ["crm.example.com", "shop.example.com"]
    assert adoption.adoption_problems([host], settings) == []
    found["nginx"]["files"][0]["names"].append("wiki.example.com")
    (unserved,) = adoption.adoption_problems([host], settings)
    assert unserved["id"] == "adopt_unserved_names"
    assert unserved["facts"]["names"] == ["wiki.example.com"]
    host["sites"][0]["names"] = ["wiki.example.com"]
    assert adoption.adoption_problems([host], settings) == []


def test_apps_that_git_does_not_know_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/apps.txt").write_text("\ufeff# ours\r\nfrappe\r\n\r\n tarball \r\n")
    monkeypatch.setattr(looking, "installed_apps", lambda _: {"frappe": {}})
    monkeypatch.setattr(looking, "python_version", lambda *_: "")
    assert looking.look_at_bench(str(tmp_path))["unversioned"] == ["tarball"]


@pytest.mark.parametrize(("owner", "runs"), [("daemon", ["daemon"]), ("root", [])])
def test_root_runs_no_program_of_the_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, runs: list[str]
):
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho Python 3.11.2\n")
    python.chmod(0o755)
    ran: list[str] = []

    def noted(user: str, *_: Any, **__: Any) -> Any:
        ran.append(user)
        return SimpleNamespace(stdout="Python 3.11.2\n")

    monkeypatch.setattr(looking, "run_as", noted)
    uid = pwd.getpwnam(owner).pw_uid
    with monkeypatch.context() as patched:
        stat = os.stat
        seen = SimpleNamespace(st_uid=uid, st_gid=0, st_mode=stat(tmp_path).st_mode)
        patched.setattr(
            looking.os, "stat", lambda path, **k: seen if path == str(tmp_path) else stat(path, **k)
        )
        found = looking.look_at_bench(str(tmp_path))
    assert (ran, found["python"]) == (runs, "3.11.2" if runs else "")
    assert not (tmp_path / "ran").exists()


def test_a_release_that_was_cut_off_can_go_on():
    """What a second run goes by is there until the step itself is done."""
    values = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    # In reverse order: the common configuration leads to the waiting jobs.
    first = values["__adopt_bench_paths"][0]
    assert first["path"].endswith("/sites/common_site_config.json")
    tasks = yaml.safe_load((ROLE / "tasks/release.yml").read_text(encoding="utf-8"))
    reload = next(task for task in tasks if task["name"] == "Web server uses its files")
    # The files may be put back already, while nginx still uses the old ones.
    assert reload["when"] == "not ansible_check_mode"
