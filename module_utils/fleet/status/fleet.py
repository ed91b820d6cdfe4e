"""The state of all servers of the fleet: the rows of `./fleet status`."""

from __future__ import annotations

import re
from typing import Any

from ..systems import MARIADB
from .troubles import trouble

# Names of tools in bench/cli.py → the name for people, and the variable that sets the release.
TOOLS = {
    "bench_cli": ("bench CLI", "bench_cli_version"),
    "uv": ("uv", "bench_uv_version"),
    "node": ("node", "bench_node_version"),
    "yarn": ("yarn", "bench_yarn_version"),
}


def row(host: str, about: dict[str, Any]) -> dict[str, Any]:
    """The status of a host; of one that could not be asked, the reason."""
    if about.get("status"):
        return dict(about["status"])
    why = " ".join(str(about.get("trouble") or "no answer").split())
    state = f"could not be asked: {why}"
    troubles = [trouble("host_not_asked", state)]
    return {"host": host, "role": about["role"], "state": state, "troubles": troubles}


def with_drained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, in which each node has ``drained``, and the primary no longer has the list.

    It is null where the primary could not be asked.
    """
    known = [names for row in rows if (names := row.pop("drained", None)) is not None]
    for row in rows:
        if row["role"] == "reporting":
            row["drained"] = any(row["host"] in names for names in known) if known else None
    return rows


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
    hosts: dict[str, Any], release: dict[str, str], unasked: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Why hosts could not be asked, "" when all could, and what the module returns."""
    rows = with_drained([row(host, about) for host, about in hosts.items()])
    versions = {entry["host"]: entry.pop("versions", None) for entry in rows}
    found = {
        "status": rows,
        "versions": version_rows(versions, release),
        "file_systems": taken_out(rows, "file_systems"),
        "kept": taken_out(rows, "kept"),
        "problems": unasked["problems"],
        "text": unasked["text"],
    }
    silent = [host for host, about in hosts.items() if not about.get("status")]
    return (unasked["text"] or f"not asked: {', '.join(silent)}") if silent else "", found
