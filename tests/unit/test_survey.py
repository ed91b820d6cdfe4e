"""The survey of a host, on folders and processes made by the tests."""

from __future__ import annotations

import json
import os
import platform
import pwd
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fleet.bench import code
from fleet.mariadb import options as mariadb_options
from fleet.survey import benches, database, notes, ports, system

from library import survey

ME = pwd.getpwuid(os.geteuid()).pw_name


def test_listener_of_this_process_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = ports.find_listeners([port])
        assert [entry["pid"] for entry in found[str(port)]] == [os.getpid()]
        assert found[str(port)][0]["address"] == "127.0.0.1"
        assert "python" in found[str(port)][0]["program"]
        assert ports.try_connect("127.0.0.1", port, 3)["ok"]
    assert ports.find_listeners([port]) == {}
    refused = ports.try_connect("127.0.0.1", port, 3)
    assert not refused["ok"]
    assert refused["detail"] == "Connection refused"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {"state": "absent"}),
        ("{", {"state": "broken"}),
        ("{}", {"state": "broken"}),
        ("[]", {"state": "broken"}),
        (
            json.dumps({"fleet_id": "f1", "role": "primary"}),
            {"state": "present", "fleet_id": "f1", "role": "primary"},
        ),
    ],
)
def test_mark(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "fleet.json").write_text(text)
    found = notes.read_mark(str(tmp_path))
    assert {key: found[key] for key in expected} == expected
    assert found["path"] == f"{tmp_path}/fleet.json"


def make_bench(path: Path, version: str | None = "15.1.0") -> Path:
    """A folder that looks like a bench."""
    (path / "sites").mkdir(parents=True)
    (path / "sites/apps.txt").write_text("frappe\n")
    if version:
        (path / "apps/frappe/frappe").mkdir(parents=True)
        (path / "apps/frappe/frappe/__init__.py").write_text(f'x = 1\n__version__ = "{version}"\n')
    return path


def benches_below(folder: Path, place: str = "/none", *patterns: str) -> list[dict]:
    """Benches below a folder; others on the machine of the tests do not count."""
    files = (f"{folder}/*.conf", f"{folder}/*.service")
    found = benches.find_benches(place, patterns, files)
    return [bench for bench in found if bench["path"].startswith(f"{folder}/")]


def test_benches(tmp_path):
    own = make_bench(tmp_path / "own")
    other = make_bench(tmp_path / "home/erp/bench", None)
    (tmp_path / "home/erp/documents").mkdir()
    assert benches_below(tmp_path, str(own), f"{tmp_path}/home/*/*") == [
        {"path": str(other), "frappe_version": None, "named": "", "others": {}},
        {"path": str(own), "frappe_version": "15.1.0", "named": "", "others": {}},
    ]
    assert benches_below(tmp_path / "none") == []


# Folders of benches as on real servers, and the file and line that names each.
NAMED = {
    "home/frappe/frappe-bench": ("supervisor.conf", "command={}/env/bin/gunicorn -b :8000"),
    "data/erp": ("supervisor.conf", "directory={}/sites"),
    "workspace/development/frappe-bench": ("supervisor.conf", 'environment=BENCH="{}/sites"'),
    "var/lib/frappe/v15/bench": ("a.service", "WorkingDirectory={}"),
    "mnt/volume_01/erpnext/frappe-bench": ("b.service", "ExecStart=/usr/bin/env {}/env/bin/python"),
    "usr/local/frappe/bench": ("c.service", "ReadWritePaths=-{}/logs /var/tmp"),
    "erpnext/frappe-bench": ("nginx.conf", "root {}/sites;"),
    "www/wwwroot/erp": (
        "nginx.conf",
        "location /assets {{ try_files $uri =404; alias {}/sites; }}",
    ),
    "export/bench": ("apache.conf", 'DocumentRoot "{}/sites"'),
    "apps/production/bench-15": ("apache.conf", "<Directory {}/sites>"),
    "storage/a-b_c.d/bench": ("d.service", "StandardOutput=file:{}/logs/web.log"),
    "opt/cp/tar/bench": ("f.service", "ExecStart={}/env/bin/gunicorn frappe.app"),
    "srv2/bench": ("e.service", 'Environment="PATH=/usr/bin:{}/env/bin"'),
}


@pytest.mark.parametrize("folder", NAMED)
def test_a_bench_is_found_where_a_file_names_it(tmp_path: Path, folder: str):
    bench, (name, line) = make_bench(tmp_path / folder), NAMED[folder]
    (tmp_path / name).write_text(f"# of this server\n{line.format(bench)}\n")
    found = benches_below(tmp_path)
    assert [(b["path"], b["named"]) for b in found] == [(str(bench), f"{tmp_path}/{name}")]


