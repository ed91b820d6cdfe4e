"""What `./fleet doctor` finds: causes by recorded facts, time limits, and what it shows."""

from __future__ import annotations

import json
import os
import shlex
import time
from typing import Any

import pytest
from fleet.doctor import bench, causes, database, fix, look, replication, system
from fleet.doctor.causes import ALL, CAUSES, Action, found
from fleet.mariadb import texts
from fleet.own_certificates import SHOWS_NONE
from fleet.status.troubles import OF_STATUS
from fleet.verify.catalogue import CATALOGUE

from benchfleet import doctor, runner

FACTS = {"Master_Port": 3306, "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes"}
GTID_1950 = "An attempt was made to binlog GTID 0-1-964 which would create an out-of-order"
PURGED = (
    "Got fatal error 1236 from master when reading data from binary log: 'Could not find GTID state"
    " requested by slave in any binlog files. Probably the slave state is too old and required"
    " binlog files have been purged.'"
)
UNKNOWN = (
    "Got fatal error 1236 from master when reading data from binary log: 'Error: connecting slave"
    " requested to start from GTID 0-1-9, which is not in the master's binlog'"
)
DUPLICATE = (
    "Could not execute Write_rows_v1 event on table erp.tabToDo; Duplicate entry 'ann@x.test' for"
    " key 'PRIMARY', Error_code: 1062; handler error HA_ERR_FOUND_DUPP_KEY; the event's master log"
    " binlog.000002, end_log_pos 285389"
)
ACCOUNT = (
    "Error 'Operation CREATE USER failed for 'x'@'localhost'' on query. Default database: ''."
    " Query: 'CREATE USER x@localhost IDENTIFIED BY \"Geheim123\"'"
)
TLS = "error connecting to master 'repl@10.0.0.1:3306' - message: SSL connection error"
AWAY = {"error": "Connection refused (2003)", "number": 2003, "filtered": False, "filters": []}


def ids(found_causes: Any) -> list[str]:
    return [cause.id for cause in found_causes]


def stopped(thread: str, number: int, text: str, **given: Any) -> list[causes.Found]:
    status = {**FACTS, f"Last_{thread}_Errno": number, f"Last_{thread}_Error": text}
    status[f"Slave_{thread}_Running"] = "No"
    tried, errant = given.get("tried", {}), given.get("errant", [])
    return list(replication.stopped(status, tried, errant, given.get("emptied", [])))


@pytest.mark.parametrize(
    ("thread", "number", "text", "given", "wanted"),
    [
        ("SQL", 1950, GTID_1950, {"errant": ["0-1-964"]}, "write_on_replica"),
        # Without the proof no new copy is named.
        ("SQL", 1950, GTID_1950, {}, "replica_error"),
        ("SQL", 1950, GTID_1950, {"errant": ["0-1-9"], "emptied": ["`a`.`b`"]}, "memory_table"),
        ("SQL", 1062, DUPLICATE, {}, "rows_differ"),
        ("SQL", 1062, DUPLICATE, {"errant": ["0-1-9"]}, "write_on_replica"),
        ("SQL", 1032, "Can't find record in 'tabToDo'", {}, "rows_differ"),
        ("SQL", 1396, ACCOUNT, {}, "account_differs"),
        ("SQL", 1146, "Table 'erp.gone' doesn't exist", {}, "schema_refused"),
        ("SQL", 1205, "Lock wait timeout exceeded", {}, "replica_transient"),
        ("SQL", 1317, "Query execution was interrupted", {}, "replica_transient"),
        ("SQL", 1594, "Relay log read failure", {}, "replica_error"),
        ("IO", 1236, PURGED, {}, "binlog_purged"),
        ("IO", 1236, UNKNOWN, {}, "position_unknown"),
        ("IO", 1236, UNKNOWN, {"errant": ["0-1-9"]}, "write_on_replica"),
        ("IO", 1045, "Access denied for user 'repl'", {}, "primary_refuses"),
        ("IO", 2026, TLS, {"tried": AWAY}, "replica_tls"),
        ("IO", 2003, "Can't connect", {"tried": AWAY}, "primary_unreached"),
        ("IO", 2003, "Can't connect", {"tried": {**AWAY, "filtered": True}}, "filter"),
        ("SQL", 0, "", {}, "replica_stopped"),
    ],
)
def test_an_error_of_replication_has_one_cause(thread, number, text, given, wanted):
    assert ids(stopped(thread, number, text, **given)) == [wanted]


def test_a_replica_that_runs_has_no_cause():
    assert list(replication.stopped(FACTS, {}, [], [])) == []


