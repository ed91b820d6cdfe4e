"""Sizing, the option file, and the comparison with a running server."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import ClassVar

import pytest
from ansible.errors import AnsibleFilterError
from fleet.mariadb import apply as module
from fleet.mariadb.conflicts import REFUSED, is_by_files, remedy
from fleet.mariadb.options import Said
from fleet.mariadb.server import Server, connect, running_variables

from filter_plugins import mariadb_settings as plan
from tests.mariadb import MariaDB, needs_mariadb

MIB = 1024 * 1024


@pytest.mark.parametrize("role", plan.ROLES)
@pytest.mark.parametrize("memory", [512, 1024, 4096, 16384, 131072])
def test_buffer_pool_leaves_room_for_the_bench(role: str, memory: int) -> None:
    pool = plan.buffer_pool_mb(memory, role)
    assert pool % 64 == 0
    assert 64 <= pool <= max(64, memory // 2)


def test_reporting_reads_heavily_and_stays_promotable() -> None:
    primary = plan.mariadb_values(plan.mariadb_settings(8192, "primary", 4))
    reporting = plan.mariadb_values(plan.mariadb_settings(8192, "reporting", 4))
    for bigger in ("innodb_buffer_pool_size", "tmp_table_size", "sort_buffer_size"):
        assert reporting[bigger] > primary[bigger]
    assert reporting["innodb_read_ahead_threshold"] < primary["innodb_read_ahead_threshold"]
    assert reporting["slave_parallel_threads"] == 8
    assert (primary.get("innodb_strict_mode"), reporting["innodb_strict_mode"]) == (None, False)
    for node in (primary, reporting):
        assert (node["sync_binlog"], node["innodb_flush_log_at_trx_commit"]) == (1, 1)
        assert node["read_only"] is True
        assert node["userstat"] is True
        # The account of a site has no SUPER, and a replica refuses what its primary took (1418).
        assert node["log_bin_trust_function_creators"] is True
        assert node["binlog_format"] == "ROW"


def test_a_reporting_node_takes_over_what_the_primarys_answers_come_from() -> None:
    shared = {"lc_time_names": "de_DE", "character_set_collations": "utf8mb4=utf8mb4_general_ci"}
    made = plan.mariadb_settings(2048, "reporting", 2, {}, {}, shared)
    assert made["lc_time_names"]["value"] == "de_DE"
    text = plan.mariadb_cnf(made)
    # Still for the servers alone that know it.
    newest = text.partition("[mariadbd-11.8]")[2]
    assert "character_set_collations = utf8mb4=utf8mb4_general_ci" in newest
    primary = plan.mariadb_settings(2048, "primary", 2, {}, {}, shared)
    assert "lc_time_names" not in primary
    assert primary["character_set_collations"]["value"] == "utf8mb4=utf8mb4_unicode_ci"


def test_operator_wins_over_host_and_plan() -> None:
    made = plan.mariadb_settings(2048, "primary", 2, {"port": 3306}, {"max_connections": 7})
    assert made["port"]["value"] == 3306
    assert made["max_connections"]["value"] == 7
    assert "mariadb_settings_extra" in made["max_connections"]["why"]


@pytest.mark.parametrize("name", ["event_scheduler", "read-only"])
def test_who_is_open_and_runs_events_is_no_setting(name: str) -> None:
    with pytest.raises(AnsibleFilterError, match=name):
        plan.mariadb_settings(2048, "reporting", 2, {}, {name: True})


@pytest.mark.parametrize(
    ("memory", "role", "cpus", "named"),
    [
        (100, "primary", 1, "`fleet_memory_mb` .*100"),
        (1024, "replica", 1, "'replica'"),
        (1024, "primary", 0, "`cpus` .*0"),
    ],
)
def test_senseless_figures_are_named(memory: int, role: str, cpus: int, named: str) -> None:
    with pytest.raises(AnsibleFilterError, match=named):
        plan.mariadb_settings(memory, role, cpus)


def test_option_file_has_reasons_and_sections() -> None:
    text = plan.mariadb_cnf(plan.mariadb_settings(1024, "primary", 2))
    assert "\nread_only = ON\n" in text
    assert text.index("[mariadbd]") < text.index("read_only") < text.index("[mariadbd-11.8]")
    assert text.index("[mariadbd-11.8]") < text.index("character_set_collations")


def test_clients_of_the_host_dump_rows_of_any_size() -> None:
    text = plan.mariadb_cnf(plan.mariadb_settings(1024, "primary", 2))
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    assert parser["mysqldump"]["max_allowed_packet"] == "1G"
    # Of the server's settings they are none.
    assert parser["mariadbd"]["max_allowed_packet"] == str(64 * 2**20)


@pytest.mark.parametrize("extra", [{"a b": 1}, {"ok": "1\n[client]"}])
def test_a_value_cannot_open_another_line(extra: dict[str, object]) -> None:
    ((name, value),) = extra.items()
    with pytest.raises(AnsibleFilterError, match=re.escape(repr(name))) as caught:
        plan.mariadb_cnf(plan.mariadb_settings(1024, "primary", 1, None, extra))
    assert repr(str(value)) in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("256M", 268435456),
        (True, "ON"),
        ("off", False),
        ("1", "ON"),
        ("true", 1),
        ("2.50", "2.5"),
        ("ROW", "row"),
    ],
)
def test_spellings_of_one_value(one: object, other: object) -> None:
    assert module.normal(one) == module.normal(other)


def test_yes_is_no_switch_for_mariadb() -> None:
    assert module.normal("yes") != module.normal("ON")


def variable(value: object, **more: object) -> dict[str, object]:
    return {"value": value, "origin": "CONFIG", "path": "/f", "fixed": "NO", **more}


def test_differences_names_only_what_differs() -> None:
    running = {
        "a": variable("1"),
        "b": variable("2"),
        "log_bin": variable("ON"),
        "log_bin_basename": variable("/var/lib/mysql/binlog"),
        "pool": variable("134217728", low="5242880", high="99999999999", block="1048576"),
    }
    wanted = {"a": True, "b": 3, "log_bin": "binlog", "pool": 134217999, "unknown_here": 1}
    assert module.differences(wanted, running) == {"b": "2"}


def test_a_figure_that_the_server_fits_to_its_files_is_its_own() -> None:
    running = {
        "max_connections": variable("214", origin="AUTO"),
        "table_open_cache": variable("214", origin="SQL"),
        "sort_buffer_size": variable("214", origin="AUTO"),
    }
    assert [name for name in running if is_by_files(name, running)] == ["max_connections"]


def test_modes_that_bring_others_are_the_ones_that_were_set() -> None:
    running = {"sql_mode": variable("ANSI_QUOTES,IGNORE_SPACE,ANSI")}
    assert module.differences({"sql_mode": "ansi"}, running) == {}
    assert module.differences({"sql_mode": "ansi,ORACLE"}, running)


def test_settings_that_left_the_file_are_found() -> None:
    running = {"a": variable("1"), "b": variable("2"), "c": variable("3", path="/other")}
    assert module.left_over({"a": 1}, running, "/f", []) == {"b": "2"}
    # The server takes our file for the place of what stands below its include.
    below = Said("b", "2", "/my.cnf:9", True)
    assert module.left_over({"a": 1}, running, "/f", [below]) == {}


@pytest.mark.parametrize(
    ("name", "value", "variable"),
    [
        ("log_bin", False, "log_bin"),
        ("skip-log-bin", True, "log_bin"),
        ("binlog-format", "MIXED", "binlog_format"),
        ("binlog_do_db", "_one", "binlog_do_db"),
        ("loose_wsrep_on", "ON", "wsrep_on"),
    ],
)
def test_what_no_fleet_can_live_with_is_no_setting_of_the_inventory(
    name: str, value: object, variable: str
) -> None:
    why = REFUSED[variable][1]
    with pytest.raises(AnsibleFilterError, match=f" {name} .*{re.escape(why)}"):
        plan.mariadb_settings(2048, "reporting", 2, {}, {name: value})
    extra = {name: value, "max_connections": 7, "default_storage_engine": "Aria"}
    assert plan.takeable(extra) == {"max_connections": 7, "default_storage_engine": "Aria"}
    (found,) = plan.extra_problems([{"name": "erp1", "mariadb_extra": extra}])
    assert found["what"].startswith(f"{name} ")
    assert why in found["what"]


def test_preflight_reports_options_in_files_of_the_hosts() -> None:
    said = [("sync_binlog", "0", "/etc/mysql/my.cnf:9", True), ("sql_mode", "ansi", "/z:1", True)]
    host = {
        "name": "rep1",
        "groups": ["mariadb_replica"],
        "mariadb_plan": {"sync_binlog": 1, "log_bin": "binlog", "server_id": None},
        "restart_confirmed": False,
        "survey": {
            "database": {
                "options": {
                    "trouble": "",
                    "own": "/f/99.cnf",
                    "said": said,
                    "running": {"log_bin": variable("OFF", fixed="YES")},
                    "adopted": False,
                },
                "answers": {"sql_mode": "", "time_zone": "SYSTEM"},
            }
        },
    }
    found = plan.option_problems([host, {"name": "away", "survey": None}], "/f/99.cnf", False)
    assert [problem["place"] for problem in found] == ["/z:1", "/etc/mysql/my.cnf:9"]
    assert re.search(r"rep1: sync_binlog \w+ 0 ", found[1]["what"])
    assert "{sync_binlog: 0}`" in found[1]["remedy"]
    assert found[0]["remedy"] == remedy("/z:1")
    # The primary's own is what the nodes take over.
    host["groups"] = ["mariadb_primary"]
    assert len(plan.option_problems([host], "/f", False)) == 1
    # One that was adopted is not restarted unasked, at any run.
    host["survey"]["database"]["options"].update(adopted=True, said=[])
    assert plan.option_problems([host], "/f", True) == []
    (found_one,) = plan.option_problems([host], "/f", False)
    assert re.search(r"rep1,.* log_bin$", found_one["what"])
    host["restart_confirmed"] = True
    assert plan.option_problems([host], "/f", False) == []


@pytest.mark.parametrize(
    ("value", "text"), [(True, "1"), ("64M", "67108864"), ("it's", "'it''s'"), (1.5, "1.5")]
)
def test_literals(value: object, text: str) -> None:
    assert module.literal(value) == text


class OneServer:
    """Knows one data folder, and notes the other commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params: dict[str, str] = {}
        self.check_mode = False
        self.commands: list[str] = []

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        """Note a command."""
        self.commands.append(words[0])
        return 0, "", ""


