"""The bench's services: they listen where the inventory says, and supervisor runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..preflight.problems import Host, Kind, Problem, Settings
from .host import Found
from .programs import BY_SUPERVISOR, PROGRAMS_FOLDER

# Key of common_site_config.json, and the service of preflight whose port it names.
SERVICES = {"webserver_port": "web", "socketio_port": "socketio"}
# Services whose listeners supervisor must run.
SUPERVISED = ("web", "redis_cache", "redis_queue", "socketio")


TWO_REDIS = (
    "give the bench two Redis servers of its own: `bench set-config -g redis_cache"
    " redis://127.0.0.1:PORT`, the same for redis_queue with another port, then `bench setup"
    " redis`, `bench setup supervisor` and `supervisorctl update`"
)
REDIS_URL = Kind(
    "adopt_redis_url",
    "{key} of the bench {trouble}",
    "{config}",
    "`bench set-config -g {key} redis://127.0.0.1:PORT`",
)
REDIS_SOCKET = Kind(
    "adopt_redis_socket",
    "{key} of the bench is a socket; the hosts of a fleet connect to a port",
    "{config}",
    TWO_REDIS,
)
REDIS_TLS = Kind(
    "adopt_redis_tls",
    "{key} of the bench is encrypted (rediss://); the fleet's Redis is not",
    "{config}",
    TWO_REDIS,
)
REDIS_ELSEWHERE = Kind(
    "adopt_redis_elsewhere", "{key} of the bench is on another host ({at})", "{config}", TWO_REDIS
)
REDIS_SHARED = Kind(
    "adopt_redis_shared",
    "{key} of the bench is the Redis of redis_cache, which drops keys when it is full",
    "{config}",
    TWO_REDIS,
)
REDIS_DATABASE = Kind(
    "adopt_redis_database",
    "{key} of the bench is database {db} of its Redis; the queue of a fleet is database 0",
    "{config}",
    "wait until no job waits, take the number out of the URL (`bench set-config -g redis_queue"
    " URL`), and restart the bench",
)
SERVICE_PORT = Kind(
    "adopt_service_port",
    "{key} of the bench is port {port}, but fleet_{service}_port is {wanted}",
    "{config}",
    "set fleet_{service}_port to {port} in the inventory",
)
REDIS_SETTING = Kind(
    "adopt_redis_setting",
    "a fleet cannot take over this setting of the bench's Redis: {setting}",
    "{bench}/{file} on {host}",
    "change it, and restart that Redis with supervisorctl",
)
NOT_BY_SUPERVISOR = Kind(
    "adopt_not_by_supervisor",
    "{process} of the bench ({service}) is not run by supervisor ({unit})",
    "process {pid} on {host}",
    "stop it where it was started (`bench start`, `bench setup systemd`), then let supervisor run"
    f" the bench: {BY_SUPERVISOR}",
)


def check_services(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """The bench's services listen where the inventory says, here, and supervisor runs them."""
    name, bench = host["name"], host["bench_dir"]
    if "common_site_config.json" in found["bench"]["keys"]["unread"]:
        return
    config = f"{bench}/sites/common_site_config.json on {name}"
    ports = {key: found["bench"]["services"][key] for key in SERVICES}
    addresses = found["bench"]["redis"]
    one = len({(a["local"] or a["host"], a["port"]) for a in addresses.values()}) == 1
    for key, address in addresses.items():
        here = address["local"] or address["host"] in host.get("addresses", [])
        if kind := redis_problem(key, address, here, one):
            yield kind.found(
                key=key,
                config=config,
                trouble=address["trouble"],
                at=address["host"],
                db=address["db"],
            )
        else:
            ports[key] = str(address["port"])
    for key, value in ports.items():
        service = SERVICES.get(key, key)
        wanted = str(settings["ports"][service])
        if value and value != wanted:
            yield SERVICE_PORT.found(
                key=key, port=value, service=service, wanted=wanted, config=config
            )
    for file, redis in found["bench"]["files"].items():
        for setting in redis["refused"]:
            yield REDIS_SETTING.found(setting=setting, bench=bench, file=file, host=name)
    for service in SUPERVISED:
        for entry in host["survey"]["listeners"].get(str(settings["ports"][service]), []):
            if entry["unit"] != "supervisor.service":
                yield NOT_BY_SUPERVISOR.found(
                    process=entry["name"] or "a process",
                    service=service,
                    unit=entry["unit"] or "no unit",
                    pid=entry["pid"],
                    host=name,
                    owner=found["bench"]["owner"],
                    folder=PROGRAMS_FOLDER,
                )


def redis_problem(key: str, address: Mapping[str, Any], here: bool, one: bool) -> Kind | None:
    """The kind of problem with a Redis that cannot be taken over; None when it can.

    here: whether it is on this host; one: whether cache and queue are one Redis. The URL itself is
    never shown, as it can carry a password.
    """
    is_queue = key == "redis_queue"
    if address["trouble"]:
        return REDIS_URL
    if address["scheme"] == "unix":
        return REDIS_SOCKET
    if address["scheme"] == "rediss":
        return REDIS_TLS
    if not here:
        return REDIS_ELSEWHERE
    if one and is_queue:
        return REDIS_SHARED
    return REDIS_DATABASE if address["db"] and is_queue else None
