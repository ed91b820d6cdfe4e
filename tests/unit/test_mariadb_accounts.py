"""Accounts as text: hashes, grants, what a change needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fleet.mariadb import accounts, statements
from fleet.mariadb import options as mariadb_options
from fleet.mariadb import server as mariadb
from fleet.mariadb.statements import grant_statements


def test_every_client_takes_rows_of_any_size() -> None:
    command = mariadb.client("mariadb-dump", "--databases", "d")
    assert "--max-allowed-packet=1073741824" in command
    assert command[0] == "mariadb-dump"
    assert command[-2:] == ["--databases", "d"]
    root = Path(__file__).parents[2]
    files = [path for name in ("library", "module_utils") for path in (root / name).rglob("*.py")]
    starts = re.compile(r"""["']mariadb(?:-dump)?["'],\s*["']--no-defaults""")
    # That one asks for single values alone.
    assert sorted({p.name for p in files if starts.search(p.read_text())}) == ["by_client.py"]


def test_the_servers_folders_are_those_of_its_option_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mariadb, "BINARY", str(tmp_path / "mariadbd"))
    assert mariadb.server_folders() == []
    (tmp_path / "mariadbd").touch()
    program = tmp_path / "my_print_defaults"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    # The server's own could not reach into the test's folder.
    monkeypatch.setattr(mariadb_options, "ACCOUNT", "nobody-of-the-kind")
    for text, folders in (
        ("--port=1", ["/var/lib/mysql", "/tmp"]),
        ("--datadir=/a\n--datadir=/srv/db/\n--tmpdir=/srv/t:/u", ["/srv/db", "/srv/t"]),
    ):
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)
        assert [path for path, _ in mariadb.server_folders()] == folders


def test_password_hash_is_the_servers() -> None:
    assert statements.password_hash("password") == "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"


def test_create_user_is_read_whole() -> None:
    text = (
        "CREATE USER `a_ro`@`10.0.0.2` IDENTIFIED BY PASSWORD"
        " '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19' REQUIRE SSL"
        " WITH MAX_USER_CONNECTIONS 50 MAX_STATEMENT_TIME 600.000000"
    )
    assert statements.parse_create_user(text) == {
        "hashes": ["*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"],
        "require_ssl": True,
        "max_user_connections": 50,
        "max_statement_time": 600.0,
        "locked": False,
    }


def test_locked_definer_equals_its_wanted_state() -> None:
    shown = "CREATE USER `h`@`localhost` IDENTIFIED BY PASSWORD 'invalid' ACCOUNT LOCK"
    entry = {
        "password": None,
        "require_ssl": False,
        "max_user_connections": 0,
        "max_statement_time": 0,
    }
    assert statements.parse_create_user(shown) == accounts.wanted_state(entry)


def test_grants_are_read_by_object() -> None:
    lines = [
        "GRANT USAGE ON *.* TO `a`@`h` IDENTIFIED BY PASSWORD '*X'",
        "GRANT SELECT, SHOW VIEW ON `a\\_b`.* TO `a`@`h`",
        "GRANT ALL PRIVILEGES ON `c`.* TO `a`@`h` WITH GRANT OPTION",
        "GRANT PROXY ON ''@'%' TO 'a'@'h'",
    ]
    found = statements.parse_grants(lines)
    assert found["`a\\_b`.*"] == {"SELECT", "SHOW VIEW"}
    assert found["`c`.*"] == {"ALL PRIVILEGES", "GRANT OPTION"}
    assert "*.*" not in found


@pytest.mark.parametrize(
    ("have", "want", "statements"),
    [
        ({}, {"`d`.*": {"SELECT"}}, ["GRANT SELECT ON `d`.* TO u"]),
        ({"`d`.*": {"SELECT"}}, {"`d`.*": {"SELECT"}}, []),
        ({"`d`.*": {"INSERT", "SELECT"}}, {"`d`.*": {"SELECT"}}, ["REVOKE INSERT ON `d`.* FROM u"]),
        ({"`d`.*": {"SELECT"}}, {}, ["REVOKE SELECT ON `d`.* FROM u"]),
        (
            {"`d`.*": {"ALL PRIVILEGES"}},
            {"`d`.*": {"SELECT"}},
            ["REVOKE ALL PRIVILEGES ON `d`.* FROM u", "GRANT SELECT ON `d`.* TO u"],
        ),
    ],
)
def test_statements_are_the_difference(
    have: dict[str, set[str]], want: dict[str, set[str]], statements: list[str]
) -> None:
    assert grant_statements("u", have, want) == statements


def test_wildcards_in_database_names_are_escaped() -> None:
    assert statements.database_pattern("_1bd3%x") == "`\\_1bd3\\%x`.*"


def test_summary_keeps_secrets() -> None:
    entry = {
        "password": "hunter2",
        "require_ssl": True,
        "max_user_connections": 1,
        "max_statement_time": 2,
    }
    state = accounts.wanted_state(entry)
    line = accounts.summary("a@h", state, {"*.*": {"REPLICATION SLAVE"}}, True)
    assert (
        line == "a@h; TLS only; 1 connections; 2 s per statement; another password;"
        " REPLICATION SLAVE on *.*"
    )
    assert "hunter2" not in accounts.options_clause(state)


def test_gtids_and_errant_transactions() -> None:
    assert mariadb.parse_gtids("0-1-5,\n0-2-9,0-1-7") == {(0, 1): 7, (0, 2): 9}
    assert mariadb.parse_gtids(None) == {}
    assert mariadb.errant("0-1-90", "0-1-100") == []
    assert mariadb.errant("0-1-90,0-2-91", "0-1-100") == ["0-2-91"]
    assert mariadb.errant("0-1-90,0-2-5", "0-1-100,0-2-5") == []


class FakeServer:
    """Answers from a table, keeps what was run."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers
        self.ran: list[str] = []

    def value(self, sql: str, args: object = None) -> object:
        return self.answers.get(sql)

    def rows(self, sql: str, args: object = None) -> list[dict[str, object]]:
        found = self.answers.get(sql, [])
        return found if isinstance(found, list) else []

    def run(self, sql: str, args: object = None) -> None:
        self.ran.append(sql)


