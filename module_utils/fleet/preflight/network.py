"""Connections between the hosts, packet filters, and clocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .addresses import good_lan_ip, lan_ip
from .hosts import is_adopted, primary_host, seen
from .problems import Host, Kind, Problem, Settings, grouped

PRIMARY_UNREACHABLE = Kind(
    "primary_unreachable",
    "{host} cannot reach the primary {primary} over the LAN: {error}",
    "TCP from {host} (lan_ip: {source}) to {address} port {port}",
    "check that lan_ip of both is in one network, that routing and firewalls allow the connection,"
    " and that sshd of the primary listens there (fleet_ssh_port)",
)
WAY = "TCP from {source} to {address}"
FILTER_DROPS = Kind(
    "filter_drops",
    "{filter} of {target} drops what {host} sends to {target}, to port {ports}",
    WAY,
    "on {target}: {command}",
)
FILTER_ON_THE_WAY_DROPS = Kind(
    "filter_on_the_way_drops",
    "a packet filter on the way drops what {host} sends to {target}, to port {ports}",
    WAY,
    "let TCP from {source} to {address} port {ports} through, in the filter of the network or of"
    " the provider",
)
CLOCKS_DIFFER = Kind(
    "clocks_differ",
    "the clocks of {host} and {other} differ by {seconds:.1f} s or more (limit {limit} s)",
    "system time of {host} and {other}",
    "run a time service on both, for instance `apt install systemd-timesyncd`; with these clocks"
    " the lag of a replica would be measured wrong",
)

# Services that hosts of a group connect to on the others: a packet filter must let these through.
WAYS = {
    "reporting": ("mariadb", "redis_cache", "redis_queue", "record"),
    "primary": ("web", "health", "record"),
}


def ways(
    variables: Mapping[str, Mapping[str, Any]],
    name: str,
    groups: Mapping[str, Iterable[str]],
    ports: Settings,
) -> list[dict[str, Any]]:
    """Connections that a host makes to others of the fleet: {address, port} each.

    variables: those of all hosts, with the facts of those whose facts were gathered.
    """
    here = next((group for group in WAYS if name in groups.get(group, [])), None)
    there = {"reporting": "primary", "primary": "reporting"}.get(here or "", "")
    found = []
    for other in groups.get(there, []):
        address = good_lan_ip(variables[other])
        found += [
            {"address": address, "port": int(ports[service])}
            for service in WAYS[str(here)]
            # A port that is not a number is reported as variable_type.
            if address and str(ports[service]).isdigit()
        ]
    return found


def check_lan(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of hosts that cannot reach the primary over the LAN."""
    primary = primary_host(hosts, settings)
    for host in hosts:
        lan = (host["survey"] or {}).get("lan")
        if not lan or lan["ok"] or primary is None or host["name"] == primary["name"]:
            continue
        yield PRIMARY_UNREACHABLE.found(
            host=host["name"],
            primary=primary["name"],
            error=lan["detail"],
            source=lan_ip(host) or "none",
            address=lan["address"],
            port=lan["port"],
        )


def opening(tool: str, source: str, ports: Iterable[int]) -> str:
    """The command that opens some ports to a host in a packet filter of this kind."""
    numbers, v6 = sorted(ports), ":" in source
    listed = ",".join(map(str, numbers))
    if tool == "ufw":
        return " ".join(
            ["ufw", "allow", "proto", "tcp", "from", source, "to", "any", "port", listed]
        )
    if tool == "firewalld":
        rules = " ".join(
            f"--add-rich-rule='rule family={'ipv6' if v6 else 'ipv4'} source address={source} "
            f"port port={number} protocol=tcp accept'"
            for number in numbers
        )
        return f"firewall-cmd --permanent {rules} && firewall-cmd --reload"
    if tool == "iptables":
        program = "ip6tables" if v6 else "iptables"
        command = f"{program} -I INPUT -p tcp -s {source} -m multiport --dports {listed} -j ACCEPT"
        return f"{command}, and the same where these rules are kept for a boot"
    command = (
        f"nft insert rule {tool.rpartition('chain ')[2]} {'ip6' if v6 else 'ip'} saddr {source} "
        f"tcp dport '{{ {', '.join(map(str, numbers))} }}' accept"
    )
    return f"{command}, and the same in /etc/nftables.conf"


def check_filters(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of packet filters that drop connections between hosts of the fleet."""
    primary = settings.get("primary") or {}
    targets = {lan_ip(host): host for host, _survey in seen(hosts)}
    if primary and primary.get("address"):
        targets.setdefault(primary["address"], primary)
    for host, survey in seen(hosts):
        if survey["lan"] and not survey["lan"]["ok"]:
            # Reported as primary_unreachable.
            continue
        dropped = grouped((way["address"], way["port"]) for way in survey["dropped"])
        for address, ports in dropped.items():
            target = targets.get(address)
            if target is None:
                # It is down, or could not be surveyed.
                continue
            filters = (target["survey"] or {}).get("filters") or []
            source = lan_ip(host) or host["name"]
            way = {"host": host["name"], "target": target["name"], "ports": ports}
            way |= {"source": source, "address": address}
            if filters:
                command = opening(filters[0], source, ports)
                yield FILTER_DROPS.found(**way, filter=filters[0], command=command)
            else:
                yield FILTER_ON_THE_WAY_DROPS.found(**way)


def filter_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """Warnings of packet filters on an adopted primary that has no reporting nodes yet."""
    nodes = settings["groups"].get("reporting")
    ports = [int(p) for s in WAYS["reporting"] if str(p := settings["ports"][s]).isdigit()]
    return [
        f"{tool} of {host['name']} drops all connections that no rule allows. Run this before you"
        f" add a reporting node: {opening(tool, 'ADDRESS-OF-THE-NODE', ports)}"
        for host in hosts
        if is_adopted(host) and not nodes
        for tool in host["survey"].get("filters") or []
    ]


def check_clocks(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of clocks that differ from the primary's: lag is a difference of two clocks."""
    clocks = [h for h in hosts if (h["survey"] or {}).get("clock")]
    reference = primary_host(clocks, settings)
    if not (reference and (reference["survey"] or {}).get("clock")):
        reference = clocks[0] if clocks else None
    if reference is None:
        return
    for host in clocks:
        one, other = host["survey"]["clock"], reference["survey"]["clock"]
        # The least difference that the bounds of both offsets allow.
        distance = max(one["low"] - other["high"], other["low"] - one["high"])
        if distance > settings["clock_seconds"]:
            yield CLOCKS_DIFFER.found(
                host=host["name"],
                other=reference["name"],
                seconds=distance,
                limit=settings["clock_seconds"],
            )
