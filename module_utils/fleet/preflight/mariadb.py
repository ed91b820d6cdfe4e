"""MariaDB on the hosts: its version, and settings that all servers of the fleet share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..bench.needs import numbers
from .hosts import primary_host, seen
from .problems import Host, Kind, Problem, Settings
from .versions import series

SUPPORTED_MARIADB = ("10.11", "11.4", "11.8")

INSTALLED = "{product} {version} is installed on {host}"
PROGRAM = "{program} on {host}"
DATABASE_NOT_MARIADB = Kind(
    "database_not_mariadb",
    f"{INSTALLED}, which is not MariaDB",
    PROGRAM,
    "move its data elsewhere and remove it; the fleet runs on MariaDB {supported}",
)
MARIADB_UNSUPPORTED = Kind(
    "mariadb_unsupported",
    f"{INSTALLED}, which is not supported",
    PROGRAM,
    "use MariaDB {supported} (the packages of this system have {packaged})",
)
REPLICA_OLDER = Kind(
    "replica_older",
    "the replica {host} would run MariaDB {version}, older than the primary's {primary_version}",
    "{system} on {host}, {primary_system} on {primary}",
    "a replica may be newer than its primary, never older: use the same release of the system on"
    " both",
)
SETTING_DIFFERS = Kind(
    "setting_differs_from_primary",
    "{name} is {value} for {host}, and {primary_value} for the primary {primary}: a report would"
    " have another result there",
    "mariadb_settings_extra of {host} in the inventory",
    "take it out, or set it for the primary: reporting nodes use the primary's value",
)
HOST_ZONES = (
    "the time zone of {host} is {zone}, and {primary_zone} on the primary {primary}: a report would"
    " show other days and hours there"
)
TIME_ZONE_DIFFERS = Kind(
    "time_zone_differs",
    HOST_ZONES,
    "/etc/localtime of {host}",
    "run `timedatectl set-timezone {wanted}` on {host}, and restart that host",
)
TIME_ZONE_DATA_DIFFERS = Kind(
    "time_zone_data_differs",
    HOST_ZONES,
    "/etc/localtime of {host}",
    "upgrade the package tzdata on {host} and {primary}, and restart {host}",
)
MARIADB_TIME_ZONE_DIFFERS = Kind(
    "mariadb_time_zone_differs",
    "time_zone of MariaDB is {zone} on {host}, and {primary_zone} on the primary {primary}: a"
    " report would show other days and hours there",
    "default_time_zone in a file below /etc/mysql, on {host} and {primary}",
    "take default_time_zone out of these files, set the wanted time zone on both hosts with"
    " `timedatectl set-timezone ZONE`, and restart them",
)


def mariadb_of(host: Host) -> str:
    """MariaDB series of a host: the installed one, else that of its system; "" if unknown."""
    database = (host["survey"] or {}).get("database", {})
    if database.get("version") and database.get("product") == "MariaDB":
        return series(database["version"])
    return str(host["system"].get("mariadb", ""))


def check_databases(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of the servers' versions: not supported, or older than the primary's."""
    for host, survey in seen(hosts):
        database = survey["database"]
        if not database.get("product"):
            continue
        facts = {key: database[key] for key in ("product", "version", "program")}
        facts |= {"host": host["name"], "supported": SUPPORTED_MARIADB}
        if database["product"] != "MariaDB":
            yield DATABASE_NOT_MARIADB.found(**facts)
        elif series(database["version"]) not in SUPPORTED_MARIADB:
            packaged = host["system"].get("mariadb", "unknown")
            yield MARIADB_UNSUPPORTED.found(**facts, packaged=packaged)
    primary = primary_host(hosts, settings)
    theirs = mariadb_of(primary) if primary else ""
    if primary is None or not theirs:
        return
    for host in hosts:
        ours = mariadb_of(host)
        if ours and host["name"] != primary["name"] and numbers(ours) < numbers(theirs):
            yield REPLICA_OLDER.found(
                host=host["name"],
                version=ours,
                system=f"{host['distribution']} {host['version']}",
                primary=primary["name"],
                primary_version=theirs,
                primary_system=f"{primary['distribution']} {primary['version']}",
            )


def memory_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """Warnings of tables in memory on the primary: they break replication after a restart."""
    primary = primary_host(hosts, settings)
    if not primary or not primary["survey"] or not settings["groups"].get("mariadb_replica"):
        return []
    tables = primary["survey"]["database"]["memory_tables"]
    return [
        f"Tables with ENGINE=MEMORY in MariaDB of {primary['name']}: {', '.join(tables)}. They lose"
        " their rows at each restart, and are empty in the first copy of the data on a reporting"
        " node. Replication stops there at the first missing row, or when such a table is opened."
        " Convert each of them on the primary (this removes its rows, as a restart does):"
        " `TRUNCATE TABLE NAME; ALTER TABLE NAME ENGINE=InnoDB;`"
    ] * bool(tables)


