"""A bench made by hand is judged before it is adopted: each trouble with what to set."""

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
        "told": "",
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
    """What the judge knows besides."""
    return {"inventory": "hosts.yml", "ports": dict(PORTS), "check_mode": False}


def test_a_sound_bench_is_taken(host, settings):
    assert adoption.adoption_problems([host], settings) == []
    words = " ".join(adoption.adoption_words([host]))
    assert "restarts once" in words
    assert "max_connections 150 -> 300" in words
    assert "max_allowed_packet" not in words
    assert "events" not in words
    host["survey"]["adoption"]["database"]["asleep"] = ["_a.nightly"]
    host["survey"]["adoption"]["database"]["settings"]["event_scheduler"] = "ON"
    host["mariadb_plan"]["event_scheduler"] = False
    words = " ".join(adoption.adoption_words([host]))
    assert "begin to run" in words
    assert "_a.nightly" in words
    assert "event_scheduler ON" not in words
    host["mariadb_plan"] = {"max_connections": 300, "innodb_buffer_pool_size": 402653184}
    host["survey"]["adoption"]["database"]["settings"]["innodb_buffer_pool_size"] = "192M"
    said = "innodb_buffer_pool_size 192M -> 384M, max_connections 150 -> 300"
    assert said in " ".join(adoption.adoption_words([host]))
    assert judged_host.set_aside(host) == {
        "nginx": ["/etc/nginx/conf.d/frappe-bench.conf"],
        "supervisor": ["/etc/supervisor/conf.d/frappe-bench.conf"],
    }


def test_without_an_adoption_nothing_is_judged_or_said(host, settings):
    host["survey"]["adoption"] = None
    assert adoption.adoption_problems([host, {"survey": None}], settings) == []
    assert adoption.adoption_words([host]) == []
    assert judged_host.set_aside(host) == {"nginx": [], "supervisor": []}


def test_an_adoption_that_was_begun_is_not_judged_again(host, settings):
    host["restart_confirmed"] = False
    host["survey"]["mark"]["state"] = "present"
    assert adoption.adoption_problems([host], settings) == []


# Where in the host or in what was found, the value there, and what the problem or its remedy says.
TROUBLES = [
    ("bench.unversioned", ["tarball"], "git init, git add --all, git commit"),
    ("bench.owner", "erp", "set fleet_bench_user to erp"),
    ("bench.home", "/srv/frappe", "set fleet_bench_home to /srv/frappe"),
    ("bench.shell", "/bin/sh", "usermod --shell /bin/bash frappe"),
    ("bench.python", "", "bench setup env"),
    (
        "bench.sites",
        {"crm.example.com": {"user": "_c", "host": "", "names": [], "refused": []}},
        "name its sites in",
    ),
    ("bench.sites.erp.host", "10.0.0.9", "its database is not on erp1"),
    ("bench.redis.redis_queue.port", 11001, "set fleet_redis_queue_port to 11001"),
    ("bench.redis.redis_queue.db", 1, "a fleet's queue is database 0"),
    ("bench.redis.redis_queue.port", 13000, "is the Redis of redis_cache"),
    ("bench.redis.redis_cache", redis_address("redis://c:1") | {"local": False}, "other host (c)"),
    ("bench.redis.redis_cache", redis_address("rediss://c") | {"local": False}, "is encrypted"),
    ("bench.redis.redis_queue", redis_address("unix:///s") | {"local": True}, "is a socket"),
    ("bench.redis.redis_queue", redis_address("redis://:x/y@h") | {"local": True}, "can read"),
    (
        "bench.files",
        {"config/redis_queue.conf": {"refused": ["line 3, include, names"], "gone": []}},
        "line 3, include",
    ),
    ("bench.keys.unread", ["common_site_config.json"], "is no JSON object"),
    ("bench.keys.refused", ["db_password"], "move it to the site_config.json of its"),
    ("bench.keys.refused", ["read_from_replica"], "set it to 0"),
    ("bench.sites.erp.refused", ["use_rq_auth"], "take it out: what all sites share"),
    ("bench.services.webserver_port", "8080", "set fleet_web_port to 8080"),
    ("database.trouble", "Access denied", "unix_socket OR mysql_native_password"),
    ("database.follows", True, "follows another server"),
    ("database.read_only", True, "is read-only"),
    ("database.accounts", ["repl@%"], "repl@%"),
    ("database.databases", ["benchfleet"], "database benchfleet"),
    ("database.accounts", ["app@web01.lan"], "skip_name_resolve: false"),
    ("database.settings", {"port": "3307"}, "set fleet_mariadb_port to 3307"),
    ("supervisor", [], "runs no program of the bench"),
    ("programs.unread", True, "does not read /etc/supervisor/conf.d/*.conf"),
    ("nginx.trouble", "unknown directive", "refuses its own configuration"),
]


@pytest.mark.parametrize(("place", "value", "words"), TROUBLES)
def test_trouble_is_told_with_its_remedy(host, settings, place, value, words):
    *folders, last = place.split(".")
    here = host["survey"]["adoption"]
    for name in folders:
        here = here["erp.example.com" if name == "erp" else name]
    here[last] = value
    told = adoption.adoption_problems([host], settings)
    assert len(told) == 1
    assert words in f"{told[0]['what']} {told[0]['remedy']}"


