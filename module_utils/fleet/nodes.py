"""Reporting nodes on the primary: drained or not, and what the primary still needs for one."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .calls import running_calls
from .foreign import read_bytes
from .mariadb.moving import USER
from .mariadb.server import local

# A call takes at most this long from the check whether its node is drained to the connection:
# nodes.lua takes 1.5 s to choose, and nginx 1 s to connect.
UNDECIDED_SECONDS = 2.6
# Folders of the marks in the state folder: drained by hand, and waiting for apps.
REASONS = ("drained", "waiting")


class DrainError(Exception):
    """A node still has calls; ``calls`` is their number."""

    def __init__(self, message: str, calls: int) -> None:
        super().__init__(message)
        self.calls = calls


def known_nodes(text: str) -> dict[str, tuple[str, int]]:
    """The address and the web port of each node in the router's file of nodes."""
    nodes = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 6 and fields[0] == "node":
            nodes[fields[1]] = (fields[2].strip("[]"), int(fields[3]))
    return nodes


def drained(state_dir: str) -> list[str]:
    """The reporting nodes to which the router of this host sends no calls, for any reason."""
    return sorted({mark.name for reason in REASONS for mark in Path(state_dir, reason).glob("*")})


def waiting(state_dir: str) -> list[str]:
    """Those of them that lack an app of the sites."""
    return sorted(mark.name for mark in Path(state_dir, REASONS[1]).glob("*"))


def counted(calls: int) -> str:
    """A number of calls as a text."""
    return "1 call" if calls == 1 else f"{calls} calls"


def wait(address: tuple[str, int], mark: Path, seconds: int) -> tuple[int, int, float]:
    """Wait until a node has no calls: (most at a time, those that still run, seconds waited)."""
    since = time.monotonic()
    undecided = since + UNDECIDED_SECONDS - max(0.0, time.time() - mark.stat().st_mtime)
    most, last = 0, since
    while True:
        calls = running_calls(*address)
        now = time.monotonic()
        most = max(most, calls)
        if calls:
            last = now
            if now - since > seconds:
                return most, calls, now - since
        elif now >= undecided:
            return most, 0, last - since
        time.sleep(0.1)


def mark_of(params: Mapping[str, Any]) -> Path:
    """The file that marks a node as drained."""
    return Path(params["state_dir"], REASONS[params["waiting"]], params["node"])


def drain(
    params: Mapping[str, Any], nodes: Mapping[str, tuple[str, int]], check_mode: bool
) -> dict[str, Any]:
    """Mark a node as drained, and wait until it has no calls: {changed, words, calls, waited}.

    params: those of module node_drain. Raises DrainError when calls take longer than ``seconds``.
    """
    node, mark = params["node"], mark_of(params)
    if params["known_only"] and node not in nodes:
        return {"changed": False, "words": f"the router sends {node} no calls"}
    changed = not mark.exists()
    others = {*nodes} - {node, *drained(params["state_dir"])}
    if check_mode:
        return {"changed": changed, "words": f"{node} would get no more calls" * changed}
    if changed:
        mark.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        mark.touch(mode=0o644)
    most = still = 0
    waited = 0.0
    if node in nodes:
        most, still, waited = wait(nodes[node], mark, params["seconds"])
    if still:
        raise DrainError(
            f"{node} gets no new calls, but after {waited:.0f} s it still has {counted(still)}."
            f" It stays drained: run the same command again to wait longer, or"
            f" `./fleet undrain {node} -i INVENTORY` to put it back",
            still,
        )
    message = f"{node} gets no more calls"
    if node not in nodes:
        message += "; the router does not know it yet: run site.yml"
    elif most:
        message += f"; it had {counted(most)}, which ended within {waited:.0f} s"
    else:
        message += "; it had none"
    if not others:
        message += (
            ". No reporting node is in service now: the primary answers reports itself,"
            " router_report_pool_calls at a time"
        )
    return {"changed": changed, "words": message, "calls": most, "waited": round(waited, 1)}


def undrain(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Remove a node's mark: {changed, words, reason}.

    reason: why it still gets no calls, one of REASONS, "" where it gets them.
    """
    node, mark = params["node"], mark_of(params)
    changed = mark.exists()
    if changed and not check_mode:
        mark.unlink(missing_ok=True)
    message, reason = f"{node} gets calls again" if changed else f"{node} was not drained", ""
    if changed and node in drained(params["state_dir"]):
        reason = REASONS[not params["waiting"]]
        why = {
            "drained": "it was drained by hand",
            "waiting": "it lacks an app of the sites: run site.yml, which installs it",
        }
        message = f"{node} still gets no calls: {why[reason]}"
    return {"changed": changed, "words": message, "reason": reason}


def read(path: str) -> str:
    """The text of a file; "" when there is none."""
    try:
        return read_bytes(path).decode(errors="replace")
    except OSError:
        return ""


def lacks(params: Mapping[str, Any], ruleset: str) -> dict[str, list[str]]:
    """What the primary still needs for a node, as sentences: {entrance, router}.

    params: those of module node_known. ruleset: the fleet's table of nft. Raises MariaDBError.
    """
    address, entrance = params["address"], []
    if not re.search(rf"(?<![\w.:]){re.escape(address)}(?![\w.:])", ruleset):
        entrance.append(f"its firewall does not let {address} in")
    with local() as server:
        found = server.value(
            "SELECT COUNT(*) FROM mysql.global_priv WHERE User = %s AND Host = %s", (USER, address)
        )
    if not found:
        entrance.append(f"its MariaDB has no account {USER}@{address}")
    entrance += [
        f"{entry['file']} lacks the node's key for {purpose}"
        for purpose, entry in params["authorized_keys"].items()
        if entry["key"] not in read(entry["file"])
    ]
    lines = read(params["nodes_file"]).splitlines()
    listed = any(line.split()[:2] == ["node", params["name"]] for line in lines)
    router = [] if listed else ["its router does not know the node"]
    return {"entrance": entrance, "router": router}