def known_answers(host: Host) -> dict[str, Any]:
    """Settings of a host's MariaDB that change results of queries, without unknown ones."""
    answers = ((host.get("survey") or {}).get("database") or {}).get("answers") or {}
    return {name: value for name, value in answers.items() if value is not None}


def shared_settings(primary: Host, host: Host) -> dict[str, Any]:
    """Settings that a reporting node takes from the primary's MariaDB and from this run.

    Where the primary has MariaDB's default, a setting is taken only if the node's value differs.
    Where the primary's server does not answer, the node keeps what it has taken before: without
    these settings it would restart.
    """
    theirs, mine = known_answers(primary), known_answers(host)
    database = (host.get("survey") or {}).get("database") or {}
    taken = database.get("taken") or {}
    if not theirs:
        wanted = dict(taken)
    else:
        usual = primary["survey"]["database"].get("usual") or []
        wanted = {
            name: value
            for name, value in theirs.items()
            if name not in usual or name in taken or mine.get(name, value) != value
        }
    wanted.pop("time_zone", None)
    newest = SUPPORTED_MARIADB[-1]
    if (mariadb_of(host) == newest) is (mariadb_of(primary) == newest):
        # Only the newest series has it; between two of the same series it needs no setting.
        wanted.pop("character_set_collations", None)
    return wanted | primary_extra(primary)


def primary_extra(primary: Host) -> dict[str, Any]:
    """Settings in the primary's mariadb_settings_extra that reporting nodes take as well."""
    extra = extra_settings(primary)
    shared = primary["survey"]["database"]["answers"] if primary.get("survey") else {}
    return {name: extra[name] for name in shared if name in extra and name != "time_zone"}


def extra_settings(host: Host) -> dict[str, Any]:
    """mariadb_settings_extra by the variables' names; {} where it is not a map.

    Such a value is reported as variable_type.
    """
    extra = host.get("mariadb_extra")
    if not isinstance(extra, Mapping):
        return {}
    return {str(name).replace("-", "_"): value for name, value in extra.items()}


def check_shared(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of settings and time zones of reporting nodes that would change reports."""
    primary = primary_host(hosts, settings)
    if primary is None or not primary["survey"]:
        return
    wanted = known_answers(primary) | primary_extra(primary)
    shared = primary["survey"]["database"]["answers"]
    for host, _survey in seen(hosts):
        if host["name"] == primary["name"]:
            continue
        for name, value in extra_settings(host).items():
            theirs = wanted.get(name, "unset")
            if name in shared and comparable(value) != comparable(theirs):
                yield SETTING_DIFFERS.found(
                    name=name,
                    value=value,
                    host=host["name"],
                    primary_value=theirs,
                    primary=primary["name"],
                )
        yield from zone_problems(host, primary)


def comparable(value: Any) -> str:
    """A setting's value as text that is the same for ON, true and 1."""
    text = str(value).strip().lower()
    return {"on": "1", "true": "1", "off": "0", "false": "0"}.get(text, text)


def server_zone(survey: Mapping[str, Any]) -> str:
    """time_zone of a host's MariaDB; SYSTEM where it is not installed yet."""
    return str(survey["database"].get("answers", {}).get("time_zone") or "SYSTEM")


def zone_offsets(host: Host) -> Any:
    """Offsets of MariaDB's time zone over two years; its name where they are not known."""
    zone, system = server_zone(host["survey"]), host["survey"]["time_zone"]
    offsets = system["offsets"]
    if zone in ("SYSTEM", system["name"]):
        return offsets
    fixed = re.fullmatch(r"([+-])(\d\d?):(\d\d)", zone)
    if not fixed:
        return zone
    seconds = int(fixed[2]) * 3600 + int(fixed[3]) * 60
    return [-seconds if fixed[1] == "-" else seconds] * len(offsets)


def zone_problems(host: Host, primary: Host) -> Iterator[Problem]:
    """Problems where the time zone of a reporting node, or of its MariaDB, is not the primary's."""
    here, there = host["survey"]["time_zone"], primary["survey"]["time_zone"]
    names = {"host": host["name"], "primary": primary["name"]}
    if here["offsets"] != there["offsets"]:
        zones = {"zone": here["name"] or "unnamed", "primary_zone": there["name"] or "unnamed"}
        if here["name"] == there["name"]:
            yield TIME_ZONE_DATA_DIFFERS.found(**names, **zones)
        else:
            yield TIME_ZONE_DIFFERS.found(**names, **zones, wanted=there["name"] or "ZONE")
    ours, theirs = (server_zone(h["survey"]) for h in (host, primary))
    # Where both servers use their host's zone, the hosts' difference is reported above.
    if {ours, theirs} != {"SYSTEM"} and zone_offsets(host) != zone_offsets(primary):
        yield MARIADB_TIME_ZONE_DIFFERS.found(**names, zone=ours, primary_zone=theirs)
