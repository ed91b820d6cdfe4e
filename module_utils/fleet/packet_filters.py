"""Packet filters that are not the fleet's, on a host and on the way between hosts.

Reads only. The programs that own the rules list them: ufw, firewall-cmd, iptables, nft.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .processes import Run, run


def look_at_filters(run: Run = run) -> list[str]:
    """Packet filters of this host that drop packets which no rule accepts, by their tools' names.

    ufw or firewalld, where it is active; else iptables, or the chains of nftables as ``nftables,
    chain inet filter input``.
    """
    if re.search(r"^Status: active", run(["ufw", "status"]).stdout, re.MULTILINE):
        status = run(["ufw", "status", "verbose"]).stdout
        return ["ufw"] if re.search(r"^Default: (deny|reject) \(incoming\)", status, re.M) else []
    if run(["firewall-cmd", "--state"]).stdout.strip() == "running":
        return ["firewalld"]
    programs = ["iptables-nft"]
    # Asking for a table that the kernel does not have would create it.
    if "filter" in kernel_tables():
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


def kernel_tables() -> list[str]:
    """Names of the tables of iptables-legacy that the kernel has."""
    try:
        return Path("/proc/net/ip_tables_names").read_text(encoding="ascii").split()
    except OSError:
        return []


def drops(rules: str) -> bool:
    """Whether an INPUT chain of iptables drops or refuses packets which no rule accepts."""
    last = rules.strip().splitlines()[-1:] or [""]
    return "-P INPUT DROP" in rules or bool(re.fullmatch(r"-A INPUT -j (DROP|REJECT).*", last[0]))


def filtered(address: str, port: int, seconds: float) -> bool:
    """Whether packets to a port are dropped; a port without a listener is not filtered."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return False


def look_at_ways(ways: Iterable[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """The entries of ways, {address, port} each, whose packets are dropped on the way."""
    wanted = [{"address": str(way["address"]), "port": int(way["port"])} for way in ways]
    if not wanted:
        return []
    with ThreadPoolExecutor(len(wanted)) as tries:
        dropped = tries.map(lambda way: filtered(way["address"], way["port"], seconds), wanted)
        return [way for way, is_dropped in zip(wanted, dropped, strict=True) if is_dropped]
