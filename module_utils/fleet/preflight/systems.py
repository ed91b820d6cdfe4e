"""Operating systems of the hosts."""

from __future__ import annotations

from collections.abc import Iterator

from .. import systems
from .hosts import SSH_KEY, seen
from .problems import Host, Problem, Settings, problem


def check_systems(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """systemd and an ssh host key. Which system it is: system_problems."""
    for host, survey in seen(hosts):
        name = host["name"]
        if not survey["systemd"]:
            yield problem(
                f"{name} was not booted with systemd",
                f"init system of {name}",
                "use a host whose services systemd runs; a plain container is not enough",
            )
        # What a host says of itself gets into a file of the others.
        if not SSH_KEY.fullmatch(host["ssh_key"]):
            yield problem(
                f"{name} has no ed25519 ssh host key",
                f"/etc/ssh on {name}",
                "run `ssh-keygen -A` there; the hosts of the fleet know each other by it",
            )


def system_problems(hosts: list[Host]) -> Iterator[Problem]:
    """Hosts whose system is not in the table, or is there untried and was not asked for."""
    for host, _survey in seen(hosts):
        system, place = host["system"], f"operating system of {host['name']}"
        if not system:
            yield problem(
                f"{host['name']} runs {host['distribution']} {host['version']}",
                place,
                f"use {systems.known()}. Known, but never tried: {systems.known(tried=False)}, "
                "with fleet_untried_system: true",
            )
        elif not system["tried"] and not host["untried_system"]:
            yield problem(
                f"{host['name']} runs {systems.title(system)}, on which Benchfleet was never tried",
                place,
                f"use {systems.known()}; or, on servers that nobody needs, see whether it works: "
                "fleet_untried_system: true for this host",
            )


def system_warnings(hosts: list[Host]) -> list[str]:
    """Hosts that run an untried system because the inventory says so."""
    return [
        f"{host['name']} runs {systems.title(host['system'])}, on which Benchfleet was never tried "
        "(fleet_untried_system): what it does there comes from that system's documentation"
        for host in hosts
        if host["survey"] and host["system"] and not host["system"]["tried"]
    ]
