"""The check modules of the hosts, on made-up folders and servers."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet.http import Answer
from fleet.processes import Process
from fleet.status import host as node_status
from fleet.verify import accounts, files, host, scheduler, sites
from fleet.verify.bench import BenchChecks
from fleet.verify.primary import Primary
from fleet.verify.reporting import Reporting

SITE = "erp.test"


def arguments(bench: Path, **others: Any) -> dict[str, Any]:
    about = {
        "host": "rep1",
        "lan_ip": "10.0.0.2",
        "primary_ip": "10.0.0.1",
        "bench": str(bench),
        "user_of_bench": "root",
        "sites": [SITE],
        "ports": {"mariadb": 3306, "redis_cache": 13000, "redis_queue": 11000, "web": 8000},
        "redis_password": "p",
        "web_workers": 0,
        "background_workers": 0,
        "custom_workers": False,
        "guarded": True,
        "routes": False,
        "service_ip": "",
        "package_dir": "/usr/local/lib/benchfleet/jobs",
        "certificates_dir": "/etc/benchfleet/tls",
        "settings": {},
    }
    calls = {"token": "abc", "router": {}, "user": "me", "passwords": {SITE: "p"}}
    return {"about": about, "calls": calls, "copy_seconds": 60, **others}


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "sites" / SITE / "public/files").mkdir(parents=True)
    (tmp_path / "sites/common_site_config.json").write_text('{"db_host": "10.0.0.1"}')
    (tmp_path / "sites" / SITE / "site_config.json").write_text('{"db_name": "_db"}')
    return tmp_path


@pytest.fixture
def reporting(bench: Path) -> Reporting:
    return Reporting(arguments(bench, put_at=time.time(), file_seconds=0, ca="/ca"))


@pytest.fixture
def primary(bench: Path) -> Primary:
    return Primary(arguments(bench, state_dir=str(bench / "state"), begun={}))


def only(checks: Any) -> dict[str, Any]:
    (result,) = checks.gathering.results
    return result


class Connection:
    """A connection whose one statement raises the error given, or none."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.said: list[str] = []

    def begin(self) -> None:
        self.said.append("BEGIN")

    def rollback(self) -> None:
        self.said.append("ROLLBACK")

    def cursor(self) -> Connection:
        return self

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def execute(self, statement: str, _: Any) -> None:
        self.said.append(statement.split()[0])
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "number"), [(pymysql.err.OperationalError(1290, "read-only"), 1290), (None, 0)]
)
def test_a_write_is_tried_and_never_stays(error: Exception | None, number: int):
    connection = Connection(error)
    assert sites.write_attempt(connection, "abc") == number
    assert connection.said == ["BEGIN", "INSERT", "ROLLBACK"]


def test_configuration_of_the_site_wins_over_the_common_one(reporting: Any, bench: Path):
    assert reporting.config(SITE) == {"db_host": "10.0.0.1", "db_name": "_db"}
    (bench / "sites" / SITE / "site_config.json").write_text('{"db_host": "10.0.0.9"}')
    assert reporting.config(SITE)["db_host"] == "10.0.0.9"
    with pytest.raises(AssertionError, match=r"sites/other\.test/site_config\.json"):
        reporting.config("other.test")


def test_a_file_that_arrives_is_timed(reporting: Any):
    reporting.file().write_text("abc\n")
    reporting.params["put_at"] = reporting.file().stat().st_ctime
    reporting.check_file_arrives()
    assert only(reporting)["ok"]
    assert only(reporting)["facts"] == {"seconds": 0, "whole": True}


@pytest.mark.parametrize(
    ("standby", "seconds", "good"),
    [(True, 4.0, True), (True, 6.0, False), (False, 6.0, True), (False, 71.0, False)],
)
def test_the_standby_has_a_file_at_once_and_other_nodes_with_the_next_copy(
    reporting: Any, standby: bool, seconds: float, good: bool
):
    reporting.params["routes"] = standby
    reporting.file().write_text("abc\n")
    reporting.params["put_at"] = reporting.file().stat().st_ctime - seconds
    reporting.check_file_arrives()
    assert only(reporting)["ok"] is good
    assert only(reporting)["facts"] == {"seconds": seconds, "whole": True}


def test_a_file_that_does_not_arrive_is_red(reporting: Any):
    reporting.check_file_arrives()
    assert not only(reporting)["ok"]
    assert only(reporting)["facts"] == {"seconds": None}


