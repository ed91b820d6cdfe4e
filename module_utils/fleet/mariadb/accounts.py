"""Accounts, grants and the fleet's own database: only what differs from the server is changed."""

from __future__ import annotations

import re
from typing import Any

from ..changes import Changes
from .server import DEFINERS, MariaDBError, Server, has_database, local
from .statements import (
    account,
    grant_statements,
    identified,
    parse_create_user,
    parse_grants,
    password_hash,
    quote_name,
)

ACCOUNT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "besides": {"type": "str", "no_log": True},
    "require_ssl": {"type": "bool", "default": False},
    "max_statement_time": {"type": "float", "default": 0.0},
    "max_user_connections": {"type": "int", "default": 0},
    "grants": {"type": "dict", "default": {}},
}
EVENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "every_seconds": {"type": "int", "required": True},
    "definer": {"type": "str", "required": True},
    "body": {"type": "str", "required": True},
}
DATABASE_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "tables": {"type": "dict", "default": {}},
    "events": {"type": "list", "elements": "dict", "default": [], "options": EVENT_SPEC},
}


LOCKED = "locked, because views, triggers, routines or events run as it"


def wanted_state(entry: dict[str, Any]) -> dict[str, Any]:
    """A wanted account in the form that parse_create_user returns."""
    accepted = [entry["password"], entry.get("besides")]
    return {
        "hashes": [password_hash(one) for one in accepted if one],
        "require_ssl": entry["require_ssl"],
        "max_user_connections": entry["max_user_connections"],
        "max_statement_time": float(entry["max_statement_time"]),
        "locked": not entry["password"],
    }


def options_clause(state: dict[str, Any]) -> str:
    """What follows the name in CREATE USER and ALTER USER."""
    return (
        f"{identified(state['hashes'])} REQUIRE {'SSL' if state['require_ssl'] else 'NONE'}"
        f" WITH MAX_USER_CONNECTIONS {state['max_user_connections']}"
        f" MAX_STATEMENT_TIME {state['max_statement_time']:g}"
        f" ACCOUNT {'LOCK' if state['locked'] else 'UNLOCK'}"
    )


def summary(
    name: str, state: dict[str, Any], grants: dict[str, set[str]], other_password: bool
) -> str:
    """One account as a line of a diff, without anything secret."""
    parts = [name]
    if state["locked"]:
        parts.append("locked")
    if state["require_ssl"]:
        parts.append("TLS only")
    if state["max_user_connections"]:
        parts.append(f"{state['max_user_connections']} connections")
    if state["max_statement_time"]:
        parts.append(f"{state['max_statement_time']:g} s per statement")
    if len(state["hashes"]) > 1:
        parts.append(f"{len(state['hashes'])} passwords")
    if other_password:
        parts.append("another password")
    parts += [f"{', '.join(sorted(grants[place]))} on {place}" for place in sorted(grants)]
    return "; ".join(parts)


class Writer(Changes):
    """Runs statements, but not on a read-only server; keeps nothing secret."""

    def __init__(self, server: Server, check_mode: bool) -> None:
        super().__init__()
        self.server = server
        self.check_mode = check_mode

    def write(self, statements: list[str]) -> None:
        """Run statements unless in check mode. Raises MariaDBError on a read-only server."""
        if self.check_mode or not statements:
            return
        self.refuse_closed()
        for statement in statements:
            self.server.run(statement)

    def refuse_closed(self) -> None:
        """Raise MariaDBError on a read-only server."""
        if int(self.server.value("SELECT @@GLOBAL.read_only")):
            raise MariaDBError(
                "this server is `read_only`, so it is not the fleet's primary: accounts are made on"
                " the primary only; here they would be an errant transaction"
            )


