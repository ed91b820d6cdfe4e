"""Filters for benches: files of the bench CLI as a fleet needs them, addresses, apps, secrets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.bench import files as bench_files
from fleet.bench.redis_config import redis_config, redis_copied
from fleet.bench.supervisor_config import (
    stock_config,
    supervisor_config,
    supervisor_groups,
    supervisor_programs,
)


def config_keys(kind: str) -> list[str]:
    """Keys of common_site_config.json, by what is done with them.

    kind: "out" for those that the primary does not have, "absent" for those that a reporting node
    does not have, "back" for those that a release puts back; see module_utils/fleet/bench/files.py.
    """
    files = bench_files
    kinds = {
        "out": (files.OUT,),
        "absent": (files.OUT, files.PRIMARY, files.REFUSED),
        "back": (files.SET, files.OWN, files.OUT),
    }
    found: list[str] = files.keys_that_are(*kinds[kind])
    return found


def host_port(address: str, port: int) -> str:
    """HOST:PORT with the brackets that an IPv6 address needs."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def bench_id(path: str) -> str:
    """The prefix of queues that Frappe derives from a bench's path.

    With exactly this value as a setting, jobs that already wait in the queue are kept.
    """
    return path.strip("/").replace("/", "-")


def known_host(address: str, port: int) -> str:
    """A host's name in known_hosts: with brackets and port unless the port is 22."""
    return address if int(port) == 22 else f"[{address}]:{int(port)}"


def lockstep_apps(
    apps: dict[str, Any],
    user: str,
    address: str,
    port: int,
    bench: str,
    upstreams: dict[str, str],
) -> list[dict[str, Any]]:
    """The apps of a reporting bench: the primary's, over the LAN, at its commits, frappe first.

    ``apps`` and ``upstreams`` are the primary's, as the module bench_info returns them; ``port`` is
    its sshd's.
    """
    host = f"[{address}]" if ":" in address else address
    if int(port) != 22:
        host = host_port(address, int(port))
    names = sorted(apps, key=lambda name: (name != "frappe", name))
    return [
        {
            "name": name,
            "repo": f"ssh://{user}@{host}{bench}/apps/{name}",
            "branch": None,
            "commit": apps[name]["commit"],
            "upstream": upstreams.get(name),
        }
        for name in names
    ]


def repo_logins(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Apps with ``repo`` and ``login``, the account ``//USER:PASSWORD@`` of its URL, separate.

    The login is a secret option of the module bench_init. Ansible strikes the value of such an
    option out of everything that the module returns: as a secret, a whole ``repo``, which may be
    just the app's name, would be missing in messages and paths.
    """
    apart = []
    for app in apps:
        found = bench_files.ACCOUNT.search(app["repo"])
        login = found.group() if found else ""
        repo = app["repo"].replace(login, "//", 1) if login else app["repo"]
        apart.append({**app, "repo": repo, "login": login})
    return apart


def secret_part(config: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that must never be shown."""
    return {key: value for key, value in config.items() if bench_files.is_secret(key, value)}


def public_part(config: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that may be shown."""
    return {key: value for key, value in config.items() if not bench_files.is_secret(key, value)}


def proxy_environment(proxy: str) -> dict[str, str]:
    """Environment of what downloads on a host: {} without a proxy.

    Apt, pip, uv, npm, yarn, git and Frappe all read these variables.
    """
    if not proxy:
        return {}
    return {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "localhost,127.0.0.1"}


class FilterModule:
    """Filters for benches."""

    def filters(self) -> dict[str, Any]:
        """Names under which Ansible finds the functions."""
        return {
            "stock_config": stock_config,
            "supervisor_config": supervisor_config,
            "supervisor_programs": supervisor_programs,
            "supervisor_groups": supervisor_groups,
            "redis_config": redis_config,
            "redis_copied": redis_copied,
            "config_keys": config_keys,
            "host_port": host_port,
            "bench_id": bench_id,
            "known_host": known_host,
            "lockstep_apps": lockstep_apps,
            "repo_logins": repo_logins,
            "secret_part": secret_part,
            "public_part": public_part,
            "proxy_environment": proxy_environment,
        }
