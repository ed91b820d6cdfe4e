"""Ports of the fleet's services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .hosts import has_own_bench, is_ours, is_primary, seen
from .problems import Host, Kind, Problem, Settings, grouped

# Services by their settings: a name for messages, and words of which one is in the name, program or
# command line of the fleet's own listener.
SERVICES = {
    "mariadb": ("MariaDB", ("mariadbd", "mysqld")),
    "redis_cache": ("the bench's Redis cache", ("redis-server",)),
    "redis_queue": ("the bench's Redis queue", ("redis-server",)),
    "web": ("the bench's web workers", ("gunicorn",)),
    "socketio": ("the bench's socketio", ("node",)),
    "report": ("the primary's pool for reports", ("gunicorn",)),
    "health": ("the reporting bench's health answers", ("gunicorn",)),
    "record": ("the record of who is primary", ("fleet-record",)),
    "forward": ("the router, for calls of other routers", ("nginx",)),
    "http": ("the router", ("nginx",)),
    "https": ("the router", ("nginx",)),
}
PRIMARY_SERVICES = tuple(name for name in SERVICES if name != "health")
REPORTING_SERVICES = ("mariadb", "web", "health", "record")
# Of the standby besides, which is a reporting node.
STANDBY_SERVICES = ("redis_cache", "redis_queue", "forward", "http", "https")

PORT_SHARED = Kind(
    "port_shared",
    "port {port} of {host} is set for more than one service: {services}",
    "fleet_*_port in the inventory",
    "give each service a port of its own",
)
TAKEN = "port {port}, which {service} needs, is used by {process}"
USED_AT = "{addresses} port {port} on {host}"
PORT_TAKEN = Kind(
    "port_taken",
    TAKEN,
    USED_AT,
    "stop it for good, move it to another port or host, or set fleet_{setting}_port to a free one",
)
# Browsers use no other port, so it cannot be changed.
ROUTER_PORT_TAKEN = Kind(
    "router_port_taken", TAKEN, USED_AT, "stop it for good, or move it to another port or host"
)


def check_ports(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of ports of the fleet's services that are set twice, or used by something else."""
    for host, survey in seen(hosts):
        # A bench that may be adopted is reported with its services by check_marks. "Stop it for
        # good" would be wrong advice there.
        ours = is_ours(host, settings) or has_own_bench(host)
        services = PRIMARY_SERVICES if is_primary(host) else REPORTING_SERVICES
        if host["name"] == settings["standby"]:
            services += STANDBY_SERVICES
        wanted = grouped(
            (int(settings["ports"][service]), service)
            for service in services
            # A port that is not a number is reported as variable_type.
            if str(settings["ports"][service]).isdigit()
        )
        for port, names in wanted.items():
            if len(names) > 1:
                yield PORT_SHARED.found(port=port, host=host["name"], services=names)
        for port, names in wanted.items():
            others = [
                entry
                for entry in survey["listeners"].get(str(port), [])
                if not (ours and is_expected(entry, names, settings["bench_dir"]))
            ]
            if others:
                yield taken_port(host["name"], port, names[0], others)


def is_expected(entry: Mapping[str, Any], services: Iterable[str], bench_dir: str) -> bool:
    """Whether a listener looks like one of the services: by name, program or command line."""
    text = f"{entry['name']} {entry['program']} {entry['command']}".lower()
    words = [word for service in services for word in SERVICES[service][1]]
    return any(word in text for word in words) or ("web" in services and f"{bench_dir}/" in text)


def taken_port(name: str, port: int, service: str, others: list[Mapping[str, Any]]) -> Problem:
    """The problem of a port on which something else listens."""
    entry = others[0]
    process = entry["name"] or "an unknown process"
    details = [f"process {entry['pid']}"] if entry["pid"] else []
    # A program started from a shell is in the unit of the login, which must not be stopped.
    if entry["unit"] and not entry["unit"].startswith(("ssh", "user@", "getty")):
        details.append(entry["unit"])
    details += [entry["command"]] if entry["command"] else []
    kind = ROUTER_PORT_TAKEN if service in ("http", "https") else PORT_TAKEN
    return kind.found(
        port=port,
        service=SERVICES[service][0],
        setting=service,
        process=process + (f" ({'; '.join(details)})" if details else ""),
        addresses=sorted({item["address"] for item in others}),
        host=name,
    )
