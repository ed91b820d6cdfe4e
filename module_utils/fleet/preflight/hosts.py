"""The hosts by their part: the primary, members of this fleet, adopted ones, those that leave."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .problems import Host, Settings

# A key as /etc/ssh has it.
SSH_KEY = re.compile(r"[A-Za-z0-9+/]+=*")


def seen(hosts: Iterable[Host]) -> Iterator[tuple[Host, Any]]:
    """The hosts that were surveyed, each with its survey."""
    return ((host, host["survey"]) for host in hosts if host["survey"])


def is_ours(host: Host, settings: Settings) -> bool:
    """Whether the host has the mark of this fleet."""
    mark = (host["survey"] or {}).get("mark", {})
    return bool(mark.get("state") == "present" and mark["fleet_id"] == settings["fleet_id"])


def primary_host(hosts: list[Host], settings: Settings) -> Host | None:
    """The primary, when there is exactly one: in this run, or surveyed although left out of it."""
    names = list(settings["groups"].get("primary", []))
    besides = [settings["primary"]] if settings["primary"] else []
    return next((h for h in [*hosts, *besides] if [h["name"]] == names), None)


def is_primary(host: Host) -> bool:
    """Whether a host is in group primary."""
    return "primary" in host["groups"]


def is_adopted(host: Host) -> bool:
    """Whether the host's bench and data are being adopted (fleet_adopt)."""
    return bool((host["survey"] or {}).get("adoption"))


def has_own_bench(host: Host) -> bool:
    """Whether a primary holds a bench that could be adopted."""
    survey = host["survey"] or {"benches": []}
    return is_primary(host) and host["bench_dir"] in [b["path"] for b in survey["benches"]]


def without_hosts(groups: Mapping[str, Iterable[str]], leaving: Iterable[str]) -> dict[str, Any]:
    """The inventory's groups without some hosts: {group: [host, ...]}."""
    gone = set(leaving)
    return {name: [host for host in hosts if host not in gone] for name, hosts in groups.items()}


def fleet_hosts(
    names: Iterable[str], hosts: list[Host], addresses: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Address and ssh key of each host of the fleet: {name: {lan_ip, ssh_key}}.

    names: all hosts of the inventory. hosts: those of this run. addresses: those in certificates
    made earlier; so a host that is off or left out of this run keeps its entries on the others. A
    host that was never reached is not in the result. ssh_key is "" where no host has recorded it.
    """
    looked_at = {host["name"]: host for host, _survey in seen(hosts)}
    keys = {
        address: key
        for _host, survey in seen(hosts)
        for address, key in survey.get("known_hosts", {}).items()
        if SSH_KEY.fullmatch(key)
    }
    found = {}
    for name in names:
        if name in looked_at:
            host = looked_at[name]
            found[name] = {"lan_ip": host["address"], "ssh_key": host["ssh_key"]}
        elif name in addresses:
            address = addresses[name]
            found[name] = {"lan_ip": address, "ssh_key": keys.get(address, "")}
    return found
