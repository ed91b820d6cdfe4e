"""LAN addresses, and MariaDB's server_id that follows from them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .hosts import seen
from .problems import Host, Problem, Settings, grouped, problem

# Three of RFC 1918, then RFC 6598, and the unique local addresses of RFC 4193.
PRIVATE_NETWORKS = [
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
PRIVATE_WORDS = (
    "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or a unique local fc00::/7 address"
)


def is_private(address: str) -> bool:
    """Whether an address is private in the sense of RFC 1918, RFC 6598 or RFC 4193.

    Loopback and link-local addresses are not: no other host can use them.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == net.version and parsed in net for net in PRIVATE_NETWORKS)


def lan_server_id(ip: str) -> int:
    """MariaDB server_id of a host: the last three octets of its LAN address as one number.

    Unique within any network of /8 or smaller, and the same on every run.

    Raises:
        ValueError: ip is not an address, or its last three octets are all zero.
    """
    number = int.from_bytes(ipaddress.ip_address(str(ip)).packed[-3:], "big")
    if number == 0:
        raise ValueError(f"no server_id can be derived from {ip}: set mariadb_server_id")
    return number


def lan_ip(host: Host) -> str:
    """LAN address of a host: lan_ip, else the facts' default when private, else the only private.

    "" when there is none; what the inventory says is returned unjudged.
    """
    if host["lan_ip"] or is_private(host["default"]):
        return str(host["lan_ip"] or host["default"])
    private = [address for address in host["addresses"] if is_private(address)]
    return private[0] if len(private) == 1 else ""


def addresses_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a host's variables say of its addresses: {lan_ip, default, addresses}, as lan_ip has it.

    variables: the inventory's, and the facts where it was asked for them.
    """
    facts = variables.get("ansible_facts") or {}
    return {
        "lan_ip": variables.get("lan_ip") or "",
        "default": (facts.get("default_ipv4") or {}).get("address", ""),
        "addresses": [*facts.get("all_ipv4_addresses", []), *facts.get("all_ipv6_addresses", [])],
    }


def good_lan_ip(variables: Mapping[str, Any]) -> str:
    """LAN address of a host, by its variables, when it is private and on the host, else ""."""
    host = addresses_of(variables)
    address = lan_ip(host)
    return address if is_private(address) and address in host["addresses"] else ""


def check_addresses(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """LAN addresses: there, an address, private, on the host, not shared."""
    for host, _survey in seen(hosts):
        name, address = host["name"], lan_ip(host)
        on_host = [a for a in host["addresses"] if not ipaddress.ip_address(a).is_loopback]
        usable = ", ".join(a for a in on_host if is_private(a)) or "none"
        place = f"lan_ip of {name} in the inventory"
        if not address:
            words = f"no private address (it has {', '.join(on_host) or 'none at all'})"
            remedy = f"give the host a private address ({PRIVATE_WORDS})"
            if usable != "none":
                words = f"several private addresses to choose from: {usable}"
                remedy = "set lan_ip to the address by which the other hosts of the fleet reach it"
            yield problem(f"{name} has no lan_ip, and {words}", place, remedy)
            continue
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            yield problem(
                f"lan_ip {address!r} of {name} is not an IP address",
                place,
                f"write an address of the host itself; private ones it has: {usable}",
            )
            continue
        if not is_private(address):
            kind = "link-local" if parsed.is_link_local else "public"
            kind = "loopback" if parsed.is_loopback else kind
            yield problem(
                f"lan_ip {address} of {name} is a {kind} address; MariaDB and Redis are never put"
                " there",
                place,
                f"use a private address ({PRIVATE_WORDS}); {name} has: {usable}",
            )
        if address not in host["addresses"]:
            yield problem(
                f"lan_ip {address} is not an address of {name}",
                place,
                f"private addresses on the host: {usable}; "
                f"correct lan_ip, or give the host that address",
            )
    for address, names in grouped((lan_ip(host), host["name"]) for host in hosts).items():
        if address and len(names) > 1:
            yield problem(
                f"lan_ip {address} is shared by {', '.join(names)}",
                f"lan_ip of {' and '.join(names)} in the inventory",
                "give each host an address of its own; if these are one machine, name it once",
            )


def check_server_ids(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """server_id, set or derived: a number MariaDB takes, and one host's alone."""
    used = []
    for host in hosts:
        name, given = host["name"], host["server_id"]
        number = int(given) if re.fullmatch(r"\d+", str(given)) else 0
        if given in ("", None):
            if is_private(lan_ip(host)):
                try:
                    used.append((lan_server_id(lan_ip(host)), name))
                except ValueError as error:
                    place = f"{name} in the inventory"
                    yield problem(str(error), place, "set it to a unique number")
        elif 1 <= number <= 2**32 - 1:
            used.append((number, name))
        else:
            yield problem(
                f"mariadb_server_id {given!r} of {name} is not a server_id",
                f"mariadb_server_id of {name} in the inventory",
                "use a whole number from 1 to 4294967295, or leave it out",
            )
    same_address = grouped((lan_ip(host), host["name"]) for host in hosts).values()
    for number, names in grouped(used).items():
        # Hosts that share an address are reported for that already.
        if len(names) > 1 and names not in same_address:
            yield problem(
                f"server_id {number} would be used by {', '.join(names)}",
                f"mariadb_server_id (or, without it, lan_ip) of {' and '.join(names)}",
                "set mariadb_server_id of one of them to another number: MariaDB drops the events "
                "of a server with its own id",
            )
