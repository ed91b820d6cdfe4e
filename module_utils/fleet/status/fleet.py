"""The state of all servers of the fleet: the rows of `./fleet status`, and the fleet's verdict."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from ..systems import MARIADB
from .troubles import trouble

LEVELS = ("ok", "amber", "red")

# Names of tools in bench/cli.py → the name for people, and the variable that sets the release.
TOOLS = {
    "bench_cli": ("bench CLI", "bench_cli_version"),
    "uv": ("uv", "bench_uv_version"),
    "node": ("node", "bench_node_version"),
    "yarn": ("yarn", "bench_yarn_version"),
}


def fleet_name(inventory: str) -> str:
    """The fleet's name: that of its inventory's folder."""
    folder = inventory if os.path.isdir(inventory) else os.path.dirname(inventory)
    return os.path.basename(os.path.normpath(folder)) if folder else "fleet"


def worst(levels: list[str]) -> str:
    """The worst of levels, "ok" of none."""
    return max(levels, key=LEVELS.index, default="ok")


def row(
    host: str, about: dict[str, Any], problems: Iterable[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The status of a host; of one that could not be asked, the reason and its remedy."""
    if about.get("status"):
        return dict(about["status"])
    why, remedy = str(about.get("trouble") or "no answer"), {}
    for problem in problems:
        names = problem["facts"]["hosts"]
        if host in names:
            what = str(problem["what"]).removeprefix(f"{', '.join(names)}: ")
            why = f"{what} (id: {problem['id']})"
            remedy = {"remedy": problem["remedy"]}
    state = f"could not be asked: {' '.join(why.split())}"
    one = {**trouble("host_not_asked", state), "level": "red", **remedy}
    return {"host": host, "role": about["role"], "state": state, "level": "red", "troubles": [one]}


def in_service(entry: dict[str, Any], waiting: list[str]) -> str:
    """Whether a host answers calls.

    yes; drained by hand; waiting for an app of the sites; fallback: its reports read from the
    primary; no_web: no web process runs; no_answer: it could not be asked.
    """
    if "workers" not in entry:
        return "no_answer"
    if not (entry["workers"] or {"web": 1})["web"]:
        return "no_web"
    if entry["role"] == "primary":
        return "yes"
    if entry["host"] in waiting:
        return "waiting"
    if entry["drained"]:
        return "drained"
    return "fallback" if str(entry.get("reports_read")).startswith("primary") else "yes"


