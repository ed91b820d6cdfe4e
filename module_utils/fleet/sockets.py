"""Sockets of this host, as the kernel's tables have them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

LISTENING = "0A"


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
