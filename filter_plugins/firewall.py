"""The nftables rules that keep a fleet's ports to the fleet: pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(addresses: Iterable[Any], place: str) -> list[Network]:
    """Addresses and networks, each once, sorted, IPv4 first.

    Raises AnsibleFilterError that names the value and the variable (``place``) it came from.
    """
    networks: set[Network] = set()
    for address in addresses:
        try:
            networks.add(ipaddress.ip_network(str(address)))
        except ValueError as error:
            raise AnsibleFilterError(
                f"{place}: {address!r} is neither an address nor a network such as 10.0.0.0/24"
                f" ({error}); correct it in the inventory"
            ) from error
    return sorted(networks, key=lambda network: (network.version, network))


def set_block(name: str, kind: str, networks: Sequence[Network]) -> list[str]:
    """Lines of one nftables set; an empty set has no elements line."""
    lines = [f"\tset {name} {{", f"\t\ttype {kind}", "\t\tflags interval", "\t\tauto-merge"]
    if networks:
        elements = ", ".join(
            str(n.network_address) if n.num_addresses == 1 else str(n) for n in networks
        )
        lines.append(f"\t\telements = {{ {elements} }}")
    return [*lines, "\t}"]


def firewall_ruleset(
    ports: Iterable[int], fleet: Iterable[str], allow: Iterable[str] = (), ssh_port: int = 22
) -> str:
    """Rules of the fleet's own table, as ``nft -f`` reads them.

    The text declares and deletes the table first, so one load replaces it in one transaction and
    touches no other table. What another table drops stays dropped: an accept here ends this
    table's chain only.

    ports: TCP ports of the fleet. fleet: LAN addresses of its hosts. allow: further addresses or
    networks that may reach the ports. ssh_port: sshd's, which is never guarded. Raises
    AnsibleFilterError for a value it cannot read.
    """
    numbers = sorted({int(port) for port in ports})
    for number in numbers:
        if not 0 < number < 65536 or number in (22, int(ssh_port)):
            raise AnsibleFilterError(
                f"`firewall_ports`: {number} is no port that this firewall may guard (1 to 65535,"
                " but never sshd's); correct it in the inventory"
            )
    if not numbers:
        raise AnsibleFilterError(
            "`firewall_ports` is empty: leave it out or name at least one port"
        )
    networks = parse_networks(fleet, "fleet_lan_ip") + parse_networks(allow, "firewall_allow")
    v4 = [network for network in dict.fromkeys(networks) if network.version == 4]
    v6 = [network for network in dict.fromkeys(networks) if network.version == 6]
    lines = [
        "# Made by Benchfleet; changes here are undone by its next run.",
        "table inet benchfleet",
        "delete table inet benchfleet",
        "table inet benchfleet {",
        *set_block("fleet4", "ipv4_addr", v4),
        *set_block("fleet6", "ipv6_addr", v6),
        "\tchain input {",
        "\t\ttype filter hook input priority filter - 5; policy accept;",
        f"\t\ttcp dport {{ {', '.join(map(str, numbers))} }} jump fleet_ports",
        "\t}",
        "\tchain fleet_ports {",
        '\t\tiifname "lo" accept',
        "\t\tip saddr @fleet4 accept",
        "\t\tip6 saddr @fleet6 accept",
        "\t\treject with tcp reset",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


class FilterModule:
    """Filters of role firewall."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {"firewall_ruleset": firewall_ruleset}