def with_service(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with ``in_service``; each node has ``drained``, and the primary no longer the lists.

    ``drained`` is null where the primary could not be asked.
    """
    known = [names for row in rows if (names := row.pop("drained", None)) is not None]
    waiting = [name for row in rows for name in row.pop("waiting", None) or []]
    for row in rows:
        if row["role"] == "reporting":
            row["drained"] = any(row["host"] in names for names in known) if known else None
        row["in_service"] = in_service(row, waiting)
    return rows


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What only the comparison of the hosts shows to be wrong: {id, what, level, remedy}."""
    asked = [row for row in rows if row["in_service"] != "no_answer"]
    ids = {row["host"]: {one["id"] for one in row["troubles"]} for row in rows}
    nodes = [row for row in rows if row["role"] == "reporting"]
    primary = [row for row in asked if row["role"] == "primary"]
    writers = [row["host"] for row in primary if "primary_closed" not in ids[row["host"]]]
    writers += [row["host"] for row in nodes if "read_only" in ids[row["host"]]]
    pool = any(row["in_service"] == "yes" for row in primary)
    found = []

    def add(name: str, level: str, what: str, remedy: str) -> None:
        found.append({**trouble(name, what), "level": level, "remedy": remedy})

    def doctor(hosts: list[str]) -> str:
        return "; ".join(f"`./fleet doctor {host}`" for host in hosts)

    if len(writers) > 1:
        what = f"more than one MariaDB takes writes: {', '.join(writers)}"
        add("two_primaries", "red", what, doctor(writers[len(primary) :] or writers))
    named = {
        row["host"]: f"{row['record']['primary']}, epoch {row['record']['epoch']}"
        for row in asked
        if row.get("record")
    }
    if len(set(named.values())) > 1:
        what = "the records of who is primary differ: " + "; ".join(
            f"{host} has {text}" for host, text in named.items()
        )
        add("records_alike", "red", what, "`systemctl reload benchfleet-record` on these hosts")
    # Of a primary that was not asked, it is not known to whom it sends reports.
    if primary and nodes and not answering(rows):
        out = [row["host"] for row in nodes if row["in_service"] == "drained"]
        whose = (
            "every node is drained" if len(out) == len(nodes) else "no node is known to answer them"
        )
        mend = "; ".join(f"`./fleet undrain {host}`" for host in out)
        mend = mend or doctor([row["host"] for row in nodes])
        if pool:
            add("reports_on_primary", "amber", f"the primary answers reports: {whose}", mend)
        else:
            what = f"no host answers reports: {whose}, and the primary's web workers are down"
            add("reports_unanswered", "red", what, mend)
    return found


def answering(rows: list[dict[str, Any]]) -> list[str]:
    """The reporting nodes that answer reports."""
    there = ("yes", "fallback")
    return [r["host"] for r in rows if r["role"] == "reporting" and r["in_service"] in there]


def verdict(inventory: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The fleet as a whole: the key ``fleet``, see module fleet_status."""
    troubles = compared(rows)
    # Of a host with an older status file, a trouble has no level.
    levels = [one.get("level", "red") for entry in rows for one in entry["troubles"]]
    levels += [one["level"] for one in troubles]
    return {
        "name": fleet_name(inventory),
        "inventory": inventory,
        "level": worst(levels),
        "problems": levels.count("red"),
        "warnings": levels.count("amber"),
        "troubles": troubles,
        "answer_reports": answering(rows),
    }


def taken_out(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The lists that hosts have under a key, taken out of their rows; with the host's name."""
    return [{"host": row["host"], **entry} for row in rows for entry in row.pop(key, None) or []]


def is_newer(one: str, other: str) -> bool:
    """Whether a release is newer than another, by its numbers."""
    numbers = [tuple(map(int, re.findall(r"[0-9]+", text))) for text in (one, other)]
    return numbers[0] > numbers[1]


def of_host(seen: dict[str, Any], release: dict[str, str]) -> list[dict[str, str]]:
    """The software of one host, in rows of ``versions`` without its hosts."""
    noted, form = seen["recorded"], str(seen["format"])
    rows = []
    for tool, (title, variable) in TOOLS.items():
        there, new = seen["tools"].get(tool, ""), release[tool]
        # The fleet may have a newer one than this Benchfleet installs.
        if there and not is_newer(new, there):
            new = there
        how = f"{variable}: {new} in the inventory, then site.yml"
        rows.append((title, there, str(noted.get(tool, "")), new, how))
    how = f"apt-get install --only-upgrade {MARIADB}, the reporting nodes first"
    packages = (seen["mariadb"], str(noted.get("mariadb", "")), seen["mariadb_candidate"])
    rows += [("MariaDB", *packages, how), ("fleet format", form, form, form, "")]
    return [
        {
            "software": software,
            "in_force": there,
            "recorded": recorded,
            "available": new,
            "upgrade": how if there and new != there else "",
        }
        for software, there, recorded, new, how in rows
    ]


def version_rows(hosts: dict[str, Any], release: dict[str, str]) -> list[dict[str, Any]]:
    """Releases in force and available; hosts with the same ones share a row.

    hosts: name -> the versions of node_status, None where they are unknown.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for host, seen in hosts.items():
        for entry in of_host(seen, release) if seen else ():
            found.setdefault(tuple(entry.values()), {**entry, "hosts": []})["hosts"].append(host)
    order = list(dict.fromkeys(entry["software"] for entry in found.values()))
    rows = sorted(found.values(), key=lambda entry: order.index(entry["software"]))
    columns = ("software", "hosts", "in_force", "recorded", "available", "upgrade")
    return [{column: entry[column] for column in columns} for entry in rows]


def status(
    inventory: str, hosts: dict[str, Any], release: dict[str, str], unasked: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Why no host could be asked, "" when one could, and what the module returns."""
    problems = unasked["problems"]
    rows = with_service([row(host, about, problems) for host, about in hosts.items()])
    versions = {entry["host"]: entry.pop("versions", None) for entry in rows}
    whole = verdict(inventory, rows)
    found = {
        "fleet": whole,
        "level": whole["level"],
        "status": rows,
        "versions": version_rows(versions, release),
        "file_systems": taken_out(rows, "file_systems"),
        "kept": taken_out(rows, "kept"),
        "slow": taken_out(rows, "slow"),
        "waits": taken_out(rows, "waits"),
        "problems": problems,
        "text": unasked["text"],
    }
    if any(about.get("status") for about in hosts.values()):
        return "", found
    return unasked["text"] or f"not asked: {', '.join(hosts) or 'no host'}", found
