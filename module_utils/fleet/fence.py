"""Rules that keep a host which is taken for dead away from this one, in a table of their own.

It can still learn that it is no longer the primary, by the records of both hosts, and be reached
from here by ssh. Every other connection with it, also one that exists, is cut.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

TABLE = "benchfleet_fence"
# In the fleet's folder of settings.
FILE = "fence.nft"
HEADER = "# Made by Benchfleet: `./fleet failover` wrote this, and `./fleet rejoin` removes it."
# Before the fleet's own rules, and before those of the host.
PRIORITY = "filter - 10"


def hosts_of(text: str) -> dict[str, str]:
    """The fenced hosts in a file of rules, {name: address}."""
    lines = (line.split() for line in text.splitlines())
    return {words[2]: words[3] for words in lines if words[:2] == ["#", "fenced:"] and words[3:]}


def removal() -> str:
    """Rules that remove the table, whether it is there or not."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"


def rules(fenced: Mapping[str, str], ssh_port: int, record_port: int) -> str:
    """Rules of the table for hosts, {name: address}, as ``nft -f`` reads them.

    Raises ValueError for what is no address or no plain name.
    """
    for name in fenced:
        if name.split() != [name]:
            raise ValueError(f"{name!r} is not the name of a host")
    addresses = [ipaddress.ip_address(address) for address in fenced.values()]
    lines = [HEADER, *(f"# fenced: {name} {address}" for name, address in sorted(fenced.items()))]
    lines += [*removal().splitlines(), f"table inet {TABLE} {{"]
    lines += chain("input", "saddr", addresses, "from_fenced")
    lines += chain("output", "daddr", addresses, "to_fenced")
    ports = f"{{ {', '.join(map(str, sorted({ssh_port, record_port})))} }}"
    lines += [
        "\tchain from_fenced {",
        f"\t\ttcp dport {record_port} accept",
        f"\t\ttcp sport {ports} ct direction reply accept",
        "\t\tdrop",
        "\t}",
        "\tchain to_fenced {",
        f"\t\ttcp dport {ports} accept",
        f"\t\ttcp sport {record_port} ct direction reply accept",
        "\t\treject",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def chain(
    hook: str,
    end: str,
    addresses: Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address],
    target: str,
) -> list[str]:
    """Lines of a chain that judges the packets of some addresses in another one."""
    begin = f"type filter hook {hook} priority {PRIORITY}; policy accept;"
    lines = [f"\tchain {hook} {{", f"\t\t{begin}"]
    for address in sorted(addresses, key=lambda one: (one.version, int(one))):
        family = "ip6" if address.version == 6 else "ip"
        lines.append(f"\t\t{family} {end} {address} jump {target}")
    return [*lines, "\t}"]
