"""The database server that goes on as the fleet's primary."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from ..mariadb import conflicts, options
from ..mariadb.server import SOCKET, client
from ..preflight.problems import Host, Problem, Settings, problem
from ..processes import Done, run
from .host import Found

# Names that the fleet gives to accounts and to a database of its own.
OUR_ACCOUNTS = ("repl", "fleet_probe", "fleet_heartbeat")
OUR_DATABASE = "benchfleet"


def sql(statements: str) -> Done:
    """Run statements as the server's root, on its socket; they are on no command line."""
    words = ["--user=root", "--default-character-set=utf8mb4", "--batch", "-N"]
    return run(client("mariadb", *words), statements)


def look_at_database() -> dict[str, Any]:
    """Whether root gets in, and what stands in the way of a fleet: see the keys."""
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
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
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


def check_database(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """Root gets into MariaDB by its socket, and nothing of the fleet's names is there."""
    name, database = host["name"], found["database"]
    if database["trouble"]:
        yield problem(
            f"MariaDB of {name} does not let root in by its socket: {database['trouble']}",
            f"{SOCKET} on {name}",
            "start the server; where root has a password only, give it the socket beside it: "
            "ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password "
            "USING PASSWORD('...')",
        )
        return
    if database["follows"] or database["read_only"]:
        yield problem(
            f"MariaDB of {name} "
            + ("follows another server" if database["follows"] else "is read-only"),
            f"SHOW ALL SLAVES STATUS, @@read_only on {name}",
            "adopt the server that takes the writes",
        )
    clashes = [a for a in database["accounts"] if a.rpartition("@")[0] in OUR_ACCOUNTS]
    clashes += [f"database {OUR_DATABASE}"] * (OUR_DATABASE in database["databases"])
    if clashes:
        yield problem(
            f"MariaDB of {name} already has what the fleet makes: {', '.join(clashes)}",
            f"mysql.user and databases on {name}",
            "rename or drop them",
        )
    by_name = [a for a in database["accounts"] if is_host_name(a.rpartition("@")[2])]
    if by_name and host["mariadb_plan"].get("skip_name_resolve"):
        yield problem(
            f"accounts that sign in by a host's name: {', '.join(by_name)}",
            f"mysql.user on {name}",
            "the fleet's servers resolve no names: RENAME USER to the same with an address, or set "
            "mariadb_settings_extra: {skip_name_resolve: false}",
        )
    port = database["settings"].get("port", "3306")
    if port != str(settings["ports"]["mariadb"]):
        yield problem(
            f"MariaDB of {name} has port {port}, and fleet_mariadb_port is "
            f"{settings['ports']['mariadb']}",
            f"option files of MariaDB on {name}",
            f"set fleet_mariadb_port to {port} in the inventory",
        )


def is_host_name(host: str) -> bool:
    """Whether an account's host is a name that a server would have to resolve."""
    if host in ("localhost", "") or "%" in host or "/" in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def overridden_words(host: Host, found: Found) -> Iterator[str]:
    """Settings in the server's own files that ours win over, as `name theirs -> ours`.

    Not event_scheduler: events run on the primary whatever any file says. What wins over ours is a
    problem, and told as such.
    """
    plan, there = host["mariadb_plan"], host["survey"]["database"].get("options")
    said = [options.Said(*entry) for entry in there["said"]] if there else []
    passed = {"event_scheduler", *(entry["name"] for entry in conflicts.beaten(plan, said, {}))}
    theirs = found["database"]["settings"]
    lost = [
        f"{name} {theirs[name]} -> {conflicts.readable(value)}"
        for name, value in sorted(plan.items())
        if name in theirs
        and name not in passed
        and options.normal(theirs[name]) != options.normal(value)
    ]
    if lost:
        yield (
            "settings of MariaDB's own files that ours win over: "
            f"{', '.join(lost)}. mariadb_settings_extra keeps yours"
        )


def event_words(host: Host, found: Found) -> Iterator[str]:
    """Events that were asleep."""
    if asleep := found["database"]["asleep"]:
        yield (
            f"events that are enabled begin to run, as MariaDB of {host['name']} runs none now"
            f" (event_scheduler): {', '.join(asleep)}. ALTER EVENT ... DISABLE stops one"
        )
