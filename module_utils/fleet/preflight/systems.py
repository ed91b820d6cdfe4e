"""Problems of the hosts' operating systems."""

from __future__ import annotations

from collections.abc import Iterator

from .. import systems
from .hosts import SSH_KEY, seen
from .problems import Host, Kind, Problem, Settings

NO_SYSTEMD = Kind(
    "no_systemd",
    "{host} was not booted with systemd",
    "init system of {host}",
    "use a host whose services systemd runs; a plain container is not enough",
)
SSH_HOST_KEY_MISSING = Kind(
    "ssh_host_key_missing",
    "{host} has no ed25519 ssh host key",
    "/etc/ssh on {host}",
    "run `ssh-keygen -A` there; the hosts of the fleet know each other by this key",
)
SYSTEM = "operating system of {host}"
SYSTEM_UNKNOWN = Kind(
    "system_unknown",
    "{host} runs {system}, which Benchfleet does not know",
    SYSTEM,
    "use {tried}. These were never tried and need fleet_untried_system: true: {untried}",
)
SYSTEM_UNTRIED = Kind(
    "system_untried",
    "{host} runs {system}, on which Benchfleet was never tried",
    SYSTEM,
    "use {tried}; or, on a server that is not in use, try it with fleet_untried_system: true for"
    " this host",
)


def check_systems(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of hosts without systemd or an ssh host key; system_problems judges the system."""
    for host, survey in seen(hosts):
        name = host["name"]
        if not survey["systemd"]:
            yield NO_SYSTEMD.found(host=name)
        # The key is written to known_hosts of the other hosts: nothing but a key may get there.
        if not SSH_KEY.fullmatch(host["ssh_key"]):
            yield SSH_HOST_KEY_MISSING.found(host=name)


def system_problems(hosts: list[Host]) -> Iterator[Problem]:
    """Problems of hosts whose system is unknown, or never tried and not asked for."""
    for host, _survey in seen(hosts):
        system, name = host["system"], host["name"]
        if not system:
            yield SYSTEM_UNKNOWN.found(
                host=name,
                system=f"{host['distribution']} {host['version']}",
                tried=systems.known(),
                untried=systems.known(tried=False),
            )
        elif not system["tried"] and not host["untried_system"]:
            title = systems.title(system)
            yield SYSTEM_UNTRIED.found(host=name, system=title, tried=systems.known())


def system_warnings(hosts: list[Host]) -> list[str]:
    """Warnings of hosts that run an untried system because the inventory allows it."""
    return [
        f"{host['name']} runs {systems.title(host['system'])}, on which Benchfleet was never tried "
        "(fleet_untried_system): what it does there follows that system's documentation"
        for host in hosts
        if host["survey"] and host["system"] and not host["system"]["tried"]
    ]
