"""Pure parts of the modules that write files and install packages."""

from __future__ import annotations

import json
import os
import pwd
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fleet import files, snapshot
from fleet import module as fleet
from fleet.nginx import files as nginx
from fleet.sites import making as site_making
from fleet.supervisor import bench_programs

from library import json_config, packages
from library.files import ENTRY_SPEC


def test_merging_keeps_other_keys_and_removes_the_named() -> None:
    assert json_config.merged({"a": 1, "b": 2}, {"b": 3, "c": 4}, ["a"]) == {"b": 3, "c": 4}


def test_entries_of_ours_come_and_go_among_somebody_elses() -> None:
    there = {"workers": {"own": {"timeout": 9}, "at-gone": {}}, "x": 1}
    ours = {"workers": "at-"}
    wanted = json_config.merged(there, {"workers": {"at-rep1": {}}}, [], ours)
    assert wanted == {"workers": {"own": {"timeout": 9}, "at-rep1": {}}, "x": 1}
    assert json_config.merged({"workers": {"at-gone": {}}}, {"workers": {}}, [], ours) == {}
    assert json_config.merged({}, {"workers": {}}, [], ours) == {}


def test_a_diff_shows_no_secret() -> None:
    text = json_config.shown(
        {
            "db_password": "hush1",
            "redis": "redis://:hush2@h",
            "own": "hush3",
            "mail_token": "hush4",
            "queue": "redis://h?password=hush5",
            "n": 1,
        },
        {"own": ""},
    )
    assert "hush" not in text
    assert '"n": 1' in text


def test_a_half_installed_package_counts_as_missing() -> None:
    output = (
        "git install ok installed\n"
        "nginx install ok half-configured\n"
        "cron deinstall ok config-files\n"
    )
    assert packages.installed(output) == {"git"}


def test_a_database_that_a_package_was_making_is_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mysql"
    monkeypatch.setattr(packages, "FILLED", {"mariadb-server": (str(folder), {"mysql"})})
    cut_off = {"mariadb-server": "install ok half-configured "}
    assert packages.unfinished(cut_off) == []
    (folder / "mysql").mkdir(parents=True)
    (folder / "ibdata1").touch()
    assert packages.unfinished(cut_off) == [str(folder)]
    assert packages.unfinished({"mariadb-server": "install ok installed 1:10.11"}) == []
    assert packages.unfinished({"mariadb-server": "install ok half-configured 1:10.11"}) == []
    (folder / "shop").mkdir()
    assert packages.unfinished(cut_off) == []


def test_a_site_has_one_database_name_for_ever() -> None:
    name = site_making.database_name("erp.example.com")
    assert name == site_making.database_name("erp.example.com")
    assert name.startswith("_")
    assert len(name) == 17
    assert name != site_making.database_name("crm.example.com")


def test_a_changed_file_or_text_changes_the_fingerprint(tmp_path) -> None:
    config = tmp_path / "c.json"
    empty = bench_programs.fingerprint([str(config), "commit a"])
    config.write_text("{}")
    assert bench_programs.fingerprint([str(config), "commit a"]) != empty
    full = bench_programs.fingerprint([str(config), "commit a"])
    assert bench_programs.fingerprint([str(config), "commit a"]) == full
    assert bench_programs.fingerprint([str(config), "commit b"]) != full


def test_a_bench_shows_what_runs(tmp_path) -> None:
    path, me = tmp_path / "supervisor.conf", pwd.getpwuid(os.getuid()).pw_name
    other = tmp_path / "other"
    other.write_text("kept")
    # The folder is the bench account's: a link there is replaced, not followed.
    path.symlink_to(other)
    bench_programs.show("[program:b-web]\n", str(path), me)
    assert (path.read_text(), path.is_symlink()) == ("[program:b-web]\n", False)
    assert other.read_text() == "kept"


def test_what_was_remembered_comes_back_and_rubbish_is_forgotten(tmp_path) -> None:
    path = str(tmp_path / "started.json")
    assert bench_programs.remembered(path) == {}
    bench_programs.remember(path, {"b-web": "1"})
    assert bench_programs.remembered(path) == {"b-web": "1"}
    (tmp_path / "started.json").write_text("{torn")
    assert bench_programs.remembered(path) == {}


def test_users_do_not_wait_for_workers_at_a_job() -> None:
    groups = ["b-long-worker", "b-web", "b-schedule", "b-redis"]
    found = bench_programs.restart_order(groups, {"b-web": "127.0.0.1:8000"})
    assert found == ["b-redis", "b-web", "b-schedule", "b-long-worker"]


