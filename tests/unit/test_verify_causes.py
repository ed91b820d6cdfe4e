"""One cause, one failed check: what checks need, how long they take, and remedies that destroy."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet.mariadb import remedies
from fleet.mariadb import server as mariadb
from fleet.status import troubles
from fleet.verify import basics
from fleet.verify.basics import BasicChecks
from fleet.verify.catalogue import CATALOGUE, REPORTING, TITLES
from fleet.verify.results import Gathering, complete, counted, limited, result

from tests.mariadb import MariaDB, needs_mariadb

HOSTS = {
    "erp1": {"role": "primary"},
    "rep1": {"role": "reporting"},
    "rep2": {"role": "reporting"},
}
# Words of commands and advice that remove data.
DESTROYS = re.compile(
    r"reseed|seed it again|TRUNCATE|DROP |remove_node|uninstall|rm -|move the|RESET ", re.I
)


# The graph of needs


def targets(name: str) -> list[tuple[str, str]]:
    """What a check needs or follows: (where, id), where being "", "primary" or "nodes"."""
    check = CATALOGUE[name]
    return [(need.rpartition(":")[0], need.rpartition(":")[2]) for need in check.needs] + [
        (need.rpartition(":")[0], need.rpartition(":")[2]) for need in check.follows
    ]


def test_each_need_is_a_check_of_some_host():
    for name in CATALOGUE:
        for where, wanted in targets(name):
            assert wanted in CATALOGUE, name
            roles = CATALOGUE[wanted].hosts
            assert where in ("", "primary", "nodes")
            assert where != "primary" or "primary" in roles, (name, wanted)
        assert not any(need.startswith("nodes:") for need in CATALOGUE[name].needs)
    assert {check.row for check in CATALOGUE.values()} <= set(TITLES)


def test_needs_have_no_cycle():
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, path
        if name not in done:
            for _, wanted in targets(name):
                walk(wanted, (*path, name))
            done.add(name)

    for name in CATALOGUE:
        walk(name, ())


# Causes


def all_ok() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (name, host): result(name, host, True, "fine")
        for name, check in CATALOGUE.items()
        for host, about in HOSTS.items()
        if about["role"] in check.hosts
    }


def verdict(*red: tuple[str, str], proved: bool = False, **unasked: str) -> dict[str, Any]:
    """The checks by place, of a fleet where these are red."""
    made = all_ok()
    for name, host in red:
        made[name, host] = result(name, host, False, "bad", proved=proved)
    there = [entry for place, entry in made.items() if place[1] not in unasked]
    return {(e["id"], e["host"]): e for e in complete(there, HOSTS, unasked)}


def failed(checks: dict[str, Any]) -> set[tuple[str, str]]:
    return {place for place, entry in checks.items() if entry["state"] == "failed"}


@pytest.mark.parametrize(
    ("red", "causes"),
    [
        # The primary has no connection left: its nodes cannot sign in there.
        (
            [
                ("connections", "erp1"),
                ("bench_answers", "erp1"),
                ("errant", "rep1"),
                ("save", "erp1"),
                ("bench_answers", "rep2"),
                ("own_writes", "rep2"),
            ],
            [("connections", "erp1")],
        ),
        # A disk is full, and its server hangs.
        (
            [
                ("disk_room", "rep1"),
                ("database_answers", "rep1"),
                ("threads", "rep1"),
                ("heartbeat", "rep1"),
                ("settings", "rep1"),
                ("queue_safe", "erp1"),
            ],
            [("disk_room", "rep1"), ("queue_safe", "erp1")],
        ),
        # MariaDB of the primary is down.
        (
            [
                ("database_answers", "erp1"),
                ("primary_reached", "rep1"),
                ("threads", "rep1"),
                ("heartbeat", "rep2"),
                ("workers", "rep1"),
            ],
            [("database_answers", "erp1")],
        ),
        # Two faults have two causes.
        (
            [("workers", "erp1"), ("job_once", "erp1"), ("commits", "rep1")],
            [("workers", "erp1"), ("commits", "rep1")],
        ),
        # A second scheduler.
        (
            [("no_scheduler", "rep2"), ("one_scheduler", "erp1"), ("job_once", "erp1")],
            [("no_scheduler", "rep2")],
        ),
    ],
)
def test_one_cause_fails_one_check(red: list[tuple[str, str]], causes: list[tuple[str, str]]):
    checks = verdict(*red)
    assert failed(checks) == set(causes)
    for place in set(red) - set(causes):
        entry = checks[place]
        assert (entry["state"], entry["ok"], entry["asked"]) == ("unknown", False, False)
        assert entry["remedy"] == ""
        name, _, host = entry["because"].partition(" on ")
        assert (name, host) in causes


def test_a_cause_that_was_proved_stays_red():
    red = [("database_answers", "erp1"), ("threads", "rep1")]
    assert failed(verdict(*red, proved=True)) == set(red)


def test_a_host_that_was_not_asked_is_unknown_and_fails_nothing():
    checks = verdict(erp1="sudo asks for a password", rep1="no route", rep2="no route")
    assert failed(checks) == set()
    assert counted(checks.values())["unknown"] == len(checks)
    # What the other hosts found out themselves stays.
    checks = verdict(("primary_reached", "rep1"), ("row", "rep1"), erp1="no route")
    assert failed(checks) == {("primary_reached", "rep1")}


def test_a_check_is_not_asked_when_one_that_it_needs_is_red():
    gathering = Gathering("rep1", primary=[result("connections", "erp1", False, "9 of 9")])
    asked: list[str] = []
    gathering.add("database_answers", True, "10.11")
    gathering.attempt("read_only", lambda: asked.append("read_only"))
    gathering.attempt("tls", lambda: asked.append("tls"))
    # The primary's need, and an unknown one in turn.
    gathering.add("threads", True, "Yes")
    gathering.attempt("row", lambda: asked.append("row"))
    assert asked == ["read_only"]
    by_id = {entry["id"]: entry for entry in gathering.results}
    assert (by_id["row"]["state"], by_id["row"]["because"]) == ("unknown", "primary:connections")
    later = Gathering("rep1", earlier=[result("disk_room", "rep1", False, "full")])
    later.attempt("file_goes", lambda: asked.append("file_goes"))
    assert asked == ["read_only"]


def test_a_question_ends_at_its_limit():
    gathering = Gathering("rep1")
    gathering.attempt("keys", lambda: time.sleep(30), 0.1)
    assert gathering.results[0]["facts"] == {"error": "TimeoutError"}
    with limited(30):
        pass


@pytest.mark.parametrize(("used", "ok"), [(0.949, True), (0.95, False), (1.0, False)])
def test_a_full_file_system_is_red_and_named(
    monkeypatch: pytest.MonkeyPatch, used: float, ok: bool
):
    one = {"path": "/var/lib/mysql", "holds": ["the databases"], "used": used, "free": 0}
    checks: Any = object.__new__(BasicChecks)
    checks.gathering = Gathering("rep1")
    monkeypatch.setattr(basics, "file_systems", lambda _: [one])
    monkeypatch.setattr(checks, "places", list, raising=False)
    checks.check_disk_room()
    assert checks.gathering.results[0]["ok"] is ok
    assert checks.gathering.results[0]["facts"] == {"full": [] if ok else ["/var/lib/mysql"]}


# Remedies that destroy


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_remedy_that_destroys_needs_proof(name: str):
    check = CATALOGUE[name]
    assert not DESTROYS.search(check.remedy)
    host = "rep1" if check.hosts == REPORTING else "erp1"
    assert not DESTROYS.search(result(name, host, False, "bad")["remedy"])
    if check.cure:
        assert result(name, host, False, "bad", proved=True)["remedy"] == check.cure
        gathering = Gathering(host)
        gathering.attempt(name, lambda: 1 // 0)
        assert gathering.results[0]["remedy"] == check.remedy


def test_remedies_of_status_and_of_unknown_errors_destroy_nothing():
    for text in troubles.OF_STATUS.values():
        assert not DESTROYS.search(text)
    for number in (1, 1040, 1045, 1205, 2003, 2013, 2026, 9999):
        assert not DESTROYS.search(remedies.remedy(number, []))
    # Errors at a transaction that differs from the data here prove that the data differs.
    destroying = {n for n in remedies.REMEDIES if DESTROYS.search(remedies.remedy(n, []))}
    assert destroying == {1032, 1062, 1146, 1236, 1950}


@pytest.mark.parametrize(
    ("gtids", "own"), [(["0-12-7"], True), (["0-11-7"], False), (["0-12-7", "0-11-9"], False)]
)
def test_only_what_a_replica_wrote_itself_is_its_own(gtids: list[str], own: bool):
    assert mariadb.all_of(gtids, 12) is own
    assert not mariadb.all_of([], 12)


# A server without free connections

MOST = 10  # The least that MariaDB allows.


@pytest.fixture(scope="module")
def busy(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a server all of whose connections are held."""
    server = MariaDB(installed, tmp_path_factory.mktemp("busy"))
    path = server.socket
    with server.running("--no-defaults", "--skip-networking", f"--max-connections={MOST}"):
        with mariadb.local(path) as root:
            root.run("CREATE USER app@localhost IDENTIFIED BY 'x'")
        about: dict[str, Any] = {"unix_socket": path, "user": "app", "password": "x"}
        held = [mariadb.connect(60, **about) for _ in range(MOST)]
        with pytest.raises(mariadb.pymysql.MySQLError) as refused:
            mariadb.connect(60, **about)
        assert refused.value.args[0] == mariadb.TOO_MANY
        yield path
        for connection in held:
            connection.close()