def test_nothing_is_written_on_a_closed_server() -> None:
    server = FakeServer({"SELECT @@GLOBAL.read_only": 1})
    with pytest.raises(mariadb.MariaDBError, match="`read_only`"):
        accounts.Writer(server, False).write(["DROP USER x"])
    assert server.ran == []


def test_check_mode_writes_nothing() -> None:
    server = FakeServer({"SELECT @@GLOBAL.read_only": 0})
    accounts.Writer(server, True).write(["DROP USER x"])
    assert server.ran == []


def test_with_an_account_its_sessions_end() -> None:
    server = FakeServer({"SELECT @@GLOBAL.read_only": 0})
    accounts.AccountKeeper(server, False).drop("repl", "10.0.0.5")
    who = "`repl`@`10.0.0.5`"
    # In this order: a session that ended first could come back.
    assert server.ran == [f"DROP USER IF EXISTS {who}", f"KILL CONNECTION USER {who}"]


HASH = "*" + "0A" * 20


@pytest.mark.parametrize(
    ("plugin", "secret", "takes"),
    [
        ("mysql_native_password", HASH, True),
        # Anybody signs in by an empty one, who types nothing.
        ("mysql_native_password", "", True),
        ("mysql_native_password", "invalid", False),
        ("unix_socket", "", False),
        ("ed25519", "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY", True),
    ],
)
def test_a_password_is_told_from_none(plugin: str, secret: str, takes: bool) -> None:
    assert mariadb.takes_password({"plugin": plugin, "authentication_string": secret}) == takes
    # An empty way stands for the account's first one.
    assert not mariadb.takes_password({})
