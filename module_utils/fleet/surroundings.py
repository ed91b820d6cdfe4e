"""What else has a say on a host: packet filters that are not ours, there and on the way.

Reads only. Where there is a program that reads the rules itself, that is asked: ufw, nft.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .foreign import read_bytes
from .processes import Run, run


def read(path: str) -> str:
    """A text file's content, "" for what is none, or no file of a usual size.

    Some are the bench account's, which may put a pipe in their place at any moment.
    """
    try:
        data = read_bytes(path, 1024**2)
    except OSError:
        return ""
    return "" if b"\0" in data else data.decode(errors="replace")


def look_at_filters(run: Run = run) -> list[str]:
    """Packet filters of this host that drop what no rule of theirs lets in, by their tools' names.

    ufw and firewalld, where one of them is active; else iptables, and the chains of nftables as
    ``nftables, chain inet filter input``.
    """
    if re.search(r"^Status: active", run(["ufw", "status"]).stdout, re.MULTILINE):
        said = run(["ufw", "status", "verbose"]).stdout
        return ["ufw"] if re.search(r"^Default: (deny|reject) \(incoming\)", said, re.M) else []
    if run(["firewall-cmd", "--state"]).stdout.strip() == "running":
        return ["firewalld"]
    programs = ["iptables-nft"]
    # To ask about a table that the kernel does not have would make it.
    if "filter" in read("/proc/net/ip_tables_names").split():
        programs.append("iptables-legacy")
    if any(drops(run([program, "-S", "INPUT"]).stdout) for program in programs):
        return ["iptables"]
    found = []
    table = chain = ""
    chains = run(["nft", "list", "ruleset"]).stdout
    for line in chains.splitlines():
        if named := re.match(r"table (\S+ \S+) \{", line):
            table = named[1]
        elif named := re.match(r"\s+chain (\S+) \{", line):
            chain = named[1]
        elif "hook input" in line and "policy drop" in line and table != "inet benchfleet":
            found.append(f"nftables, chain {table} {chain}")
    return found


def drops(rules: str) -> bool:
    """Whether an INPUT chain of iptables drops or refuses what nothing before has let in."""
    last = rules.strip().splitlines()[-1:] or [""]
    return "-P INPUT DROP" in rules or bool(re.fullmatch(r"-A INPUT -j (DROP|REJECT).*", last[0]))


def filtered(address: str, port: int, seconds: float) -> bool:
    """Whether something drops what is sent to a port. One that nobody listens on is none such."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return False


def look_at_ways(ways: Iterable[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Of {address, port} those that something on the way drops."""
    wanted = [{"address": str(way["address"]), "port": int(way["port"])} for way in ways]
    if not wanted:
        return []
    with ThreadPoolExecutor(len(wanted)) as tries:
        dropped = tries.map(lambda way: filtered(way["address"], way["port"], seconds), wanted)
        return [way for way, is_dropped in zip(wanted, dropped, strict=True) if is_dropped]