class AccountKeeper(Writer):
    """Accounts with their limits and grants."""

    def current(self, user: str, host: str) -> tuple[dict[str, Any], dict[str, set[str]]] | None:
        """State and grants of an account, None when it does not exist."""
        if not self.server.value(
            "SELECT 1 FROM mysql.global_priv WHERE User = %s AND Host = %s", (user, host)
        ):
            return None
        who = account(user, host)
        created = self.server.value(f"SHOW CREATE USER {who}")
        grants = [next(iter(row.values())) for row in self.server.rows(f"SHOW GRANTS FOR {who}")]
        return parse_create_user(str(created)), parse_grants([str(line) for line in grants])

    def bring(self, wanted: list[dict[str, Any]]) -> None:
        """Create or change the accounts.

        With ``keep_second``, an account keeps a second password that it accepts besides its own.
        """
        for entry in wanted:
            who = account(entry["name"], entry["host"])
            name = f"{entry['name']}@{entry['host']}"
            state = wanted_state(entry)
            grants = {
                place: {privilege.upper() for privilege in privileges}
                for place, privileges in entry["grants"].items()
            }
            found = self.current(entry["name"], entry["host"])
            had, have = found or ({"hashes": []}, {})
            kept = entry.get("keep_second") and state["hashes"][0] in had["hashes"]
            # The order in which the server tries passwords does not matter.
            if kept or {*had["hashes"]} == {*state["hashes"]}:
                state["hashes"] = had["hashes"]
            statements = grant_statements(who, have, grants)
            if had != state:
                verb = "ALTER" if found else "CREATE"
                statements.insert(0, f"{verb} USER {who} {options_clause(state)}")
            if not statements:
                continue
            if found:
                self.before.append(summary(name, had, have, False))
            other_password = bool(found) and had["hashes"] != state["hashes"]
            self.after.append(summary(name, state, grants, other_password))
            self.write(statements)

    def drop(self, user: str, host: str) -> bool:
        """Drop one account and end its sessions; lock it while something runs as it (DEFINERS).

        The session of a replica whose host is dead or blocked would last for a quarter of an hour,
        and a server that is being stopped waits a minute for it. Returns whether the account is
        gone.
        """
        who, name = account(user, host), f"{user}@{host}"
        needed = name in {row["who"] for row in self.server.rows(DEFINERS)}
        found = self.current(user, host) if needed else None
        if found and found[0]["locked"]:
            return False
        self.before.append(name)
        if found:
            self.after.append(f"{name}; {LOCKED}")
        end = f"ALTER USER {who} ACCOUNT LOCK" if found else f"DROP USER IF EXISTS {who}"
        self.write([end, f"KILL CONNECTION USER {who}"])
        return not found

    def drop_others(self, wanted: list[dict[str, Any]], names: list[str]) -> None:
        """Drop accounts with these user names for hosts that are not wanted."""
        kept = {(entry["name"], entry["host"]) for entry in wanted}
        for name in names:
            for row in self.server.rows(
                "SELECT Host AS host FROM mysql.global_priv WHERE User = %s ORDER BY Host", (name,)
            ):
                if (name, row["host"]) not in kept:
                    self.drop(name, row["host"])


class SchemaKeeper(Writer):
    """The fleet's own database, with its tables and events."""

    def make(self, title: str, statement: str) -> None:
        """Create one object."""
        self.after.append(title)
        self.write([statement])

    def databases(self, wanted: list[dict[str, Any]]) -> None:
        """Create databases and tables. Columns of an existing table are not compared."""
        for entry in wanted:
            name = entry["name"]
            if not has_database(self.server, name):
                charset = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
                statement = f"CREATE DATABASE IF NOT EXISTS {quote_name(name)} {charset}"
                self.make(f"database {name}", statement)
            rows = self.server.rows(
                "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
                (name,),
            )
            there = {row["name"] for row in rows}
            for table, columns in entry["tables"].items():
                if table not in there:
                    place = f"{quote_name(name)}.{quote_name(table)}"
                    statement = f"CREATE TABLE IF NOT EXISTS {place} ({columns}) ENGINE=InnoDB"
                    self.make(f"table {name}.{table}", statement)

    def events(self, wanted: list[dict[str, Any]]) -> None:
        """Create events with their interval, definer and body, enabled on this server."""
        events = ((entry["name"], event) for entry in wanted for event in entry["events"])
        for name, event in events:
            found = self.server.rows(
                "SELECT DEFINER AS definer, EVENT_DEFINITION AS body, STATUS AS status,"
                " INTERVAL_VALUE AS length, INTERVAL_FIELD AS unit"
                " FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s AND EVENT_NAME = %s",
                (name, event["name"]),
            )
            want = {
                "definer": f"{event['definer']}@localhost",
                "body": squeeze(event["body"]),
                "status": "ENABLED",
                "length": str(event["every_seconds"]),
                "unit": "SECOND",
            }
            title = f"event {name}.{event['name']}"
            have = {key: squeeze(str(value)) for row in found for key, value in row.items()}
            if have == want:
                continue
            if have:
                self.before.append(f"{title} {have}")
            self.make(
                f"{title} {want}",
                f"CREATE OR REPLACE DEFINER={account(event['definer'], 'localhost')}"
                f" EVENT {quote_name(name)}.{quote_name(event['name'])}"
                f" ON SCHEDULE EVERY {event['every_seconds']} SECOND ENABLE DO {event['body']}",
            )


def squeeze(text: str) -> str:
    """The text with single spaces instead of other white space, to compare statements."""
    return re.sub(r"\s+", " ", text).strip()


def bring(
    accounts: list[dict[str, Any]],
    owned_names: list[str],
    databases: list[dict[str, Any]],
    check_mode: bool,
) -> dict[str, Any]:
    """Result of the module mariadb_accounts, whose options these are. Raises MariaDBError."""
    with local() as server:
        schema, keeper = SchemaKeeper(server, check_mode), AccountKeeper(server, check_mode)
        schema.databases(databases)
        keeper.bring(accounts)
        keeper.drop_others(accounts, owned_names)
        schema.events(databases)
        gtid = server.value("SELECT @@GLOBAL.gtid_binlog_pos")
    schema.before += keeper.before
    schema.after += keeper.after
    return schema.result(gtid=gtid)
