"""The database server that becomes the fleet's primary."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from ..mariadb import conflicts, options
from ..mariadb.server import SOCKET, client
from ..preflight.problems import Host, Kind, Problem, Settings
from ..processes import Done, run
from .host import Found
from .notices import Notice, NoticeKind

# Names that the fleet gives to accounts and to a database of its own.
OUR_ACCOUNTS = ("repl", "fleet_probe", "fleet_heartbeat")
OUR_DATABASE = "benchfleet"


def sql(statements: str) -> Done:
    """Run statements as the server's root by its socket; no process list shows them."""
    arguments = ["--user=root", "--default-character-set=utf8mb4", "--batch", "-N"]
    return run(client("mariadb", *arguments), statements)


def answers(*statements: str) -> list[list[str]]:
    """The lines that the server answers to each statement, by one call of its client.

    After one that fails, nothing more is asked: the others have no lines.
    """
    between = "-- benchfleet: the next answer --"
    asked = sql(f";\nSELECT '{between}';\n".join(statements))
    found: list[list[str]] = [[]]
    for line in asked.stdout.splitlines():
        if line == between:
            found.append([])
        else:
            found[-1].append(line)
    return found + [[] for _ in statements[len(found) :]]


def look_at_database() -> dict[str, Any]:
    """The state of the server: trouble is why root cannot sign in, or "".

    accounts, databases: names. asleep: enabled events that do not run now. follows: whether it is a
    replica. settings: those of its option files.
    """
    asked = sql(
        "SELECT CONCAT('account ', user, '@', host) FROM mysql.user;"
        "SELECT CONCAT('database ', SCHEMA_NAME) FROM information_schema.SCHEMATA;"
        "SELECT CONCAT('log_bin ', @@GLOBAL.log_bin);"
        "SELECT CONCAT('read_only ', @@GLOBAL.read_only);"
        "SELECT CONCAT('asleep ', EVENT_SCHEMA, '.', EVENT_NAME) FROM information_schema.EVENTS"
        " WHERE STATUS = 'ENABLED' AND @@GLOBAL.event_scheduler <> 'ON';"
    )
    follows = sql("SHOW ALL SLAVES STATUS")
    found: dict[str, list[str]] = {}
    for line in asked.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return {
        "trouble": "".join(
            done.stderr.strip() or "no answer" for done in (asked, follows) if done.returncode != 0
        ),
        "accounts": found.get("account", []),
        "databases": found.get("database", []),
        "log_bin": found.get("log_bin") == ["1"],
        "read_only": found.get("read_only") == ["1"],
        "asleep": found.get("asleep", []),
        "follows": bool(follows.stdout.strip()),
        "settings": options.server_options(),
    }


ROOT_REFUSED = Kind(
    "adopt_root_refused",
    "root cannot sign in to MariaDB of {host} by its socket: {trouble}",
    "{socket} on {host}",
    "start the server. If root has only a password, allow the socket beside it: `ALTER USER"
    " root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('...')`",
)
FOLLOWS = Kind(
    "adopt_server_follows",
    "MariaDB of {host} is the replica of another server",
    "SHOW ALL SLAVES STATUS on {host}",
    "adopt the server that takes the writes",
)
READ_ONLY = Kind(
    "adopt_server_read_only",
    "MariaDB of {host} is read-only",
    "@@read_only on {host}",
    "adopt the server that takes the writes",
)
NAMES_TAKEN = Kind(
    "adopt_names_taken",
    "MariaDB of {host} already has accounts or a database with names of the fleet: {names}",
    "mysql.user and databases on {host}",
    "rename or drop them",
)
ACCOUNTS_BY_NAME = Kind(
    "adopt_accounts_by_name",
    "accounts of MariaDB that sign in from a host's name: {accounts}",
    "mysql.user on {host}",
    "servers of a fleet resolve no names: RENAME USER to the same with an address, or set"
    " mariadb_settings_extra: {{skip_name_resolve: false}}",
)
MARIADB_PORT = Kind(
    "adopt_mariadb_port",
    "MariaDB of {host} has port {port}, but fleet_mariadb_port is {wanted}",
    "option files of MariaDB on {host}",
    "set fleet_mariadb_port to {port} in the inventory",
)


def check_database(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """Root can sign in to MariaDB, which takes writes and has none of the fleet's names."""
    name, database = host["name"], found["database"]
    if database["trouble"]:
        yield ROOT_REFUSED.found(host=name, trouble=database["trouble"], socket=SOCKET)
        return
    if database["follows"] or database["read_only"]:
        yield (FOLLOWS if database["follows"] else READ_ONLY).found(host=name)
    clashes = [a for a in database["accounts"] if a.rpartition("@")[0] in OUR_ACCOUNTS]
    clashes += [f"database {OUR_DATABASE}"] * (OUR_DATABASE in database["databases"])
    if clashes:
        yield NAMES_TAKEN.found(host=name, names=clashes)
    by_name = [a for a in database["accounts"] if is_host_name(a.rpartition("@")[2])]
    if by_name and host["mariadb_plan"].get("skip_name_resolve"):
        yield ACCOUNTS_BY_NAME.found(host=name, accounts=by_name)
    port, wanted = database["settings"].get("port", "3306"), settings["ports"]["mariadb"]
    if port != str(wanted):
        yield MARIADB_PORT.found(host=name, port=port, wanted=wanted)


def is_host_name(host: str) -> bool:
    """Whether an account's host is a name that a server would have to resolve."""
    if host in ("localhost", "") or "%" in host or "/" in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


SETTINGS_OVERRIDDEN = NoticeKind(
    "settings_overridden",
    "settings of MariaDB's own files that the fleet's file replaces: {settings}."
    " mariadb_settings_extra keeps yours",
)
EVENTS_BEGIN = NoticeKind(
    "events_begin",
    "MariaDB of {host} runs no events now (event_scheduler); these enabled events begin to run:"
    " {events}. `ALTER EVENT NAME DISABLE` stops one",
)


def overridden_notices(host: Host, found: Found) -> Iterator[Notice]:
    """Settings in the server's own files that ours replace, as `name theirs -> ours`.

    Not event_scheduler: events run on the primary whatever any file says. A setting that wins over
    ours is a problem, reported as such.
    """
    plan, there = host["mariadb_plan"], host["survey"]["database"].get("options")
    lines = [options.Said(*entry) for entry in there["said"]] if there else []
    passed = {"event_scheduler", *(entry["name"] for entry in conflicts.beaten(plan, lines, {}))}
    theirs = found["database"]["settings"]
    lost = [
        f"{name} {theirs[name]} -> {conflicts.readable(value)}"
        for name, value in sorted(plan.items())
        if name in theirs
        and name not in passed
        and options.normal(theirs[name]) != options.normal(value)
    ]
    if lost:
        yield SETTINGS_OVERRIDDEN.found(settings=lost)


def event_notices(host: Host, found: Found) -> Iterator[Notice]:
    """Enabled events that did not run before."""
    if asleep := found["database"]["asleep"]:
        yield EVENTS_BEGIN.found(host=host["name"], events=asleep)
