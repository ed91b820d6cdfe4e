"""How verify looks at a host from outside its roles: units and sockets."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import time
from collections.abc import Iterable

LISTENING = "0A"
# Units of ours that each host of a role has, beside those that are there for a while only.
UNITS = {
    "primary": ("benchfleet-firewall.service", "benchfleet-sites.timer"),
    "reporting": ("benchfleet-files.socket", "benchfleet-firewall.service"),
}
UNIT_FACTS = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "Result"),
    "InactiveExitTimestampMonotonic",
)
# What a unit may take to start; its own time-out, which ends it, is twice as long.
START_SECONDS = 300


def unit_problems(text: str, wanted: Iterable[str], now: float) -> dict[str, str]:
    """What is wrong with units of systemd, by their names; {} where all is well.

    text: UNIT_FACTS of each, as ``systemctl show`` writes them. wanted: those that have to be there
    and active; of others only failures and hangs are told. now: seconds since boot.
    """
    parts = (line.splitlines() for line in text.strip().split("\n\n"))
    units = [dict(line.split("=", 1) for line in part if "=" in line) for part in parts]
    states = {unit["Id"]: unit for unit in units if unit.get("LoadState") == "loaded"}
    found = {name: "is not there" for name in wanted if name not in states}
    for name, unit in states.items():
        active = unit.get("ActiveState", "")
        since = now - int(unit.get("InactiveExitTimestampMonotonic") or 0) / 1e6
        switched_on = name in wanted or unit.get("UnitFileState") == "enabled"
        if active == "failed":
            found[name] = f"has failed ({unit.get('Result')})"
        elif active == "activating" and since > START_SECONDS:
            found[name] = f"has been starting for {since:.0f} s"
        elif switched_on and active not in ("active", "activating", "reloading"):
            found[name] = f"is {active}"
    return dict(sorted(found.items()))


def unit_troubles(wanted: Iterable[str]) -> dict[str, str]:
    """The same of all units of ours on this host, as systemd knows them now."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}

    def ask(*words: str) -> str:
        return subprocess.run(
            ["systemctl", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    loaded = ask("list-units", "--all", "--plain", "--no-legend", "benchfleet-*").splitlines()
    names = {line.split()[0] for line in loaded if line.strip()} | set(wanted)
    facts = ask("show", "--property", ",".join(UNIT_FACTS), *sorted(names))
    return unit_problems(facts, wanted, time.clock_gettime(time.CLOCK_MONOTONIC))


def kernel_address(text: str) -> str:
    """An address as /proc/net/tcp and tcp6 write it: words of four bytes in the host's order."""
    raw = bytes.fromhex(text)
    words = [raw[n : n + 4][::-1] for n in range(0, len(raw), 4)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def listening(ports: Iterable[int], tables: Iterable[str] | None = None) -> dict[int, list[str]]:
    """Addresses on which somebody listens, for each of these TCP ports."""
    if tables is None:
        tables = []
        for path in ("/proc/net/tcp", "/proc/net/tcp6"):
            try:
                with open(path, encoding="ascii") as source:
                    tables.append(source.read())
            except OSError:
                continue
    found: dict[int, list[str]] = {port: [] for port in ports}
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) < 4 or fields[3] != LISTENING:
                continue
            address, _, port = fields[1].partition(":")
            if int(port, 16) in found:
                found[int(port, 16)].append(kernel_address(address))
    return {port: sorted(set(addresses)) for port, addresses in found.items()}


def refuses(address: str, port: int, seconds: float = 2.0) -> str:
    """How an address keeps us out, "" when it lets us connect."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except TimeoutError:
        return "no answer"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def source_address(address: str) -> str:
    """The address of ours from which we would call another one, "" without a way to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: a datagram socket only looks the route up.
            probe.connect((address, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
