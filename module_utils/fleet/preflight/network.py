"""What the hosts can reach of each other, packet filters, and clocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .addresses import good_lan_ip, lan_ip
from .hosts import is_adopted, primary_host, seen
from .problems import Host, Problem, Settings, grouped, problem

# What a packet filter between two hosts must let through: by who connects.
WAYS = {"reporting": ("mariadb", "redis_cache", "redis_queue"), "primary": ("web", "health")}


def ways(
    variables: Mapping[str, Mapping[str, Any]],
    name: str,
    groups: Mapping[str, Iterable[str]],
    ports: Settings,
) -> list[dict[str, Any]]:
    """What a host connects to on the others of the fleet: {address, port} each.

    variables are those of all hosts, with the facts of those that were asked.
    """
    here = next((group for group in WAYS if name in groups.get(group, [])), None)
    there = {"reporting": "primary", "primary": "reporting"}.get(here or "", "")
    found = []
    for other in groups.get(there, []):
        address = good_lan_ip(variables[other])
        found += [
            {"address": address, "port": int(ports[service])}
            for service in WAYS[str(here)]
            # What is no number is reported with the types.
            if address and str(ports[service]).isdigit()
        ]
    return found


def check_lan(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Every other host reaches the primary over the LAN."""
    primary = primary_host(hosts, settings)
    for host in hosts:
        lan = (host["survey"] or {}).get("lan")
        if not lan or lan["ok"] or primary is None or host["name"] == primary["name"]:
            continue
        yield problem(
            f"{host['name']} cannot reach the primary {primary['name']} over the LAN: "
            f"{lan['detail']}",
            f"TCP from {host['name']} ({lan_ip(host) or 'no lan_ip'}) to "
            f"{lan['address']} port {lan['port']}",
            "check that lan_ip of both is in one network, that routing and firewalls let it "
            "through, and that sshd of the primary listens there (fleet_ssh_port)",
        )


def opening(tool: str, source: str, ports: Iterable[int]) -> str:
    """The command by which a packet filter lets a host's connections to some ports in."""
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
    """No packet filter drops what the hosts of the fleet send to each other."""
    primary = settings.get("primary") or {}
    targets = {lan_ip(host): host for host, _survey in seen(hosts)}
    if primary and primary.get("address"):
        targets.setdefault(primary["address"], primary)
    for host, survey in seen(hosts):
        if survey["lan"] and not survey["lan"]["ok"]:
            # What reaches nothing is told already.
            continue
        dropped = grouped((way["address"], way["port"]) for way in survey["dropped"])
        for address, ports in dropped.items():
            target = targets.get(address)
            if target is None:
                # It is down, or could not be looked at.
                continue
            filters = (target["survey"] or {}).get("filters") or []
            source = lan_ip(host) or host["name"]
            by = f"{filters[0]} of {target['name']}" if filters else "a packet filter on the way"
            remedy = (
                f"on {target['name']}: {opening(filters[0], source, ports)}"
                if filters
                else f"let TCP from {source} to {address} port {', '.join(map(str, ports))} "
                "through, in the filter of the network or of the provider"
            )
            yield problem(
                f"{by} drops what {host['name']} sends to {target['name']}, to port "
                f"{', '.join(map(str, ports))}",
                f"TCP from {source} to {address}",
                remedy,
            )


def filter_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """Packet filters of a bench made by hand, without reporting nodes: none could join."""
    nodes = settings["groups"].get("reporting")
    ports = [int(p) for s in WAYS["reporting"] if str(p := settings["ports"][s]).isdigit()]
    return [
        f"{tool} of {host['name']} drops what no rule of it lets in. Before a reporting node joins:"
        f" {opening(tool, 'ADDRESS-OF-THE-NODE', ports)}"
        for host in hosts
        if is_adopted(host) and not nodes
        for tool in host["survey"].get("filters") or []
    ]


def check_clocks(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Clocks agree with the primary's, as the heartbeat's age is a difference of two clocks."""
    clocks = [h for h in hosts if (h["survey"] or {}).get("clock")]
    reference = primary_host(clocks, settings)
    if not (reference and (reference["survey"] or {}).get("clock")):
        reference = clocks[0] if clocks else None
    if reference is None:
        return
    for host in clocks:
        one, other = host["survey"]["clock"], reference["survey"]["clock"]
        # At least, as the bounds of their offsets have it.
        distance = max(one["low"] - other["high"], other["low"] - one["high"])
        if distance > settings["clock_seconds"]:
            yield problem(
                f"the clocks of {host['name']} and {reference['name']} differ by "
                f"{distance:.1f} s or more (limit {settings['clock_seconds']} s)",
                f"system time of {host['name']} and {reference['name']}",
                "run a time service on both, for instance "
                "`apt install systemd-timesyncd`; lag would be measured wrong",
            )