@pytest.mark.parametrize("way", ["folder", "command"])
def test_a_bench_is_found_by_a_process(tmp_path: Path, way: str):
    bench = make_bench(tmp_path / "far/away")
    (bench / "env/bin").mkdir(parents=True)
    (bench / "env/bin/run").write_text("import sys\nsys.stdin.read()\n")
    folder = bench / "sites" if way == "folder" else "/"
    command = ["cat"] if way == "folder" else [sys.executable, f"{bench}/env/bin/run"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE) as process:
        (found,) = benches_below(tmp_path)
        process.communicate()
    assert found["path"] == str(bench)
    assert found["named"].startswith(f"process {process.pid} (")


def test_a_copy_that_is_not_in_use_is_no_bench(tmp_path: Path):
    copy = make_bench(tmp_path / "backup/frappe-bench")
    (tmp_path / "a.service").write_text(f"ExecStart=/usr/bin/rsync -a /home/x/sites {copy}\n")
    with subprocess.Popen(["bash", "-c", "read"], cwd=copy, stdin=subprocess.PIPE) as shell:
        assert benches_below(tmp_path) == []
        shell.communicate()


def test_a_bench_with_two_paths_is_one(tmp_path: Path):
    bench = make_bench(tmp_path / "opt/bench")
    link = tmp_path / "frappe-bench"
    link.symlink_to(bench)
    # While an update is being made, or after a copy into the bench itself.
    make_bench(bench / ".update")
    (tmp_path / "a.service").write_text(f"WorkingDirectory={bench}\nX={bench}/.update/sites\n")
    for place in (link, bench):
        found = benches_below(tmp_path, str(place), f"{tmp_path}/opt/*")
        assert [(b["path"], b["named"]) for b in found] == [(str(place), f"{tmp_path}/a.service")]


def test_sites_on_another_database_are_found(tmp_path: Path):
    bench = make_bench(tmp_path / "bench")
    files = {
        "common_site_config.json": {"db_type": "postgres"},
        "a.test/site_config.json": {"db_type": "mariadb"},
        "b.test/site_config.json": {"db_name": "b"},
        "c.test/site_config.json": {"db_type": "sqlite"},
    }
    for name, content in files.items():
        (bench / "sites" / name).parent.mkdir(exist_ok=True)
        (bench / "sites" / name).write_text(json.dumps(content))
    # Reading this one must not block.
    (bench / "sites/d.test").mkdir()
    os.mkfifo(bench / "sites/d.test/site_config.json")
    (found,) = benches_below(tmp_path, str(bench))
    assert found["others"] == {
        "b.test": {"kind": "postgres", "file": f"{bench}/sites/common_site_config.json"},
        "c.test": {"kind": "sqlite", "file": f"{bench}/sites/c.test/site_config.json"},
    }


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("#!/x/python\nimport sys\nfrom bench.cli import cli\n", "frappe-bench"),
        ("#!/usr/bin/env python3\nfrom bench_cli.cli import main\n", "frappe/pilot"),
        ("#!/usr/bin/env python3\n    from pilot.cli import main\n", "frappe/pilot"),
        ("#!/bin/sh\n# benchfleet's guard\nexec /opt/bench/bin/bench\n", "benchfleet"),
        ("#!/bin/sh\necho hello\n", "unknown"),
    ],
)
def test_commands(tmp_path, text, origin):
    command = tmp_path / "bin/bench"
    command.parent.mkdir()
    command.write_text(text)
    assert benches.find_commands([str(tmp_path)], ()) == []
    command.chmod(0o755)
    assert benches.find_commands([str(tmp_path)], ()) == [{"path": str(command), "origin": origin}]


def test_command_and_its_link_are_one(tmp_path):
    (tmp_path / "bench").write_text("#!/bin/sh\n")
    (tmp_path / "bench").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/bench").symlink_to(tmp_path / "bench")
    assert len(benches.find_commands([], (str(tmp_path), f"{tmp_path}/bin"))) == 1


def test_the_data_folder_is_that_of_the_servers_option_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    # The server's account could not read the test's folder.
    monkeypatch.setattr(mariadb_options, "ACCOUNT", "nobody-of-the-kind")
    assert mariadb_options.data_folder() == "/var/lib/mysql"
    tool = tmp_path / "my_print_defaults"
    tool.write_text("#!/bin/sh\necho --port=3306\n")
    tool.chmod(0o755)
    assert mariadb_options.data_folder() == "/var/lib/mysql"
    tool.write_text("#!/bin/sh\necho --datadir=/srv/a\necho --datadir=/srv/b/\n")
    assert mariadb_options.data_folder() == "/srv/b"