def test_the_restart_is_asked_for_but_in_a_dry_run(host, settings):
    host["restart_confirmed"] = False
    told = adoption.adoption_problems([host], settings)
    assert "has to be restarted once" in told[0]["what"]
    assert "adopt_restart_confirmed=true" in told[0]["remedy"]
    assert adoption.adoption_problems([host], {**settings, "check_mode": True}) == []


def test_a_bench_elsewhere_is_named_and_nothing_else_is_said(host, settings):
    host["survey"]["benches"] = [
        {"path": "/opt/bench", "frappe_version": None, "named": "", "others": {}}
    ]
    told = adoption.adoption_problems([host], settings)
    assert [problem["remedy"] for problem in told] == ["set fleet_bench_dir to /opt/bench"]


def test_a_second_bench_is_told_with_what_names_it(host, settings):
    other = {"path": "/data/b", "frappe_version": None, "named": "process 7 (node)", "others": {}}
    host["survey"]["benches"].append(other)
    (told,) = adoption.adoption_problems([host], settings)
    assert told["place"] == "/data/b on erp1, named by process 7 (node)"
    other["named"] = ""
    (told,) = adoption.adoption_problems([host], settings)
    assert told["place"] == "/data/b on erp1"


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
    assert len(adoption.adoption_problems([host], settings)) == 1


def test_the_servers_own_lan_address_is_no_other_server(host, settings):
    host["addresses"] = ["10.0.0.11"]
    host["survey"]["adoption"]["bench"]["services"]["db_host"] = "10.0.0.11"
    (told,) = adoption.adoption_problems([host], settings)
    assert told["remedy"].endswith("set db_host to 127.0.0.1")


def test_halves_that_go_are_told_without_their_values(host):
    bench = host["survey"]["adoption"]["bench"]
    bench["keys"] |= {"out": ["db_socket", "rq_password"], "adds": True, "paths": ["key of x"]}
    bench["files"] = {"config/redis_queue.conf": {"refused": [], "gone": ["aclfile", "user erp"]}}
    words = " ".join(adoption.adoption_words([host]))
    assert "db_socket of common_site_config.json, rq_password of common" in words
    assert "aclfile of config/redis_queue.conf, user erp of" in words
    assert "extra_config of common_site_config.json names a function" in words
    assert "name a file, which reporting nodes will not have: key of x" in words


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
    assert found["redis"]["redis_queue"]["trouble"] == "is no address that redis-py can read"
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
    told = adoption.adoption_problems([host], settings)
    assert told[0]["remedy"] == "set bench_frappe_branch to version-15"


def test_what_no_supervisor_runs_is_stopped_first(host, settings):
    host["survey"]["listeners"]["8000"][0]["unit"] = "session-3.scope"
    told = adoption.adoption_problems([host], settings)
    assert "is not run by supervisor" in told[0]["what"]


def test_strange_names_and_places_of_programs_are_told(host, settings):
    file = host["survey"]["adoption"]["supervisor"][0]
    file.update(programs=["erp-web"], kept=["wiki", "frappe-bench-frappe-long-worker"])
    told = [problem["what"] for problem in adoption.adoption_problems([host], settings)]
    assert "do not begin with frappe-bench-: erp-web" in told[0]
    assert "may get: frappe-bench-frappe-long-worker" in told[1]
    file.update(path=f"{BENCH}/config/supervisor.conf", programs=[], kept=["wiki"])
    (problem,) = adoption.adoption_problems([host], settings)
    assert "not in /etc/supervisor/conf.d" in problem["what"]


def test_certificates_go_on_being_served(host, settings):
    file = host["survey"]["adoption"]["nginx"]["files"][0]
    file["certificates"] = [["/etc/le/full.pem", "/etc/le/key.pem"]]
    told = adoption.adoption_problems([host], settings)
    assert told[0]["remedy"].startswith("set router_certificate: /etc/le/full.pem and")
    file["certificates"].append(["/etc/le/two.pem", "/etc/le/two.key"])
    assert (
        "certificate_key (fleet_sites)" in adoption.adoption_problems([host], settings)[0]["remedy"]
    )
    host["certificate"] = "/etc/le/full.pem"
    assert adoption.adoption_problems([host], settings) == []


def test_what_would_no_longer_be_served_is_told(host, settings):
    found = host["survey"]["adoption"]
    found["bench"]["sites"]["crm.example.com"] = {
        "user": "_c",
        "host": "",
        "names": [],
        "refused": [],
    }
    assert adoption.adoption_problems([host], settings) == []
    assert "site crm.example.com will be served" in " ".join(adoption.adoption_words([host]))
    # Of these, one is a site, one is a further name of a site in its site_config.json.
    found["nginx"]["files"][0]["names"] += ["crm.example.com", "shop.example.com"]
    assert adoption.adoption_problems([host], settings) == []
    found["nginx"]["files"][0]["names"].append("wiki.example.com")
    told = adoption.adoption_problems([host], settings)
    assert len(told) == 1
    assert told[0]["what"].endswith("would no longer be served: wiki.example.com")
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
    """What a second run is told by is there until the step itself is done."""
    values = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    # Last things first: by the common configuration the waiting jobs are asked for.
    first = values["__adopt_bench_paths"][0]
    assert first["path"].endswith("/sites/common_site_config.json")
    tasks = yaml.safe_load((ROLE / "tasks/release.yml").read_text(encoding="utf-8"))
    reload = next(task for task in tasks if task["name"] == "Web server takes its files")
    # The files may be put back already, and nginx not have heard of it.
    assert reload["when"] == "not ansible_check_mode"
