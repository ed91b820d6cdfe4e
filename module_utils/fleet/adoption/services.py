"""The bench's services: they listen where the inventory says, and supervisor runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..preflight.problems import Host, Problem, Settings, problem
from .host import Found
from .programs import supervised

# Key of common_site_config.json, and the service of preflight whose port it names.
SERVICES = {"webserver_port": "web", "socketio_port": "socketio"}
REDIS = ("redis_cache", "redis_queue")
# Services whose listeners supervisor must run.
SUPERVISED = ("web", "redis_cache", "redis_queue", "socketio")


def check_services(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """The bench's services listen where the inventory says, here, and supervisor runs them."""
    name = host["name"]
    if "common_site_config.json" in found["bench"]["keys"]["unread"]:
        return
    config = f"{host['bench_dir']}/sites/common_site_config.json on {name}"
    ports = {key: found["bench"]["services"][key] for key in SERVICES}
    addresses = found["bench"]["redis"]
    one = len({(a["local"] or a["host"], a["port"]) for a in addresses.values()}) == 1
    for key in REDIS:
        address = addresses[key]
        here = address["local"] or address["host"] in host.get("addresses", [])
        trouble = redis_trouble(key, address, here, one)
        if trouble:
            yield problem(f"{key} of the bench {trouble[0]}", config, trouble[1])
        else:
            ports[key] = str(address["port"])
    for key, value in ports.items():
        service = SERVICES.get(key, key)
        port = str(settings["ports"][service])
        if value and value != port:
            yield problem(
                f"{key} of the bench is port {value}, and fleet_{service}_port is {port}",
                config,
                f"set fleet_{service}_port to {value} in the inventory",
            )
    for file, said in found["bench"]["files"].items():
        for words in said["refused"]:
            yield problem(
                f"a fleet cannot take over a setting of the bench's Redis: {words}",
                f"{host['bench_dir']}/{file} on {name}",
                "change it, and restart that program by supervisor",
            )
    for service in SUPERVISED:
        for entry in host["survey"]["listeners"].get(str(settings["ports"][service]), []):
            if entry["unit"] != "supervisor.service":
                yield problem(
                    f"{entry['name'] or 'a process'} of the bench ({service}) is not run by "
                    "supervisor"
                    f" ({entry['unit'] or 'no unit'})",
                    f"process {entry['pid']} on {name}",
                    "stop it there (`bench start`, `bench setup systemd`), and let supervisor run"
                    f" the bench: {supervised(found)}",
                )


def redis_trouble(
    key: str, address: Mapping[str, Any], here: bool, one: bool
) -> tuple[str, str] | None:
    """Why a Redis of the bench's cannot be taken over, and the remedy; None when it can.

    here: whether it is on this host; one: whether cache and queue are one Redis. No word of the URL
    is said but what redis-py makes of it: it can carry a password.
    """
    own = (
        "give the bench two of its own: `bench set-config -g redis_cache redis://127.0.0.1:PORT`,"
        " the same for redis_queue with another port, `bench setup redis`, and let supervisor run"
        " them: `bench setup supervisor`, then supervisorctl update"
    )
    if address["trouble"]:
        return address["trouble"], f"`bench set-config -g {key} redis://127.0.0.1:PORT`"
    if address["scheme"] == "unix":
        return "is a socket, and the fleet's hosts come by a port", own
    if address["scheme"] == "rediss":
        return "is encrypted (rediss://), and the fleet's Redis is not", own
    if not here:
        return f"is on another host ({address['host']})", own
    if one and key == "redis_queue":
        return "is the Redis of redis_cache, which drops what it has when it is full", own
    if address["db"] and key == "redis_queue":
        return (
            f"is database {address['db']} of its Redis, and a fleet's queue is database 0",
            "wait until no job waits, take the number out of the URL (`bench set-config -g"
            " redis_queue URL`), and restart the bench",
        )
    return None