@needs_mariadb
@pytest.mark.parametrize("roles", [plan.ROLES, plan.ROLES[::-1]])
def test_another_role_needs_no_restart(
    roles: tuple[str, ...], installed: Path, tmp_path: Path
) -> None:
    was, is_now = (plan.mariadb_settings(1024, role, 2) for role in roles)
    file = tmp_path / "former.cnf"
    file.write_text(plan.mariadb_cnf(was))
    values = plan.mariadb_values(is_now)
    server = MariaDB(installed, tmp_path)
    with (
        server.running(f"--defaults-file={file}"),
        connect(60, unix_socket=server.socket, user="root") as connection,
    ):
        open_one = Server(connection)
        before = running_variables(open_one)
        names = {
            *module.differences(values, before),
            *module.left_over(values, before, str(file), []),
        }
        keeper = module.Keeper(OneServer(tmp_path))  # type: ignore[arg-type]
        keeper.module.params = {"settings": values, "runtime": []}
        assert {name for name in names if not keeper.set_global(open_one, name)} == set()
        after = running_variables(open_one)
        assert module.differences(values, after) == {}
        assert module.left_over(values, after, str(file), []) == {}
        strict = "OFF" if is_now.get("innodb_strict_mode") else "ON"
        assert after["innodb_strict_mode"]["value"] == strict