def test_states_of_a_folder_that_will_be_made(tmp_path):
    place = tmp_path / "bench"
    assert benches.folder_state(str(place)) == "absent"
    place.mkdir()
    assert benches.folder_state(str(place)) == "empty"
    (place / "notes").write_text("x")
    assert benches.folder_state(str(place)) == "foreign"
    assert benches.folder_state(str(place / "notes")) == "foreign"
    for mark in (".benchfleet-complete", ".benchfleet-making"):
        (place / mark).write_text("")
        assert benches.folder_state(str(place)) == "ours"
        (place / mark).unlink()
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    assert benches.folder_state(str(tmp_path / "dangling")) == "foreign"


def test_data_folder(tmp_path):
    def found(folder: Path) -> dict[str, Any]:
        return database.read_database(str(folder), "/none", mariadb_options.program())

    empty = found(tmp_path / "none")
    assert (empty["holds_data"], empty["bytes"]) == (False, 0)
    (tmp_path / "lost+found").mkdir()
    assert not found(tmp_path)["holds_data"]
    (tmp_path / "ibdata1").write_bytes(b"x" * 100_000)
    assert found(tmp_path)["holds_data"]
    assert found(tmp_path)["bytes"] >= 100_000


def test_time_zone(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "XYZ-5")
    zones = tmp_path / "zoneinfo/Europe"
    zones.mkdir(parents=True)
    (zones / "Berlin").write_bytes(Path("/usr/share/zoneinfo/Europe/Berlin").read_bytes())
    (tmp_path / "localtime").symlink_to(zones / "Berlin")
    found = system.time_zone(str(tmp_path / "localtime"))
    assert found["name"] == "Europe/Berlin"
    assert set(found["offsets"]) == {3600, 7200}
    (tmp_path / "copied").write_bytes((zones / "Berlin").read_bytes())
    assert system.time_zone(str(tmp_path / "copied")) == {**found, "name": ""}
    # A host without that file uses UTC.
    assert system.time_zone(str(tmp_path / "none")) == {"name": "UTC", "offsets": [0] * 25}


def test_python_versions(tmp_path):
    assert system.python_version(sys.executable, ME) == platform.python_version()
    assert system.python_version("/bin/true", ME) is None
    assert system.python_version(f"{tmp_path}/none", ME) is None


def test_a_python_is_run_by_the_bench_s_account_and_not_by_root(monkeypatch):
    """A python3.12 in /usr/local/bin may be a link to one in that account's home."""
    by = []

    def run_as(user, argv, *_args, **_options):
        by.append(user)
        return subprocess.CompletedProcess(argv, 0, "Python 3.12.9\n")

    monkeypatch.setattr(system, "run_as", run_as)
    assert system.python_version("/usr/local/bin/python3.12", "frappe") == "3.12.9"
    assert by == ["frappe"]
    assert code.reader("no-such-account") == "nobody"


def test_free_space_of_a_folder_that_will_be_made(tmp_path):
    found = system.free_bytes(f"{tmp_path}/a/b/c")
    assert found["on"] == str(tmp_path)
    assert found["free"] > 0
    assert found["device"] == str(tmp_path.stat().st_dev)


@pytest.mark.parametrize("asked", [[], ["frappe.*"]])
def test_jobs_are_searched_in_the_bench(tmp_path, monkeypatch, asked):
    bench = make_bench(tmp_path / "bench")
    (bench / "apps/frappe/frappe/tasks.py").write_text("def daily(): pass\n")
    (bench / "sites/common_site_config.json").write_text('{"workers": {"slow": {"timeout": 9}}}')
    result = {}

    class Module:
        def __init__(self, argument_spec, supports_check_mode):
            assert supports_check_mode
            assert argument_spec["jobs"]["elements"] == "str"
            defaults = {name: spec.get("default", "") for name, spec in argument_spec.items()}
            named = ("bench_home", "cli_dir", "config_dir", "lib_dir")
            paths = {name: f"{tmp_path}/{name}" for name in named}
            self.params = {**defaults, **paths}
            self.params["bench_dir"] = str(bench)
            if asked:
                self.params["jobs"] = asked

        def exit_json(self, changed, survey):
            assert not changed
            result.update(survey)

    monkeypatch.setattr(survey, "FleetModule", Module)
    survey.main()
    assert result["jobs"]["known"]
    assert result["jobs"]["queues"] == {"slow": {"timeout": 9}}
    assert result["jobs"]["matches"] == {pattern: ["frappe.tasks.daily"] for pattern in asked}