def test_only_what_is_proved_destroys():
    destroying = {cause.id for cause in ALL if cause.destroys}
    assert destroying == {"binlog_purged", "write_on_replica", "memory_table", "rows_differ"}
    assert not any(CAUSES[name].fixes for name in destroying)


@pytest.mark.parametrize("text", [DUPLICATE, ACCOUNT])
def test_an_error_is_shown_without_values(text):
    shown = texts.error(text)
    assert "Geheim123" not in shown
    assert "ann@x.test" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "redis://bench-erp1:Geheim123@10.0.0.1:11000 refused",
        "KeyError: {'db_password': 'Geheim123', 'a': 1}",
        "password=Geheim123 was refused",
        "CREATE USER x IDENTIFIED BY 'Geheim123'",
    ],
)
def test_a_log_is_shown_without_passwords(text):
    shown = found("mariadb_down", state="failed", errors=text).shown("rep1")
    assert "Geheim123" not in json.dumps(shown)
    assert len(shown["facts"]["errors"]) > 10


def test_a_statement_is_shown_without_values():
    shown = texts.statement("UPDATE `tabUser` SET a = 'x''y', b = 17 WHERE c = \"open to the end")
    assert shown == "UPDATE `tabUser` SET a = ?, b = ? WHERE c = ?"


def test_the_end_of_a_program_s_log_is_read_without_its_traps(tmp_path, monkeypatch):
    secret, log = tmp_path / "shadow", tmp_path / "worker.log"
    secret.write_text("of-root\n")
    read = {"processes": [{"group": "b", "name": "w", "logs": [str(log)]}]}
    monkeypatch.setattr(system, "full_name", lambda process: process["name"])
    log.symlink_to(secret)
    assert system.log_end("w", read) == "none"
    log.unlink()
    os.mkfifo(log)
    assert system.log_end("w", read) == "none"
    log.unlink()
    log.write_text("first\nfailed: \x1b[2J password=Geheim123\n")
    shown = system.log_end("w", read)
    assert shown.isprintable()
    assert "failed" in shown
    assert "Geheim123" not in shown


def process(number: int, **given: Any) -> dict[str, Any]:
    row = {"ID": number, "USER": "system user", "HOST": "", "DB": None, "COMMAND": "Slave_worker"}
    return {**row, "TIME": 60, "STATE": "", "INFO": None, "OPEN": 0, **given}


IDLE = process(1, COMMAND="Slave_SQL", STATE="Slave has read all relay log; waiting for more")
CLIENT = process(7, USER="ann", HOST="10.0.0.9:41", DB="erp", COMMAND="Sleep", TIME=99, OPEN=1)
ALTER = "ALTER TABLE `erp`.`tabToDo` ADD x INT"


@pytest.mark.parametrize(
    ("rows", "keyless", "disk", "wanted"),
    [
        ([IDLE, process(2, STATE="User sleep", INFO="UPDATE x SET a=1")], [], 0.0, "lag_statement"),
        (
            [process(2, STATE="Waiting for table metadata lock", INFO=ALTER), CLIENT],
            [],
            0.0,
            "lag_lock",
        ),
        ([process(2, STATE="Update_rows_log_event::find_row(-1)")], ["a.b"], 0.0, "lag_no_key"),
        ([process(2, STATE="Update_rows_log_event::find_row(-1)")], [], 70.0, "lag_disk"),
        ([process(2, STATE="Applying")], [], None, "lag"),
        ([IDLE], [], 0.0, "heartbeat_old"),
    ],
)
def test_lag_has_one_cause(rows, keyless, disk, wanted):
    assert ids(replication.late(30.0, rows, keyless, disk)) == [wanted]


def test_a_lock_names_its_holder():
    rows = [process(2, STATE="Waiting for table metadata lock", INFO=ALTER), CLIENT]
    [cause] = replication.late(30.0, rows, [], 0.0)
    assert cause.facts["connection"] == 7
    assert cause.facts["table"] == "erp.tabToDo"


@pytest.mark.parametrize(("seconds", "number"), [(0.4, 0), (-5.0, 0), (5.5, 1), (-900.0, 1)])
def test_clocks_may_differ_a_little(seconds, number):
    assert len(database.clock({"seconds": seconds})) == number


@pytest.mark.parametrize(
    ("state", "restarts", "since", "wanted"),
    [
        ("active", 0, 9000, []),
        ("active", 5, 9000, []),
        ("active", 5, 30, ["mariadb_crashes"]),
        ("activating", 5, 30, ["mariadb_crashes"]),
        ("activating", 0, 30, []),
        ("failed", 0, 30, ["mariadb_down"]),
        ("inactive", 0, 30, ["mariadb_down"]),
    ],
)
def test_mariadb_that_crashes_again_and_again_is_not_up(state, restarts, since, wanted):
    facts = {"LoadState": "loaded", "ActiveState": state, "NRestarts": str(restarts)}
    facts["ActiveEnterTimestampMonotonic"] = str((10_000 - since) * 1_000_000)
    assert ids(database.service(facts, 10_000.0)) == wanted