def test_system_tables_are_made_in_an_empty_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = OneServer(tmp_path)
    monkeypatch.setattr(module, "data_folder", lambda: str(server.folder))
    keeper = module.Keeper(server)  # type: ignore[arg-type]
    keeper.fill_empty_folder()
    assert server.commands == ["mariadb-install-db"]
    (tmp_path / "ibdata1").touch()
    keeper.fill_empty_folder()
    server.folder = tmp_path / "absent"
    keeper.fill_empty_folder()
    assert server.commands == ["mariadb-install-db"]


def test_a_drop_in_that_systemd_has_not_read_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeModule:
        params: ClassVar[dict[str, str]] = {"service": "mariadb"}

    drop_in = "/etc/systemd/system/mariadb.service.d/benchfleet.conf"
    keeper = module.Keeper(FakeModule())
    monkeypatch.setattr(module.glob, "glob", lambda _: [drop_in])
    # What systemd says of a drop-in whose folder is new.
    assert keeper.unread({"NeedDaemonReload": "no", "DropInPaths": ""})
    assert not keeper.unread({"NeedDaemonReload": "no", "DropInPaths": f"/a.conf {drop_in}"})
    assert keeper.unread({"NeedDaemonReload": "yes", "DropInPaths": drop_in})


@pytest.mark.parametrize("role", plan.ROLES)
@pytest.mark.parametrize("mode", ["off", "available", "strict"])
def test_only_a_primary_waits_for_a_replica(role: str, mode: str) -> None:
    made = plan.mariadb_values(plan.mariadb_settings(2048, role, 2, semi_sync=mode))
    # A replica would wait for one of its own, at each transaction that it applies.
    waits = mode != "off" and role == "primary"
    assert made["rpl_semi_sync_master_enabled"] is waits
    assert made["rpl_semi_sync_slave_enabled"] is (mode != "off")
    assert made["rpl_semi_sync_master_wait_point"] == "AFTER_SYNC"
    if mode == "available":
        assert made["rpl_semi_sync_master_timeout"] == 1000
    if mode == "strict":
        assert made["rpl_semi_sync_master_timeout"] == 2**64 - 1


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="'on'"):
        plan.mariadb_settings(2048, "primary", 2, semi_sync="on")


def test_no_server_starts_its_replication_by_itself() -> None:
    """See module_utils/fleet/mariadb/received.py."""
    assert plan.mariadb_values(plan.mariadb_settings(2048, "primary", 2))["skip_slave_start"]
