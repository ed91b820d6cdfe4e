"""MariaDB on the hosts: its version, and settings that the fleet shares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..bench.needs import numbers
from .hosts import primary_host, seen
from .problems import Host, Problem, Settings, problem
from .versions import series

SUPPORTED_MARIADB = ("10.11", "11.4", "11.8")


def mariadb_of(host: Host) -> str:
    """MariaDB series of a host: the installed one, else what its system brings; "" if unknown."""
    database = (host["survey"] or {}).get("database", {})
    if database.get("version") and database.get("product") == "MariaDB":
        return series(database["version"])
    return str(host["system"].get("mariadb", ""))


def check_databases(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """An installed server is a MariaDB we know, and no replica is older than the primary."""
    for host, survey in seen(hosts):
        database = survey["database"]
        if not database.get("product"):
            continue
        version, system = f"{database['product']} {database['version']}", host["system"]
        good = f"MariaDB {', '.join(SUPPORTED_MARIADB)}"
        if database["product"] != "MariaDB":
            remedy = f"move its data elsewhere and remove it; the fleet runs on {good}"
        elif series(database["version"]) in SUPPORTED_MARIADB:
            continue
        else:
            remedy = f"use {good}"
            if system:
                remedy += f"; {host['distribution']} {system['release']} brings {system['mariadb']}"
        what = f"{version} is installed on {host['name']}"
        yield problem(what, f"{database['program']} on {host['name']}", remedy)
    primary = primary_host(hosts, settings)
    theirs = mariadb_of(primary) if primary else ""
    if primary is None or not theirs:
        return
    for host in hosts:
        ours = mariadb_of(host)
        if ours and host["name"] != primary["name"] and numbers(ours) < numbers(theirs):
            yield problem(
                f"the replica {host['name']} would run MariaDB {ours}, older than the "
                f"primary's {theirs}",
                f"{host['distribution']} {host['version']} on {host['name']}, "
                f"{primary['distribution']} {primary['version']} on {primary['name']}",
                "a replica may be newer than its primary, never older: use the same release "
                "of the system on both",
            )


def memory_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """Tables of the primary that a restart empties: a replica does not bear them."""
    primary = primary_host(hosts, settings)
    if not primary or not primary["survey"] or not settings["groups"].get("mariadb_replica"):
        return []
    tables = primary["survey"]["database"]["memory_tables"]
    return [
        f"tables of ENGINE=MEMORY in MariaDB of {primary['name']}: {', '.join(tables)}. A restart"
        " empties them, the copies on the reporting nodes have them empty from the start, and"
        " replication breaks there at the first row that is missing, or once one of them is opened."
        " Convert each of them there (its rows go, as at each restart): TRUNCATE TABLE NAME; ALTER"
        " TABLE NAME ENGINE=InnoDB;"
    ] * bool(tables)


def known_answers(host: Host) -> dict[str, Any]:
    """Settings by which the answers of a host's MariaDB come about, without those not known."""
    answers = ((host.get("survey") or {}).get("database") or {}).get("answers") or {}
    return {name: value for name, value in answers.items() if value is not None}


def shared_settings(primary: Host, host: Host) -> dict[str, Any]:
    """Settings that a reporting node takes over from the primary's MariaDB, with this run's own.

    Those that are MariaDB's defaults there are taken over only where the node differs. Where the
    primary's server does not answer, the node keeps what it has: to lose them, it would restart.
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
        # Only a newer server has it, and has it as the fleet's, beside one of its own age.
        wanted.pop("character_set_collations", None)
    return wanted | primary_extra(primary)


def primary_extra(primary: Host) -> dict[str, Any]:
    """What the inventory sets for the primary of the settings that reporting nodes take over."""
    extra = extra_settings(primary)
    shared = primary["survey"]["database"]["answers"] if primary.get("survey") else {}
    return {name: extra[name] for name in shared if name in extra and name != "time_zone"}


def extra_settings(host: Host) -> dict[str, Any]:
    """mariadb_settings_extra by the variables' names; what is no map is told with the types."""
    extra = host.get("mariadb_extra")
    if not isinstance(extra, Mapping):
        return {}
    return {str(name).replace("-", "_"): value for name, value in extra.items()}


def check_shared(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """No setting of a reporting node's own makes its reports say something else."""
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
                yield problem(
                    f"{name} is {value} for {host['name']}, and {theirs} for the primary "
                    f"{primary['name']}: a report would say something else there",
                    f"mariadb_settings_extra of {host['name']} in the inventory",
                    "take it out, or set it for the primary: the reporting nodes have the "
                    "primary's value",
                )
        yield from zone_problems(host, primary)


def comparable(value: Any) -> str:
    """A setting's value, so that ON, true and 1 are the same."""
    text = str(value).strip().lower()
    return {"on": "1", "true": "1", "off": "0", "false": "0"}.get(text, text)


def server_zone(survey: Mapping[str, Any]) -> str:
    """time_zone of a host's MariaDB; one that is not there yet will have its host's."""
    return str(survey["database"].get("answers", {}).get("time_zone") or "SYSTEM")


def zone_offsets(host: Host) -> Any:
    """The offsets of MariaDB's time zone through two years; its name where they are not known."""
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
    """The time zones of a reporting node and of its MariaDB are the primary's."""
    here, there = host["survey"]["time_zone"], primary["survey"]["time_zone"]
    name = host["name"]
    if here["offsets"] != there["offsets"]:
        remedy = f"run `timedatectl set-timezone {there['name'] or 'ZONE'}` on {name}"
        if here["name"] == there["name"]:
            remedy = f"upgrade the package tzdata on {name} and {primary['name']}"
        yield problem(
            f"the time zone of {name} is {here['name'] or 'unnamed'}, and "
            f"{there['name'] or 'unnamed'} on the primary {primary['name']}: a report would "
            "show other days and hours there",
            f"/etc/localtime of {name}",
            f"{remedy}, and restart that host",
        )
    ours, theirs = (server_zone(h["survey"]) for h in (host, primary))
    # What comes of the hosts' is told already.
    if {ours, theirs} != {"SYSTEM"} and zone_offsets(host) != zone_offsets(primary):
        yield problem(
            f"time_zone of MariaDB is {ours} on {name}, and {theirs} on the primary "
            f"{primary['name']}: a report would show other days and hours there",
            f"default_time_zone in a file below /etc/mysql, on {name} and {primary['name']}",
            "take default_time_zone out of these files, give both hosts the wanted time zone "
            "by `timedatectl set-timezone ZONE`, and restart them",
        )