class Supervisor(bench_programs.BenchPrograms):
    """A supervisor whose group is in the states that are told, one after the other."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)

    def programs(self) -> dict[str, str]:
        state = self.states.pop(0)
        return {"b-redis:b-redis": "RUNNING"} | ({"b-web:b-web": state} if state else {})


def test_programs_that_users_wait_for_are_waited_for_while_there_is_hope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_programs.time, "sleep", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        Supervisor().await_answer("b-web", f"127.0.0.1:{port}")
    free = f"127.0.0.1:{port}"
    for states in (["STARTING", "BACKOFF", "FATAL"], ["RUNNING", ""]):
        supervisor = Supervisor(*states)
        supervisor.await_answer("b-web", free)
        assert not supervisor.states


def test_what_leaves_makes_room_and_workers_at_a_job_are_waited_for_last() -> None:
    lines = [
        "b-short-worker: available",
        "b-long-worker: changed",
        "b-web: changed",
        "b-workers: disappeared",
        "b-report-web: disappeared",
        "b-redis: changed",
        "b-socketio: available",
    ]
    found = bench_programs.update_order(lines)
    users, work = ["b-web", "b-socketio"], ["b-short-worker", "b-long-worker", "b-workers"]
    assert found == ["b-report-web", "b-redis", *users, *work]


class FailedError(Exception):
    """The module failed."""


def set_keys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the module json_config on a file."""
    params = {"path": str(path), "values": {"a": 1}, "secrets": {}, "absent": [], "ours": {}}
    params |= {"owner": pwd.getpwuid(os.getuid()).pw_name, "mode": "0640"}

    def fail(msg: str) -> None:
        raise FailedError(msg)

    module = SimpleNamespace(params=params, check_mode=False, exit_json=lambda **_: None)
    module.fail_json = fail
    monkeypatch.setattr(json_config, "FleetModule", lambda **_: module)
    json_config.main()


def test_a_configuration_that_is_as_it_should_be_is_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "common_site_config.json"
    for before, after in ((0o644, 0o640), (0o600, 0o600)):
        path.write_text('{"a": 1}')
        path.chmod(before)
        set_keys(path, monkeypatch)
        assert path.stat().st_mode & 0o777 == after


def no_command(words: list[str]) -> tuple[int, str, str]:
    """Runs nothing."""
    raise AssertionError(words)


ENTRY: dict[str, Any] = {"owner": None, "group": None, "mode": "0644", "validate": None}
RECORD = {"kind": "file", "owner": str(os.getuid()), "group": str(os.getgid()), "mode": "0644"}


@pytest.mark.parametrize("writer", ["nginx", "json_config", "files", "snapshot"])
def test_a_name_that_became_a_link_opens_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """Who may write in the folder puts a link in the place of the new file before it has a mode."""
    precious = tmp_path / "shadow"
    precious.write_text("precious")
    precious.chmod(0o600)
    folder = tmp_path / "folder"
    folder.mkdir()

    make = tempfile.NamedTemporaryFile

    def swapped(**words: Any) -> Any:
        made = make(**words)
        os.unlink(made.name)
        os.symlink(precious, made.name)
        return made

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", swapped)
    path = folder / "new"
    if writer == "nginx":
        nginx.write(path, b"x")
    elif writer == "json_config":
        set_keys(path, monkeypatch)
    elif writer == "files":
        files.write_file(no_command, {**ENTRY, "path": str(path)}, b"x", -1, -1)
    else:
        snapshot.write(str(path), b"x", {**RECORD, "acl": ""})
    assert precious.stat().st_mode & 0o777 == 0o600


def test_no_file_of_roots_is_given_away_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys that are there are written into a file of the bench's account."""
    (tmp_path / "own.json").write_text('{"token": "precious"}')
    path = tmp_path / "common_site_config.json"
    path.symlink_to("own.json")
    with pytest.raises(FailedError, match=f"^{path} "):
        set_keys(path, monkeypatch)
    assert path.is_symlink()
    path.unlink()
    path.write_text('{"b": 2}')
    set_keys(path, monkeypatch)
    assert json.loads(path.read_text()) == {"a": 1, "b": 2}


def test_a_replaced_file_keeps_what_nobody_names(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("old")
    path.chmod(0o600)
    files.write_file(no_command, {**ENTRY, "path": str(path), "mode": None}, b"n", -1, -1)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("n", 0o600)
    files.write_file(no_command, {**ENTRY, "path": str(path)}, b"m", -1, -1)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("m", 0o644)


def test_the_diff_of_supervisors_file_shows_no_variable(tmp_path: Path) -> None:
    role = Path(__file__).parents[2] / "roles/bench_processes/tasks/main.yml"
    tasks = yaml.safe_load(role.read_text(encoding="utf-8"))
    task = next(task for task in tasks if "files" in task)
    entries = task["vars"]["__bench_processes_files"]
    hides = next(entry["hides"] for entry in entries if "hides" in entry)
    path = tmp_path / "b.conf"
    path.write_text('[program:b]\nEnvironment = A="hush1",\n  B="hush2"\nuser=frappe\n')
    entry = dict.fromkeys(ENTRY_SPEC) | {"path": str(path), "hides": hides}
    entry["content"] = '[program:b]\nenvironment=A="hush3"\nuser=root\n'
    changed, diff = files.bring_file(no_command, True, entry, -1, -1)
    assert changed
    assert "hush" not in str(diff)
    assert "user=frappe" in diff["before"]
    assert "user=root" in diff["after"]


def test_a_module_calls_programs_in_no_folder_of_an_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fleet.AnsibleModule, "__init__", lambda _self, **_options: None)
    before = os.umask(0o077)
    try:
        fleet.FleetModule(argument_spec={})
        assert (os.getcwd(), os.umask(0o077)) == ("/", 0o022)
    finally:
        os.umask(before)