def test_a_file_that_was_never_put_there_is_not_waited_for(reporting: Any):
    reporting.params["put_at"] = None
    reporting.gathering.attempt("file_arrives", reporting.check_file_arrives)
    assert not only(reporting)["ok"]
    assert only(reporting)["facts"] == {"error": "AssertionError"}


@pytest.mark.parametrize(("age", "good"), [(10, True), (200, False), (None, False)])
def test_the_mark_of_the_last_copy_is_judged_by_its_age(
    reporting: Any, bench: Path, age: float | None, good: bool
):
    last = None if age is None else time.time() - age
    mark = {"last_success": last, "error": None if good else "no route"}
    (bench / "sites/.site-sync.json").write_text(json.dumps(mark))
    reporting.check_fresh()
    assert only(reporting)["ok"] is good
    assert only(reporting)["facts"]["error"] == mark["error"]
    assert good or "no route" in only(reporting)["saw"]


def test_a_copy_that_has_brought_the_file_is_waited_for(
    reporting: Any, bench: Path, monkeypatch: pytest.MonkeyPatch
):
    mark = bench / "sites/.site-sync.json"
    mark.write_text(json.dumps({"last_success": time.time() - 2500}))
    reporting.file().write_text("abc\n")
    ends = json.dumps({"last_success": time.time(), "error": None})
    monkeypatch.setattr(files.time, "sleep", lambda _: mark.write_text(ends))
    reporting.check_fresh()
    assert only(reporting)["ok"]


def test_a_file_stays_gone_only_if_the_copy_worked(reporting: Any):
    reporting.params["sync"] = "/bin/false"
    reporting.file().write_text("abc\n")
    reporting.check_file_goes()
    assert not only(reporting)["ok"]
    assert not reporting.file().exists()
    reporting.gathering.results.clear()
    reporting.params["sync"] = "/bin/true"
    reporting.check_file_goes()
    assert only(reporting)["ok"]


def test_what_verify_makes_is_remembered_until_it_is_gone(primary: Any, bench: Path):
    primary.put_file()
    path = bench / "sites" / SITE / "public/files/fleet-verify-abc.txt"
    assert path.read_text() == "abc\n"
    made = {SITE: {"file": path.name}}
    primary.remember(made)
    assert primary.remembered() == made
    primary.take_away(primary.remembered())
    primary.remember({})
    assert not path.exists()
    assert not (bench / "state").exists()


def test_what_an_interrupted_verify_left_is_cleared_later(primary: Any, bench: Path):
    left = bench / "sites" / SITE / "public/files/fleet-verify-old.txt"
    left.touch()
    (bench / "state").mkdir()
    state = bench / "state/old.json"
    state.write_text(json.dumps({SITE: {"file": left.name}}))
    primary.clear_abandoned()
    assert left.exists()
    os.utime(state, (0, 0))
    primary.clear_abandoned()
    assert not left.exists()
    assert not state.exists()


class Site:
    """A visitor of a site; it refuses to delete one DocType, and notes all calls."""

    site = SITE

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.asked: list[tuple[str, str, Any]] = []

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def user(self) -> str:
        return "checker@example.com"

    def call(self, method: str, path: str, values: Any = None) -> Answer:
        self.asked.append((method, path, values))
        if self.refused and method == "DELETE" and f"/{self.refused}/" in path:
            return Answer(403, {}, "not allowed")
        return Answer(200, {}, json.dumps({"data": {"name": "t1"}}))


class Server:
    """A local MariaDB with one row, and no logged run."""

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def signed_in(self, *_: str) -> Server:
        return self

    def value(self, *_: Any) -> int:
        return 1

    def rows(self, *_: Any) -> list[dict[str, Any]]:
        return []


def test_the_todo_of_verify_is_one_that_its_account_may_remove(primary: Any, monkeypatch: Any):
    monkeypatch.setattr(host, "local", Server)
    site, made = Site(), {SITE: {"job": "j1"}}
    assert primary.save(site, made) == ("", 1)
    assert site.asked[0][2]["assigned_by"] == "checker@example.com"
    assert made == {SITE: {"job": "j1"}}


def test_what_cannot_be_removed_keeps_no_job_running(primary: Any, monkeypatch: Any):
    monkeypatch.setattr(host, "local", Server)
    site = Site(refused="ToDo")
    monkeypatch.setattr(primary, "visitor", lambda _: site)
    with pytest.raises(AssertionError, match="ToDo t1"):
        primary.take_away({SITE: {"todo": "t1", "job": "j1"}})
    assert ("DELETE", "/api/resource/Scheduled Job Type/j1", None) in site.asked