def test_redis_refuses_after_a_failed_save_only_if_it_is_set_so():
    info = {"rdb_last_bgsave_status": "err", "aof_enabled": "0", "aof_last_write_status": "err"}
    assert system.refusals(info, True)
    assert not system.refusals(info, False)
    assert system.refusals({**info, "aof_enabled": "1"}, False)


def test_code_is_compared_with_the_primarys():
    own = {"frappe": {"commit": "a" * 40, "changes": ""}}
    assert bench.other_apps(own, own) == []
    for other in ({"commit": "b" * 40, "changes": ""}, {"commit": "a" * 40, "changes": "1"}):
        assert ids(bench.other_apps(own, {"frappe": other})) == ["apps_differ"]
    assert ids(bench.other_apps(own, {**own, "hrms": own["frappe"]})) == ["apps_differ"]


def test_torn_files_are_found(tmp_path):
    sites = tmp_path / "bench/sites"
    (sites / "erp.test").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    (sites / "common_site_config.json").write_text('{"db_host": ')
    (sites / "erp.test/site_config.json").write_text("{}")
    params = {"bench": str(tmp_path / "bench"), "state_dir": str(tmp_path / "state")}
    torn = bench.configs({**params, "config_dir": str(tmp_path)})
    assert [cause.facts["path"] for cause in torn] == [str(sites / "common_site_config.json")]


def test_maintenance_without_an_update_is_found(tmp_path):
    site = tmp_path / "bench/sites/erp.test"
    site.mkdir(parents=True)
    (tmp_path / "state").mkdir()
    (site / "site_config.json").write_text('{"maintenance_mode": 1}')
    params = {"bench": str(tmp_path / "bench"), "state_dir": str(tmp_path / "state")}
    params |= {"role": "primary", "user": "frappe"}
    assert ids(bench.maintenance(params)) == ["maintenance"]
    (tmp_path / "state/update.json").write_text('{"phase": "migrate"}')
    assert ids(bench.maintenance(params)) == ["update_unfinished"]


# Time limits


def test_what_hangs_or_fails_is_named_and_hides_nothing(monkeypatch):
    def asked(_params: Any) -> dict[str, Any]:
        return {
            "MariaDB": lambda: time.sleep(60),
            "nginx": lambda: [found("lag", seconds=9)],
            "Redis": lambda: 1 / 0,
        }

    monkeypatch.setattr(look, "questions", asked)
    causes = {cause.id: cause.facts for cause in look.look({}, 4.0)}
    assert set(causes) == {"mariadb_silent", "lag", "not_asked"}
    assert causes["not_asked"]["question"] == "Redis"
    assert "ZeroDivisionError" in causes["not_asked"]["what"]


def test_nothing_is_started_while_another_run_is_under_way(monkeypatch):
    run = {"playbook": "update.yml", "account": "ann", "controller": "ops1"}
    acted: list[Action] = []
    monkeypatch.setattr(look, "other_run", lambda: run)
    monkeypatch.setattr(look, "questions", lambda _params: {})
    monkeypatch.setattr(fix, "act", lambda action, _check: acted.append(action))
    told = look.mend({"host": "rep1", "actions": [["start", "cron.service"]]}, check_mode=False)
    assert (told["changed"], acted) == (False, [])
    (one,) = told["done"]
    assert not one["done"]
    assert all(word in one["said"] for word in run.values())


@pytest.mark.parametrize(
    ("used", "needed", "wanted"),
    [(0.5, 0, []), (0.85, 0, ["disk_low"]), (0.5, 99, ["disk_low"]), (0.96, 99, ["disk_full"])],
)
def test_doctor_names_each_disk_that_status_names(tmp_path, monkeypatch, used, needed, wanted):
    one = {"device": 7, "path": str(tmp_path), "holds": ["logs"], "bytes": 100, "used": used}
    one |= {"free": 50, "files_free": 9, "full": False}
    status = {"measured": 1.0, "update_needs": [{"device": 7, "bytes": needed, "what": "x"}]}
    (tmp_path / "status.json").write_text(json.dumps(status))
    monkeypatch.setattr(system, "places", lambda _params: {"logs": list})
    monkeypatch.setattr(system, "file_systems", lambda _places: [one])
    monkeypatch.setattr(system, "biggest", lambda *_: "nothing")
    assert ids(system.disks({"state_dir": str(tmp_path)})) == wanted


