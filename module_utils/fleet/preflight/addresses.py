"""LAN addresses, and MariaDB's server_id that follows from them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .hosts import seen
from .problems import Host, Kind, Problem, Settings, grouped

# Three of RFC 1918, then RFC 6598, and the unique local addresses of RFC 4193.
PRIVATE_NETWORKS = [
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
PRIVATE_RANGES = (
    "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or a unique local fc00::/7 address"
)

LAN_IP = "lan_ip of {host} in the inventory"
LAN_IP_MISSING = Kind(
    "lan_ip_missing",
    "{host} has no lan_ip and no private address (addresses of the host: {addresses})",
    LAN_IP,
    f"give the host a private address ({PRIVATE_RANGES})",
)
LAN_IP_AMBIGUOUS = Kind(
    "lan_ip_ambiguous",
    "{host} has no lan_ip and more than one private address: {private}",
    LAN_IP,
    "set lan_ip to the address by which the other hosts of the fleet reach it",
)
LAN_IP_INVALID = Kind(
    "lan_ip_invalid",
    "lan_ip {address!r} of {host} is not an IP address",
    LAN_IP,
    "set lan_ip to an address of the host; its private addresses: {private}",
)
LAN_IP_NOT_PRIVATE = Kind(
    "lan_ip_not_private",
    "lan_ip {address} of {host} is a {scope} address; MariaDB and Redis listen on lan_ip, so it"
    " must be private",
    LAN_IP,
    f"use a private address ({PRIVATE_RANGES}); private addresses of the host: {{private}}",
)
LAN_IP_NOT_ON_HOST = Kind(
    "lan_ip_not_on_host",
    "lan_ip {address} is not an address of {host}",
    LAN_IP,
    "correct lan_ip, or give the host that address; its private addresses: {private}",
)
LAN_IP_SHARED = Kind(
    "lan_ip_shared",
    "lan_ip {address} is shared by {hosts}",
    "lan_ip of {hosts} in the inventory",
    "give each host an address of its own; if these are one machine, name it once",
)
SERVER_ID_NOT_DERIVABLE = Kind(
    "server_id_not_derivable",
    "no server_id can be derived from lan_ip {address} of {host}",
    "mariadb_server_id of {host} in the inventory",
    "set mariadb_server_id of this host to a unique number",
)
SERVER_ID_INVALID = Kind(
    "server_id_invalid",
    "mariadb_server_id {value!r} of {host} is not a server_id",
    "mariadb_server_id of {host} in the inventory",
    "use a whole number from 1 to 4294967295, or remove the setting",
)
SERVER_ID_SHARED = Kind(
    "server_id_shared",
    "server_id {number} would be used by {hosts}",
    "mariadb_server_id (or, without it, lan_ip) of {hosts}",
    "set mariadb_server_id of one of them to another number: MariaDB drops the events of a server"
    " with its own id",
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
    """LAN address of a host: lan_ip, else the default address of the facts if it is private, else
    the only private address.

    "" when there is none. lan_ip of the inventory is returned as it is, also where it is wrong.
    """
    if host["lan_ip"] or is_private(host["default"]):
        return str(host["lan_ip"] or host["default"])
    private = [address for address in host["addresses"] if is_private(address)]
    return private[0] if len(private) == 1 else ""


def addresses_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Addresses of a host for lan_ip(): {lan_ip, default, addresses}.

    variables: the inventory's, with the facts where they were gathered. The users' address, which a
    host has only while it is the primary, is none of them.
    """
    facts = variables.get("ansible_facts") or {}
    users = str(variables.get("router_service_ip") or "").partition("/")[0]
    found = [*facts.get("all_ipv4_addresses", []), *facts.get("all_ipv6_addresses", [])]
    return {
        "lan_ip": variables.get("lan_ip") or "",
        "default": (facts.get("default_ipv4") or {}).get("address", ""),
        "addresses": [address for address in found if address != users],
    }


def good_lan_ip(variables: Mapping[str, Any]) -> str:
    """LAN address of a host by its variables, if it is private and on the host; else ""."""
    host = addresses_of(variables)
    address = lan_ip(host)
    return address if is_private(address) and address in host["addresses"] else ""


def check_addresses(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of lan_ip: missing, no address, not private, not on the host, shared."""
    for host, _survey in seen(hosts):
        name, address = host["name"], lan_ip(host)
        on_host = [a for a in host["addresses"] if not ipaddress.ip_address(a).is_loopback]
        private = [a for a in on_host if is_private(a)]
        if not address and private:
            yield LAN_IP_AMBIGUOUS.found(host=name, private=private)
            continue
        if not address:
            yield LAN_IP_MISSING.found(host=name, addresses=on_host)
            continue
        facts = {"host": name, "address": address, "private": private}
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            yield LAN_IP_INVALID.found(**facts)
            continue
        if not is_private(address):
            scope = "link-local" if parsed.is_link_local else "public"
            scope = "loopback" if parsed.is_loopback else scope
            yield LAN_IP_NOT_PRIVATE.found(**facts, scope=scope)
        if address not in host["addresses"]:
            yield LAN_IP_NOT_ON_HOST.found(**facts)
    for address, names in grouped((lan_ip(host), host["name"]) for host in hosts).items():
        if address and len(names) > 1:
            yield LAN_IP_SHARED.found(address=address, hosts=names)


def check_server_ids(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of server_id, set or derived: a number that MariaDB does not take, or shared."""
    used = []
    for host in hosts:
        name, given = host["name"], host["server_id"]
        number = int(given) if re.fullmatch(r"\d+", str(given)) else 0
        if given in ("", None):
            if is_private(lan_ip(host)):
                try:
                    used.append((lan_server_id(lan_ip(host)), name))
                except ValueError:
                    yield SERVER_ID_NOT_DERIVABLE.found(host=name, address=lan_ip(host))
        elif 1 <= number <= 2**32 - 1:
            used.append((number, name))
        else:
            yield SERVER_ID_INVALID.found(host=name, value=given)
    same_address = grouped((lan_ip(host), host["name"]) for host in hosts).values()
    for number, names in grouped(used).items():
        # Hosts that share an address are reported as lan_ip_shared.
        if len(names) > 1 and names not in same_address:
            yield SERVER_ID_SHARED.found(number=number, hosts=names)