def runs(*times: str, status: str = "Complete") -> list[dict[str, str]]:
    return [{"name": str(n), "at": at, "status": status} for n, at in enumerate(times)]


@pytest.mark.parametrize(
    ("found", "good", "facts"),
    [
        (
            runs("2026-01-01 10:00:00", "2026-01-01 10:01:00"),
            True,
            {"runs": 2, "in_one_minute": 1, "failed": 0},
        ),
        (
            runs("2026-01-01 10:00:00", "2026-01-01 10:00:01"),
            False,
            {"runs": 2, "in_one_minute": 2, "failed": 0},
        ),
        (
            runs("2026-01-01 10:00:00", status="Failed"),
            False,
            {"runs": 1, "in_one_minute": 1, "failed": 1},
        ),
        ([], False, {"runs": 0, "scheduler": False}),
    ],
)
def test_a_job_must_run_once_a_minute(
    primary: Any, monkeypatch: Any, found: Any, good: bool, facts: dict[str, Any]
):
    monkeypatch.setattr(scheduler, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(primary, "runs", lambda _: found)
    primary.check_job("job", None)
    assert only(primary)["ok"] is good
    assert only(primary)["facts"] == facts


@pytest.mark.parametrize(
    ("queue", "done", "good"), [("b:default", 2, True), ("b:default", 0, False), ("c:x", 2, False)]
)
def test_every_worker_must_serve_the_fleets_queue(
    primary: Any, bench: Path, monkeypatch: Any, queue: str, done: int, good: bool
):
    (bench / "sites/common_site_config.json").write_text('{"bench_id": "b"}')
    # The second worker has ended since then.
    primary.params["begun"] = {"done": {"w1": 5, "w2": 7}}
    known = [{"name": "w1", "host": "erp1", "queues": [queue], "done": 5 + done}]
    monkeypatch.setattr(primary, "workers_known", lambda: known)
    primary.check_queue()
    assert only(primary)["ok"] is good


def test_status_has_disk_memory_and_age_of_the_copy(bench: Path, monkeypatch: pytest.MonkeyPatch):
    assert node_status.disk(str(bench)).endswith("GiB")
    assert node_status.memory()["memory_free"].endswith("GiB")
    assert node_status.sync_age(str(bench)) is None
    (bench / "sites/.site-sync.json").write_text(json.dumps({"last_success": 1000}))
    monkeypatch.setattr(node_status.time, "time", lambda: 1005)
    assert node_status.sync_age(str(bench)) == 5


def test_answers_of_a_bench_come_from_the_environment_of_its_workers(
    reporting: Any, bench: Path, monkeypatch: Any
):
    (bench / "env/bin").mkdir(parents=True)
    (bench / "env/bin/python").symlink_to(sys.executable)
    (bench / "env/lib/python3.11/site-packages/babel-2.16.0.dist-info").mkdir(parents=True)
    reporting.params["user_of_bench"] = pwd.getpwuid(os.geteuid()).pw_name
    reporting.processes = []
    nothing_runs = BenchChecks.answers(reporting)
    # Its values may be secrets.
    assert set(nothing_runs.pop("config")) == {"db_host"}
    assert nothing_runs == {
        "packages": {"babel": "2.16.0"},
        "python": {},
        "fonts": [],
        "trouble": "",
    }
    environment = {**os.environ, "TZ": "XYZ-5:30"}
    with subprocess.Popen(["sleep", "60"], env=environment) as worker:
        words = ("rq:worker:1: Listening",)
        reporting.processes = [Process(worker.pid, 1, f"{bench}/sites", words)]
        found = BenchChecks.answers(reporting)
        worker.kill()
    assert found["trouble"] == ""
    assert found["python"]["time zone"] == "['2026-01-01 05:30', '2026-07-01 05:30']"
    # Where Python cannot be asked, the reason is reported, and the servers are asked nevertheless.
    monkeypatch.setattr(accounts, "site_connection", refused)
    monkeypatch.setattr(reporting, "frappe_major", lambda: 15)
    (bench / "env/bin/python").unlink()
    found = reporting.answers()
    assert found["servers"] == {}
    assert found["trouble"] == "No such file or directory (2); OSError: refused"


def refused(*_: Any) -> None:
    raise OSError("refused")