# The catalogue, and what is shown


def filled(cause: causes.Cause) -> causes.Found:
    """A cause with a fact for each of its braces."""
    fields = (
        "path used free holds biggest what restarts errors state most holders seconds way"
        " port filters number seen position gtids tables table there account origin verb"
        " threads lag statement connection holder schema share unit effect programs program"
        " instance folder others pids queue apps versions since phase site user bench node sync"
        " question why"
    )
    return found(cause.id, **dict.fromkeys(fields.split(), "1"))


def test_causes_and_troubles_name_each_other():
    named = {name for cause in ALL for name in cause.troubles}
    assert named <= {*OF_STATUS, *CATALOGUE}
    # Doctor knows no more of these than the status says.
    alone = {"host_not_asked", "jobs_old", "memory_low", "opened_alone", "primary_follows"}
    alone |= {"host_fenced", "passes_on"}
    assert {*OF_STATUS} - named == alone


@pytest.mark.parametrize("cause", ALL, ids=lambda cause: cause.id)
def test_every_cause_can_be_shown_in_80_columns(cause):
    shown = filled(cause).shown("rep1")
    assert shown["cure"]
    assert set(cause.follows) <= set(CAUSES)
    row = {"host": "rep1", "asked": True, "trouble": "", "causes": [shown], "done": []}
    assert all(len(line) <= 80 for line in doctor.lines_of([row], 80))


@pytest.mark.parametrize("name", ["x; reboot", "$(reboot)", "a'b", "-rf", "a\x1b[2Jb", "a b"])
def test_what_others_named_is_not_put_into_a_command(name):
    shown = found("maintenance", site=name, user="frappe", bench="/b").shown("erp1")
    assert name not in shown["cure"][0]["command"]
    assert "\x1b" not in json.dumps(shown["title"])


@pytest.mark.parametrize("cause", ALL, ids=lambda cause: cause.id)
def test_a_command_on_several_lines_is_still_the_same_command(cause):
    for line in filled(cause).shown("rep1-with-a-very-long-name.erp.example")["cure"]:
        # A shell drops a backslash at the end of a line, with the end.
        text = "\n".join(doctor.command(line["command"], 80)).replace("\\\n", "")
        assert [" ".join(word.split()) for word in shlex.split(text)] == [
            " ".join(word.split()) for word in shlex.split(line["command"])
        ]


def test_a_cure_that_destroys_waits_for_what_comes_first():
    cause = filled(CAUSES["binlog_purged"])
    assert cause.shown("rep1")["destroys"]
    later = found("replica_tls", number=2026, what="x").shown("rep1", {"clock", "replica_tls"})
    assert later["follows"] == ["clock"]


def test_nothing_is_started_while_a_full_disk_stops_it():
    start = Action("start", "mariadb.service")
    down = found("mariadb_down", start, state="failed", errors="none")
    full = filled(CAUSES["disk_full"])
    assert look.fixable(down, [down])
    assert not look.fixable(down, [full, down])


def test_a_certificate_that_a_dead_server_does_not_show_is_no_cause_of_its_own():
    shows = found("own_certificates", what=SHOWS_NONE, folder="/etc/benchfleet/tls")
    assert look.is_echo(shows, {"own_certificates", "mariadb_down"})
    assert not look.is_echo(shows, {"own_certificates", "clock"})


def test_only_causes_that_may_be_mended_have_an_action():
    with pytest.raises(KeyError):
        found("binlog_purged", Action("replication"), position="0-1-2")


@pytest.mark.parametrize("kind", causes.WILL)
def test_an_action_only_starts(kind):
    words = [word for line in fix.commands(Action(kind, "x.service")) for word in line]
    assert not {"stop", "remove", "rm", "RESET", "disable"} & set(words)
    assert fix.act(Action(kind, "x.service"), check_mode=True)["done"] is False


def outcome(*rows: dict[str, Any]) -> runner.Outcome:
    result = {"doctor": list(rows), "problems": [], "text": ""}
    empty: Any = runner.Outcome.__new__(runner.Outcome)
    empty.results = [result] if rows else []
    return empty


@pytest.mark.parametrize(
    ("asked", "number", "status"), [([], 0, 3), ([False], 0, 3), ([True], 0, 0), ([True], 1, 1)]
)
def test_the_exit_status_says_what_is_left(asked, number, status, capsys):
    found_causes = [filled(ALL[0]).shown("a")] * number
    rows = [
        {"host": "a", "asked": one, "trouble": "", "causes": found_causes, "done": []}
        for one in asked
    ]
    assert doctor.show(outcome(*rows), as_json=True, wide=False) == status
    assert json.loads(capsys.readouterr().out)["ok"] == (status == 0)