@needs_mariadb
def test_status_verify_and_the_timer_get_in_together_without_free_connections(busy: str):
    found: list[str] = []

    def ask() -> None:
        with mariadb.local(busy) as server:
            found.append(str(server.value("SELECT CURRENT_USER()")))
            time.sleep(0.3)

    programs = [threading.Thread(target=ask) for _ in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(20)
    assert found == ["root@localhost"] * 3


@needs_mariadb
def test_who_holds_the_connections_is_named(busy: str, monkeypatch: pytest.MonkeyPatch):
    checks: Any = object.__new__(BasicChecks)
    checks.gathering = Gathering("erp1")
    monkeypatch.setattr(basics, "local", lambda seconds: mariadb.local(busy, seconds=seconds))
    checks.check_connections()
    [entry] = checks.gathering.results
    assert not entry["ok"]
    assert entry["facts"] == {"used": MOST, "most": MOST, "accounts": {"app": MOST}}


def test_a_server_that_hangs_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # It accepts connections and is silent, as one that was stopped by SIGSTOP.
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        path = str(tmp_path / "socket")
        checks: Any = object.__new__(BasicChecks)
        checks.gathering = Gathering("rep1")
        monkeypatch.setattr(mariadb, "BINARY", "/bin/sh")
        monkeypatch.setattr(basics, "local", lambda seconds: mariadb.local(path, seconds=1))
        checks.basics("database_answers")
    assert not checks.gathering.results[0]["ok"]
