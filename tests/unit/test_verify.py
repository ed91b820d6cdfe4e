"""Verify's verdicts on made-up hosts, processes and answers."""

from __future__ import annotations

import inspect
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet import processes, record, sockets, units
from fleet.http import Answer, Visitor
from fleet.processes import Process
from fleet.redis import client as redis_client
from fleet.status.fleet import row
from fleet.verify import answers, catalogue, files, sites, system
from fleet.verify import fleet as judge
from fleet.verify import redis as verify_redis
from fleet.verify.probes import environment as environment_probe
from fleet.verify.probes import python_answers
from fleet.verify.results import Gathering, closing, complete, red_table, result
from fleet.verify.scheduler import busiest_minute

BENCH = "/home/frappe/frappe-bench"
SITES = f"{BENCH}/sites"


def process(pid: int, parent: int, *words: str, folder: str = SITES) -> Process:
    return Process(pid, parent, folder, words)


SCHEDULE = ("env/bin/python", "-m", "frappe.utils.bench_helper", "frappe", "schedule")
WORKER = ("rq:worker:1234: Listening on home-frappe-frappe-bench:short",)
GUNICORN = ("env/bin/gunicorn", "-w", "2", "frappe.app:application", "--preload")


def test_processes_of_this_host_are_read():
    found = {p.pid: p for p in processes.processes()}
    assert found[os.getpid()].parent == os.getppid()


def test_processes_belong_to_a_bench_by_folder_or_by_name():
    found = [
        process(1, 0, "bash"),
        process(2, 0, "bash", folder="/home/frappe/frappe-bench-2"),
        process(3, 0, f"{BENCH}/env/bin/python", folder="/"),
    ]
    assert [p.pid for p in processes.of_bench(found, BENCH)] == [1, 3]


def test_schedulers_are_counted_in_every_form():
    found = [
        process(1, 0, *SCHEDULE),
        process(2, 0, "/usr/bin/python3", "/opt/bench-cli/bin/bench", "schedule"),
        process(3, 0, "env/bin/python", "-m", "frappe.utils.bench_helper", "frappe", "worker-pool"),
        process(4, 0, "grep", "schedule"),
        process(5, 0, *WORKER),
    ]
    assert [p.pid for p in processes.schedulers(found)] == [1, 2, 3]


def test_workers_are_counted_without_the_jobs_they_run():
    found = [
        process(1, 0, *WORKER),
        process(2, 1, "rq:worker:1234: Processing default since 1700000000"),
        process(3, 0, "env/bin/python", "-m", "frappe.utils.bench_helper", "frappe", "worker"),
        process(4, 0, *SCHEDULE),
    ]
    assert [p.pid for p in processes.background_workers(found)] == [1, 3]


@pytest.mark.parametrize(
    ("master", "worker"),
    [
        (GUNICORN, GUNICORN),
        (
            ("gunicorn: master [benchfleet_guard.wsgi:application]",),
            ("gunicorn: worker [benchfleet_guard.wsgi:application]",),
        ),
        (
            ("gunicorn: master [frappe.app:application]",),
            ("gunicorn: worker [frappe.app:application]",),
        ),
    ],
)
def test_web_workers_are_counted_without_their_master(master: Any, worker: Any):
    found = [process(1, 0, *master), process(2, 1, *worker), process(3, 1, *worker)]
    assert [p.pid for p in processes.web_workers(found)] == [2, 3]


def test_kernel_addresses_of_both_families_are_read():
    assert sockets.kernel_address("0B06D20A") == "10.210.6.11"
    assert sockets.kernel_address("0" * 32) == "::"
    assert sockets.kernel_address("0000000000000000FFFF00000B06D20A") == "::ffff:10.210.6.11"


def test_only_listeners_are_returned():
    head, tail = "  sl  local_address rem_address   st\n", "0:0 00:0 0 116 0"
    tables = [
        f"{head}   0: 0B06D20A:2AF8 00000000:0000 0A {tail} 71\n"
        f"   1: 0B06D20A:2AF8 0C06D20A:9999 01 {tail} 72\n",
        f"{head}   0: {'0' * 32}:32C8 {'0' * 32}:0000 0A {tail} 73\n",
    ]
    assert sockets.listening([11000, 13000, 3306], tables) == {
        "71": {"port": 11000, "address": "10.210.6.11"},
        "73": {"port": 13000, "address": "::"},
    }


