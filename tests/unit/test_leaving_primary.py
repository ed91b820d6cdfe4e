"""A primary that leaves its fleet: what its bench and its servers become, and what is left."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fleet import alone, leaving, leaving_primary
from fleet.bench import supervisor_config

from filter_plugins.mariadb_settings import mariadb_cnf, mariadb_settings

BENCH, USER = "/home/frappe/frappe-bench", "frappe"
WRITTEN = f"""
[program:frappe-bench-frappe-web]
command={BENCH}/env/bin/gunicorn -b 127.0.0.1:8000 -w 4 -t 120 frappe.app:application --preload
user=root
directory=/
stdout_logfile=/etc/passwd
stderr_logfile={BENCH}/logs/web.error.log

[program:frappe-bench-frappe-schedule]
command=/opt/bench-cli/bin/bench schedule
user={USER}

[program:frappe-bench-redis-cache]
command=/usr/bin/redis-server {BENCH}/config/redis_cache.conf
user={USER}

[group:frappe-bench-web]
programs=frappe-bench-frappe-web
[group:frappe-bench-workers]
programs=frappe-bench-frappe-schedule,other
[group:frappe-bench-redis]
programs=frappe-bench-redis-cache
"""


def test_programs_are_as_the_bench_cli_has_them_and_never_roots() -> None:
    text = supervisor_config.stock_config(
        WRITTEN, BENCH, USER, "/usr/local/bin/bench", {"PROXY": "http://p"}
    )
    read = supervisor_config.read_supervisor(text)
    assert supervisor_config.supervisor_groups(text) == [
        "frappe-bench-web",
        "frappe-bench-workers",
        "frappe-bench-redis",
    ]
    assert read.get("group:frappe-bench-workers", "programs") == "frappe-bench-frappe-schedule"
    web = dict(read.items("program:frappe-bench-frappe-web"))
    assert (web["user"], web["directory"]) == (USER, f"{BENCH}/sites")
    assert web["stdout_logfile"] == f"{BENCH}/logs/web.log"
    assert "PROXY" in web["environment"]
    schedule = read.get("program:frappe-bench-frappe-schedule", "command")
    assert schedule == "/usr/local/bin/bench schedule"
    assert not read.has_option("program:frappe-bench-redis-cache", "environment")
    assert "benchfleet" not in text.lower()


def test_mariadb_keeps_sizes_and_the_operators_own_and_nothing_of_a_fleet() -> None:
    own = {"server_id": 7, "bind_address": "127.0.0.1,10.0.0.1", "ssl_ca": "/etc/benchfleet/ca"}
    plan = mariadb_settings(4096, "primary", 2, own, {"innodb_io_capacity": 2000})
    text = leaving_primary.server_settings(mariadb_cnf(plan))
    names = {line.split(" = ")[0] for line in text.splitlines() if " = " in line}
    assert {"innodb_buffer_pool_size", "collation_server", "innodb_io_capacity"} <= names
    # Of the clients, too.
    assert text.count("max_allowed_packet = 1G") == 2
    assert not names & {"read_only", "server_id", "log_bin", "bind_address", "ssl_ca", "userstat"}
    assert not [name for name in names if name.startswith(("gtid", "slave", "binlog", "relay"))]
    assert leaving_primary.server_settings(text) == text


@pytest.mark.skipif(not shutil.which("visudo"), reason="no sudo here")
def test_sudo_reads_the_rule(tmp_path: Path) -> None:
    (tmp_path / "rule").write_text(leaving_primary.sudo_rule(BENCH, USER))
    done = subprocess.run(["visudo", "-cf", str(tmp_path / "rule")], check=False)
    assert done.returncode == 0


def leaver(root: Path, dry: bool = False) -> leaving_primary.PrimaryLeaver:
    """One on a host of files alone."""
    user = pwd.getpwuid(os.getuid()).pw_name
    asked: dict[str, Any] = {
        "fleet_id": "f1",
        "config_dir": str(root / "etc"),
        "lib_dir": str(root / "lib"),
        "state_dir": str(root / "state"),
        "bench": str(root / "bench"),
        "user": user,
        "cli_dir": str(root / "cli"),
        "seed_user": "benchfleet",
        "data": "keep",
        "primary": {
            "configuration": str(root / "bench.conf"),
            "programs": "",
            "config": {"redis_queue": "redis://127.0.0.1:11000"},
            "web_port": 8000,
        },
    }
    for name in ("etc", "lib", "state/acme", "bench/sites", "cli"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return leaving_primary.PrimaryLeaver(asked, lambda *_, **__: (0, "", ""), dry)


def test_the_bench_calls_its_own_redis_and_restart(tmp_path: Path) -> None:
    path = tmp_path / "bench/sites/common_site_config.json"
    host = leaver(tmp_path)
    path.write_text(json.dumps({"redis_queue": "redis://a:b@10.0.0.1:11000", "own": 1}))
    host.configure()
    found = json.loads(path.read_text())
    assert (found["redis_queue"], found["own"]) == ("redis://127.0.0.1:11000", 1)
    assert "benchfleet" not in found["supervisor_restart_cmd"]
    again = leaver(tmp_path)
    again.configure()
    assert again.did == []


def test_the_nodes_keys_leave_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, end = (leaving.KEYS.replace("{mark}", word) for word in ("BEGIN", "END"))
    path = tmp_path / ".ssh/authorized_keys"
    path.parent.mkdir()
    path.write_text(f"ssh-ed25519 own\n{begin}\nssh-ed25519 node\n{end}\nssh-ed25519 last\n")
    entry = pwd.getpwuid(os.getuid())
    home = pwd.struct_passwd((*entry[:5], str(tmp_path), entry[6]))
    monkeypatch.setattr(leaving_primary.pwd, "getpwnam", lambda _: home)
    leaver(tmp_path).keys()
    assert path.read_text() == "ssh-ed25519 own\nssh-ed25519 last\n"


def test_certbots_challenges_stay_where_there_are_some(tmp_path: Path) -> None:
    host = leaver(tmp_path)
    (tmp_path / "state/drained").mkdir()
    host.programs_of_ours()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["acme"]
    (tmp_path / "state/acme").rmdir()
    host.programs_of_ours()
    assert not (tmp_path / "state").exists()
    assert (tmp_path / "cli").is_dir()


def test_a_run_that_was_killed_finds_its_mark_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = leaver(tmp_path)
    for name in ("fleet.json", "jobs.json", "a"):
        (tmp_path / "etc" / name).touch()
    host.begin()
    removed: list[str] = []
    monkeypatch.setattr("fleet.leaving.remove", lambda path: removed.append(os.path.basename(path)))
    host.settings()
    assert removed[-3:] == ["leaving", "fleet.json", "etc"]


def test_what_is_left_is_found_and_what_is_kept_is_not(tmp_path: Path) -> None:
    for name in ("a/benchfleet/inner-benchfleet", "b/benchfleet-x", "nginx/benchfleet", "cli"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cli/.benchfleet-complete").touch()
    (tmp_path / "b/99-Benchfleet.cnf").touch()
    found = alone.left_over(
        [str(tmp_path)], [str(tmp_path / "nginx/benchfleet"), str(tmp_path / "cli")]
    )
    names = sorted(os.path.relpath(path, tmp_path) for path in found)
    assert names == ["a/benchfleet", "b/99-Benchfleet.cnf", "b/benchfleet-x"]