@pytest.mark.parametrize(
    ("addresses", "good"),
    [
        (["127.0.0.1", "::ffff:10.0.0.1"], True),
        (["127.0.0.1"], False),
        (["0.0.0.0", "10.0.0.1"], False),
    ],
)
def test_redis_listens_on_loopback_and_the_lan_only(
    monkeypatch: Any, addresses: list[str], good: bool
):
    checks: Any = object.__new__(verify_redis.RedisChecks)
    checks.ports = {"redis_cache": 1, "redis_queue": 2}
    checks.params = {"lan_ip": "10.0.0.1", "queue": "/queue.conf"}
    checks.gathering = Gathering("erp1")
    places = [(port, address) for port in (1, 2) for address in addresses]
    found = {str(n): {"port": p, "address": a} for n, (p, a) in enumerate(places)}
    monkeypatch.setattr(verify_redis, "listening", lambda _: found)
    checks.check_redis_addresses()
    assert checks.gathering.results[0]["ok"] is good
    # A node that is no standby has none.
    checks.params["queue"] = None
    checks.check_redis_addresses()
    assert not checks.gathering.results[1]["applicable"]


def serve(answers: list[bytes]) -> int:
    """A server for one connection that gives these answers, one for each read; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        with listener, listener.accept()[0] as connection:
            for answer in answers:
                connection.recv(65536)
                connection.sendall(answer)

    threading.Thread(target=work, daemon=True).start()
    return listener.getsockname()[1]


def test_redis_answers_of_each_kind_are_read():
    port = serve([b"+OK\r\n", b"*3\r\n$2\r\nab\r\n$-1\r\n:7\r\n", b"-NOAUTH Authentication\r\n"])
    with redis_client.Redis("127.0.0.1", port, "secret") as redis:
        assert redis.ask("HMGET", "x", "a", "b", "c") == ["ab", None, 7]
        with pytest.raises(redis_client.RedisError, match="NOAUTH"):
            redis.ask("PING")


def test_a_redis_that_hangs_up_is_an_error():
    port = serve([b""])
    with (
        redis_client.Redis("127.0.0.1", port) as redis,
        pytest.raises(redis_client.RedisError),
    ):
        redis.ask("PING")


def test_a_closed_port_refuses_and_an_open_one_does_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert judge.refuses("127.0.0.1", port) == ""
    assert judge.refuses("127.0.0.1", port) == "refused"


def test_sign_in_needs_a_session_and_keeps_its_cookie():
    body = b'{"message": "Logged In"}'
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=%s; Path=/\r\nContent-Length: %d\r\n\r\n"
    visitor = Visitor("127.0.0.1", serve([head % (b"abc", len(body)) + body]), "erp.test")
    assert visitor.sign_in("me", "word") == "abc"
    assert visitor.at("127.0.0.2", 1).cookies == {"sid": "abc"}
    guest = Visitor("127.0.0.1", serve([head % (b"Guest", len(body)) + body]), "erp.test")
    with pytest.raises(AssertionError, match="HTTP 200"):
        guest.sign_in("me", "word")


def test_an_answer_is_summarised():
    assert Answer(500, {}, '{"exception": "Boom\\n  twice"}').said() == "HTTP 500: Boom twice"
    assert Answer(502, {}, "<html>").body == {}
    assert Answer(200, {}, '{"data": [{"name": "x"}, {}]}').rows == [{"name": "x"}]
    assert Answer(202, {}, '{"data": "ok"}').rows == []


# Keys of a reporting bench, by Frappe's version

SITE = {
    "db_name": "_db",
    "db_password": "p",
    "db_host": "10.0.0.1",
    "read_from_replica": 1,
    "replica_host": "10.0.0.2",
    "different_credentials_for_replica": 1,
    "replica_db_password": "q",
}


@pytest.mark.parametrize(("major", "key"), [(15, "replica_db_name"), (16, "replica_db_user")])
def test_the_reading_account_has_its_key_in_each_version(major: int, key: str):
    config = {**SITE, key: "_db_ro"}
    assert sites.key_problems(config, major, "10.0.0.1", "10.0.0.2", 3306) == []
    assert sites.reading_account(config, major) == ("_db_ro", "q")
    other = {15: 16, 16: 15}[major]
    assert sites.key_problems(config, other, "10.0.0.1", "10.0.0.2", 3306)


def test_frappe_14_reads_as_the_site_itself():
    config = {**SITE, "different_credentials_for_replica": 0}
    assert sites.key_problems(config, 14, "10.0.0.1", "10.0.0.2", 3306) == []
    assert sites.reading_account(config, 14) == ("_db", "p")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"read_from_replica": 0}, "read_from_replica"),
        ({"replica_host": "10.0.0.1"}, "replica_host"),
        ({"db_host": "127.0.0.1"}, "db_host"),
        ({"replica_db_port": 3307}, "replica_db_port"),
        ({"replica_db_user": "_db"}, "replica_db_user"),
        ({"replica_db_password": ""}, "replica_db_password"),
        ({"different_credentials_for_replica": 0}, "different_credentials_for_replica"),
    ],
)
def test_each_wrong_key_is_named(change: dict[str, Any], key: str):
    config = {**SITE, "replica_db_user": "_db_ro", **change}
    problems = sites.key_problems(config, 16, "10.0.0.1", "10.0.0.2", 3306)
    assert len(problems) == 1
    assert problems[0].split()[0] == key


def unit(name: str, **changes: str) -> str:
    values = {"Id": name, "LoadState": "loaded", "Restart": "on-failure", "KillMode": "mixed"}
    return "\n".join(f"{key}={value}" for key, value in {**values, **changes}.items())


def test_services_that_come_back_once_are_fine():
    texts = [unit("mariadb.service", Restart="on-abnormal"), unit("supervisor.service")]
    texts.append(unit("cron.service", LoadState="not-found", Restart="no"))
    assert units.restart_problems("\n\n".join(texts) + "\n") == []


def test_a_service_that_stays_down_or_runs_twice_is_reported():
    texts = [unit("nginx.service", Restart="no"), unit("ssh.service", KillMode="process")]
    texts.append(unit("supervisor.service", KillMode="process"))
    found = units.restart_problems("\n\n".join(texts))
    assert [(problem["unit"], problem["setting"]) for problem in found] == [
        ("nginx.service", "Restart=no"),
        ("supervisor.service", "KillMode=process"),
    ]


def own_unit(name: str, **facts: str) -> str:
    """The facts of a unit that works, changed by these."""
    usual = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}
    usual |= {"Result": "success", "InactiveExitTimestampMonotonic": "1000000"}
    return "".join(f"{key}={value}\n" for key, value in {"Id": name, **usual, **facts}.items())


SITES = "benchfleet-sites.service"


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({}, []),
        # Between two runs of its timer, and during one.
        ({"ActiveState": "inactive", "UnitFileState": "static"}, []),
        ({"ActiveState": "activating", "UnitFileState": "static"}, []),
        ({"ActiveState": "inactive"}, ["inactive"]),
        ({"ActiveState": "failed", "Result": "timeout"}, ["failed", "timeout"]),
        (
            {"ActiveState": "activating", "InactiveExitTimestampMonotonic": "0"},
            ["301"],
        ),
    ],
)
def test_a_unit_that_failed_or_hangs_is_reported(facts: dict[str, str], shown: list[str]):
    timer = "benchfleet-sites.timer"
    text = "\n".join([own_unit(timer), own_unit(SITES, **facts)])
    found = units.unit_problems(text, [timer], 301)
    assert list(found) == [SITES] * bool(shown)
    assert [value for value in shown if value not in found[SITES]] == []
    stopped = "\n".join(
        [own_unit(timer, ActiveState="inactive", UnitFileState="disabled"), own_unit(SITES)]
    )
    assert list(units.unit_problems(stopped, [timer], 2)) == [timer]
    gone = "\n".join([own_unit(timer, LoadState="not-found"), own_unit(SITES)])
    assert list(units.unit_problems(gone, [timer], 2)) == [timer]


def test_the_busiest_minute_is_found():
    times = ["2026-01-01 10:00:00.1", "2026-01-01 10:01:00", "2026-01-01 10:01:00.2"]
    assert busiest_minute(times) == ("2026-01-01 10:01", 2)
    assert busiest_minute([]) == ("", 0)


def test_settings_are_compared_with_the_servers_rounding():
    assert judge.same_size(1000, "1024")
    assert not judge.same_size(1000, "2000")
    assert judge.same_size("conservative", "CONSERVATIVE")
    assert not judge.same_size(24, None)
    assert judge.same_size(False, "OFF")
    assert not judge.same_size(False, "ON")
    assert judge.same_size(True, "ON")


# Results

HOSTS = {"erp1": {"role": "primary"}, "rep1": {"role": "reporting", "trouble": "unreachable"}}


def test_a_check_that_was_not_made_is_unknown_and_says_why():
    made = [result("save", "erp1", True, "fine")]
    results = complete(made, HOSTS, {})
    assert [entry["id"] for entry in results if entry["asked"]] == ["save"]
    assert {entry["state"] for entry in results} == {"ok", "unknown"}
    by_place = {(entry["id"], entry["host"]): entry for entry in results}
    assert by_place["save", "erp1"]["ok"]
    assert by_place["row", "rep1"]["facts"] == {"trouble": "unreachable"}
    assert ("row", "erp1") not in by_place
    rows = [int(entry["row"][1:]) for entry in results]
    assert rows == sorted(rows)
    assert {f"S{row}" for row in rows} == {f"S{n}" for n in [*range(15), 16, 17]}


def test_checks_of_a_host_that_could_not_be_asked_are_red_and_marked():
    made = [
        result("save", "erp1", True, "fine"),
        result("workers", "erp1", False, "web 0"),
        result("commits", "rep1", False, "no data", compared=False),
        result("outside", "rep1", False, "10.0.0.2 lets 10.0.0.9 connect to 3306"),
    ]
    results = complete(made, HOSTS, {"rep1": "sudo asks for a password"})
    by_place = {(entry["id"], entry["host"]): entry for entry in results}
    assert by_place["row", "rep1"]["facts"] == {"trouble": "sudo asks for a password"}
    assert not by_place["row", "rep1"]["ok"]
    asked = {place for place, entry in by_place.items() if entry["asked"] and not entry["ok"]}
    # The ports, which the controller tried, and the other host's checks keep their remedies.
    assert ("outside", "rep1") in asked
    assert ("workers", "erp1") in asked
    assert {host for _, host in asked - {("outside", "rep1")}} == {"erp1"}


def test_every_check_says_what_it_wants_and_what_to_do():
    for check in catalogue.CATALOGUE.values():
        assert check.wanted
        assert check.remedy
        assert set(check.hosts) <= set(catalogue.EVERY)


def test_the_table_shows_the_red_ones_alone():
    results = [
        result("row", "rep1", True, "there after 5 ms"),
        result("threads", "rep1", False, "IO Yes, SQL No"),
    ]
    table = red_table(results)
    assert "IO Yes, SQL No" in table
    assert "5 ms" not in table
    assert f"remedy: {catalogue.CATALOGUE['threads'].remedy}" in table
    assert "id:     threads" in table


def test_a_check_that_is_not_applicable_is_counted_apart():
    gathering = Gathering("rep1")
    gathering.add("row", True, "there after 5 ms")
    alone = closing(gathering.results)
    gathering.skip("pdf", "not applicable: a demo")
    assert gathering.results[1]["ok"]
    assert red_table(gathering.results) == ""
    # One of the two was made; the other is counted as not applicable.
    assert re.findall(r"\d+", alone) == ["1"]
    assert re.findall(r"\d+", closing(gathering.results)) == ["1", "1"]


def test_a_check_that_raises_an_error_is_red_and_the_next_is_made():
    gathering = Gathering("rep1")

    def half() -> None:
        gathering.add("threads", True, "fine")
        raise OSError(111, "Connection refused")

    gathering.attempt(("threads", "heartbeat"), half)
    gathering.attempt("row", lambda: gathering.add("row", True, "fine"))
    found = {entry["id"]: (entry["ok"], entry["saw"]) for entry in gathering.results}
    assert found == {
        "threads": (True, "fine"),
        "heartbeat": (False, "Connection refused (111)"),
        "row": (True, "fine"),
    }


# Comparisons

APP = {"commit": "a" * 40, "changes": ""}


DESK = "assets.json desk.bundle.js /assets/frappe/dist/js/desk.bundle.AA.js"
PLACED = {"at-rep1": ["rep1"]}
ANSWERS = {
    "servers": {"here": {"old_mode": "1 utf8mb3"}, "primary": {"old_mode": "1 utf8mb3"}},
    "python": {"locale": "March .", "wkhtmltopdf": "0.12.6"},
    "fonts": ["DejaVu Sans"],
    "config": {"lang": "1f2e", "db_host": "3c4d", "replica_host": "5a6b"},
    "packages": {"babel": "2.16.0"},
    "trouble": "",
}


RECORD = {"fleet_id": "f1", "epoch": 7, "primary": "erp1", "hosts": {}, "open": False}


# The facts of a node that answers as the primary does.
ALIKE: dict[str, Any] = {"unanswered": [], "answers": [], "fonts": [], "keys": []}


def fleet(**reporting: Any) -> dict[str, dict[str, Any]]:
    """A primary and a reporting node without differences, but for what is given."""
    seen = {
        "apps": {"frappe": APP},
        "assets": {DESK: "1f2e"},
        "answers": ANSWERS,
        "bench_id": "b",
        "queue": "10.0.0.1:11000",
        "schedulers": [],
        "settings": {"sort_buffer_size": "4194304"},
        "record": RECORD,
    }
    tried = {"job": "a.*", "queue": "at-rep1", "landed": "at-rep1", "status": "finished"}
    primary = {
        **seen,
        "tried": [{**tried, "node": "rep1"}],
        "schedulers": ["schedule"],
        "settings": {"sort_buffer_size": "2097152"},
        "record": {**RECORD, "open": True},
    }
    return {
        "erp1": {
            "role": "primary",
            "lan_ip": "10.0.0.1",
            "seen": primary,
            "planned": {"sort_buffer_size": 2097152},
        },
        "rep1": {
            "role": "reporting",
            "lan_ip": "10.0.0.2",
            "seen": {**seen, **reporting},
            "planned": {"sort_buffer_size": 4194304},
        },
    }


def test_a_fleet_that_agrees_is_green():
    results = judge.compare(fleet(), PLACED)
    assert [entry["saw"] for entry in results if not entry["ok"]] == []
    made = {"one_scheduler", "placed", "commits", "assets", "answers_alike", "bench_id", "apart"}
    made |= {"one_open", "records_alike"}
    assert {entry["id"] for entry in results} == made


BUNDLE = "desk.bundle.js /assets/frappe/dist/js/desk.bundle.AA.js"


@pytest.mark.parametrize(
    ("other", "red", "facts"),
    [
        (
            {"apps": {"frappe": {**APP, "commit": "b" * 40}}},
            "commits",
            {"other_commit": ["frappe"], "other_changes": []},
        ),
        (
            {"apps": {"frappe": {**APP, "changes": "5e1f"}}},
            "commits",
            {"other_commit": [], "other_changes": ["frappe"]},
        ),
        ({"apps": {}}, "commits", {"other_commit": ["frappe"], "other_changes": []}),
        ({"assets": {DESK: "9d8c"}}, "assets", {"differs": [BUNDLE]}),
        ({"assets": {DESK: ""}}, "assets", {"no_file": [BUNDLE]}),
        ({"assets": {}}, "assets", {"not_here": [BUNDLE]}),
        ({"assets": {DESK: "1f2e", "l b /u": "0"}}, "assets", {"only_here": ["b /u"]}),
        (
            {"answers": {**ANSWERS, "servers": {"here": {"old_mode": "0"}, "primary": {}}}},
            "answers_alike",
            {**ALIKE, "answers": ["old_mode"]},
        ),
        (
            {"answers": {**ANSWERS, "python": {"locale": "März ,"}}},
            "answers_alike",
            {**ALIKE, "answers": ["locale", "wkhtmltopdf"]},
        ),
        (
            {"answers": {**ANSWERS, "fonts": ["A"]}},
            "answers_alike",
            {**ALIKE, "fonts": ["DejaVu Sans"]},
        ),
        (
            {"answers": {**ANSWERS, "config": {**ANSWERS["config"], "lang": "9d8c"}}},
            "answers_alike",
            {**ALIKE, "keys": ["lang"]},
        ),
        ({"answers": {**ANSWERS, "config": {}}}, "answers_alike", {**ALIKE, "keys": ["lang"]}),
        (
            {"answers": {**ANSWERS, "packages": {"babel": "2.17.0", "more": "1"}}},
            "answers_alike",
            {**ALIKE, "answers": ["babel"]},
        ),
        (
            {"answers": {**ANSWERS, "servers": {}, "trouble": "Access denied (1045)"}},
            "answers_alike",
            {**ALIKE, "unanswered": ["rep1"]},
        ),
        ({"bench_id": "c"}, "bench_id", {"bench_id": "c", "queue": "10.0.0.1:11000"}),
        (
            {"queue": "127.0.0.1:11000"},
            "bench_id",
            {"bench_id": "b", "queue": "127.0.0.1:11000"},
        ),
        (
            {"schedulers": ["schedule"]},
            "one_scheduler",
            {"schedulers": {"erp1": 1, "rep1": 1}, "unseen": []},
        ),
        (
            {"settings": {"sort_buffer_size": "2097152"}},
            "apart",
            {"same": ["sort_buffer_size"]},
        ),
        (
            {"record": {**RECORD, "epoch": 8, "primary": "rep1", "since": "another"}},
            "records_alike",
            {"differ": ["epoch", "primary"]},
        ),
        (
            {"record": {**RECORD, "open": True}},
            "one_open",
            {"open": ["erp1", "rep1"], "unseen": []},
        ),
    ],
)
def test_each_difference_turns_its_check_red(
    other: dict[str, Any], red: str, facts: dict[str, Any]
):
    results = judge.compare(fleet(**other), PLACED)
    (found,) = [entry for entry in results if not entry["ok"]]
    assert (found["id"], found["facts"]) == (red, facts)


def test_a_fleet_without_an_open_server_is_red():
    nodes = fleet()
    nodes["erp1"]["seen"]["record"] = RECORD
    found = judge.count_open("erp1", nodes)
    assert (found["ok"], found["facts"]["open"]) == (False, [])


def checked(monkeypatch: Any, place: Path, host: str, **state: Any) -> dict[str, Any]:
    """The check of the record on a host of a fleet whose primary is erp1 (10.0.0.1)."""
    checks: Any = object.__new__(system.EveryHost)
    checks.params = {"state_dir": str(place), "primary_ip": "10.0.0.1"}
    checks.gathering, checks.seen = Gathering(host), {}
    state = {"host": host, "open": host == "erp1", "why": "", "checked": time.time(), **state}
    monkeypatch.setattr(system.record, "state", lambda: state)
    checks.check_record()
    (found,) = checks.gathering.results
    return {**found, "seen": checks.seen}


def test_a_host_is_open_or_closed_as_its_record_says(monkeypatch: Any, tmp_path: Path):
    hosts = {"erp1": "10.0.0.1", "rep1": "10.0.0.2"}
    check = partial(checked, monkeypatch, tmp_path)
    assert not check("erp1")["ok"], "no record"
    own = record.Record("f1", 7, "erp1", "2026-11-30T10:00:00+00:00", hosts, True)
    own.write(str(tmp_path))
    for host in hosts:
        found = check(host)
        assert found["ok"]
        assert found["seen"]["record"]["open"] is (host == "erp1")
        assert not check(host, open=host != "erp1")["ok"]
        assert not check(host, checked=time.time() - 60)["ok"]
    replace(own, epoch=8, primary="rep1").write(str(tmp_path))
    assert not check("rep1", open=True)["ok"], "not the inventory's primary"


def test_values_that_differ_are_shown_with_both_sides():
    here, there = {"old_mode": "0", "same": "1"}, {"same": "1", "locale": "März"}
    named = answers.unlike(here, there)
    assert [shown.partition(":")[0] for shown in named] == ["locale", "old_mode"]
    assert "none" in named[0]
    assert "März" in named[0]
    assert "0" in named[1]


@pytest.mark.parametrize(
    "other",
    [
        # No program that makes reports runs there.
        {"python": {}, "fonts": []},
        # Whether a host can print is the check pdf.
        {"python": {**ANSWERS["python"], "wkhtmltopdf": "none"}},
        {"fonts": []},
        {"config": {"lang": "1f2e", "db_host": "0", "replica_host": "0", "more": "0"}},
        # Packages and fonts of former apps.
        {"packages": {**ANSWERS["packages"], "more": "1"}, "fonts": ["A", *ANSWERS["fonts"]]},
    ],
)
def test_a_difference_that_no_report_shows_is_green(other: dict[str, Any]):
    results = judge.compare(fleet(answers={**ANSWERS, **other}), PLACED)
    assert all(entry["ok"] for entry in results)


def test_each_shared_setting_has_a_question():
    # Their effect can only be seen with a table and an InnoDB index.
    unasked = {name for name in answers.SHARED if name.startswith("innodb_ft_")} | {
        "ft_max_word_len"
    }
    # Its effect is the collation of a connection.
    unasked.add("character_set_client_handshake")
    asked = {name.split()[0] for name in answers.QUESTIONS}
    assert set(answers.SHARED) - asked == unasked


def test_a_program_whose_title_overwrites_its_environment_has_its_parents(tmp_path: Any):
    def program(pid: int, parent: int, environ: bytes) -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / f"{pid}/environ").write_bytes(environ)
        (tmp_path / f"{pid}/stat").write_text(f"{pid} (a b) S {parent} 1")

    program(30, 20, b"  " * 9)
    program(20, 10, b"PATH=/bin\0TZ=Asia/Kolkata\0LANG=\xe4\0")
    program(10, 1, b"PATH=/sbin\0")
    found = processes.environment_of(30, str(tmp_path))
    assert (found["PATH"], found["TZ"], os.fsencode(found["LANG"])) == (
        "/bin",
        "Asia/Kolkata",
        b"\xe4",
    )
    assert processes.environment_of(40, str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("environment", "name", "answer"),
    [
        ({}, "time zone", "['2026-01-01 00:00', '2026-07-01 00:00']"),
        ({"TZ": "XYZ-5:30"}, "time zone", "['2026-01-01 05:30', '2026-07-01 05:30']"),
        ({"PYTHONUTF8": "1"}, "encoding of files", "utf-8"),
        ({"PYTHONUTF8": "0", "LC_ALL": "POSIX"}, "encoding of files", "ansi_x3.4-1968"),
        ({}, "locale", "March ."),
        ({}, "Python", "{}.{}".format(*sys.version_info)),
    ],
)
def test_python_is_asked_in_the_environment_of_a_program(
    environment: dict[str, str], name: str, answer: str
):
    probes = [inspect.getsource(probe) for probe in (environment_probe, python_answers)]
    done = subprocess.run(
        [sys.executable, "-I", "-c", *probes],
        input=json.dumps({"PATH": "/usr/bin:/bin", "TZ": "UTC0", **environment}),
        text=True,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)[0][name] == answer


@pytest.mark.parametrize(
    ("changes", "ok", "shown"),
    [
        ({}, True, ["a.*", "rep1"]),
        ({"node": "erp1", "landed": "short"}, False, ["a.*", "erp1"]),
        ({"node": "erp1"}, False, ["a.*", "erp1"]),
        ({"node": None, "status": "queued"}, True, ["a.*", "queued", "at-rep1"]),
        ({"node": None, "status": "queued", "landed": "short"}, False, ["queued", "short"]),
        ({"status": "failed"}, False, ["failed", "at-rep1"]),
        # Another queue is in force than that of the inventory.
        ({"queue": "at-rep2"}, False, ["at-rep2", "at-rep1"]),
    ],
)
def test_a_placed_job_is_green_where_the_inventory_wants_it(
    changes: dict[str, Any], ok: bool, shown: list[str]
):
    nodes = fleet()
    nodes["erp1"]["seen"]["tried"][0].update(changes)
    made = judge.compare_placed("erp1", nodes, PLACED)
    assert made["ok"] == ok
    assert [value for value in shown if value not in made["saw"]] == []


def test_the_primary_does_a_heavy_job_where_no_node_takes_it():
    nodes, placed = fleet(), {"at-heavy": ["rep1"]}
    tried = nodes["erp1"]["seen"]["tried"][0]
    tried.update(queue="at-heavy", landed="short", node="erp1")
    assert judge.compare_placed("erp1", nodes, placed)["ok"]
    tried.update(landed="at-heavy")
    assert not judge.compare_placed("erp1", nodes, placed)["ok"]


def test_no_placed_job_is_green_and_no_tried_one_is_red():
    nodes = fleet()
    nodes["erp1"]["seen"]["tried"] = []
    assert judge.compare_placed("erp1", nodes, {})["ok"]
    assert not judge.compare_placed("erp1", nodes, PLACED)["ok"]
    del nodes["erp1"]["seen"]["tried"]
    assert not judge.compare_placed("erp1", nodes, {})["ok"]


def test_what_was_not_seen_is_not_compared():
    nodes = fleet()
    nodes["rep1"]["seen"] = {}
    results = {entry["id"]: entry for entry in judge.compare(nodes, PLACED)}
    assert [name for name, entry in results.items() if entry["ok"]] == ["placed"]
    others = [entry for name, entry in results.items() if name != "placed"]
    assert [entry["id"] for entry in others if entry["compared"]] == []
    assert {tuple(entry["facts"]["unseen"]) for entry in others} == {("rep1",)}


def test_a_second_scheduler_is_one_too_many_whatever_was_not_seen():
    nodes = fleet(schedulers=["schedule"])
    nodes["rep2"] = {**nodes["rep1"], "seen": {}}
    found = judge.count_schedulers("erp1", nodes)
    assert (found["ok"], found["compared"]) == (False, True)
    assert found["facts"]["unseen"] == ["rep2"]


def test_a_controller_inside_the_fleet_is_exempt():
    nodes = fleet()
    assert "rep1" in judge.exempt("10.0.0.2", nodes, [])
    assert "10.0.0.0/24" in judge.exempt("10.0.0.9", nodes, ["10.0.0.0/24"])
    assert judge.exempt("10.0.1.9", nodes, ["10.0.0.0/24"]) == ""


def test_open_ports_are_red_and_closed_ones_are_not():
    node = {"lan_ip": "127.0.0.1"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        params = {"ports": [port], "allowed": []}
        found = judge.call_ports("erp1", node, {}, params)
        assert not found["ok"]
        assert found["facts"] == {"open": [port]}
    assert judge.call_ports("erp1", node, {}, params)["ok"]


def test_status_of_a_silent_host_says_why():
    about = {"role": "reporting", "status": {}, "trouble": "no\nroute"}
    found = row("rep1", about)
    assert (found["host"], found["role"]) == ("rep1", "reporting")
    assert "no route" in found["state"]
    assert [one["id"] for one in found["troubles"]] == ["host_not_asked"]


def test_a_probe_is_read_from_the_archive_of_a_module(tmp_path: Any):
    package = Path(__file__).parents[2] / "module_utils/fleet"
    with zipfile.ZipFile(tmp_path / "payload.zip", "w") as archive:
        for name in (
            "__init__",
            "verify/__init__",
            "verify/probes/__init__",
            "verify/probes/places",
        ):
            archive.write(package / f"{name}.py", f"fleet/{name}.py")
    text = (
        "import inspect; from fleet.verify.probes import places; print(inspect.getsource(places))"
    )
    environment = {"PYTHONPATH": str(tmp_path / "payload.zip")}
    words = [sys.executable, "-c", text]
    done = subprocess.run(words, env=environment, text=True, capture_output=True, check=True)
    asked = [sys.executable, "-I", "-c", done.stdout, "json", "no_such_app"]
    answer = json.loads(subprocess.run(asked, text=True, capture_output=True, check=True).stdout)
    assert answer[0] == sys.prefix
    assert answer[1]["json"].endswith("json/__init__.py")
    assert answer[1]["no_such_app"] is None


def test_the_bounds_that_are_shown_follow_from_how_often_the_sites_are_copied():
    text = (Path(__file__).parents[2] / "roles/fleet/vars/main.yml").read_text()
    seconds = int(yaml.safe_load(text)["fleet_copy_seconds"])
    spare = round(files.SPARE_SECONDS)
    arrives = catalogue.CATALOGUE["file_arrives"].wanted
    assert f" {seconds + spare} s" in arrives
    assert f"standby within {files.STANDBY_SECONDS:g} s" in arrives
    assert f" {2 * seconds + spare} s" in catalogue.CATALOGUE["fresh"].wanted
