"""Which variables must have the same value in effect on all hosts, and whether they do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..bench.files import without_password
from .problems import Kind, Problem, grouped
from .versions import VARIABLES

VARIABLE_DIFFERS = Kind(
    "variable_differs",
    "{name} is not the same for all hosts: {values}",
    "{name} in the inventory",
    "set it once, for all hosts, in group_vars/all.yml, and take it out of the variables of single"
    " hosts and groups",
)

# Ports and folders that hosts use on each other, what every copy of the code must know, and what
# preflight judges once for the whole fleet. Every other option of the roles is listed as one that
# may differ, in tests/unit/test_agreement.py.
FLEET_WIDE = frozenset(
    {
        # One code on all benches, and tools that generate the same files.
        "bench_apps",
        "bench_cli_dir",
        "bench_cli_version",
        "bench_frappe_branch",
        "bench_frappe_commit",
        "bench_frappe_repo",
        "bench_node_version",
        "bench_uv_version",
        "bench_yarn_version",
        "fleet_bench_dir",
        "fleet_bench_home",
        "fleet_bench_user",
        "fleet_config_dir",
        "fleet_forward_port",
        "fleet_health_port",
        "fleet_lib_dir",
        "fleet_mariadb_port",
        "fleet_read_guard",
        "fleet_record_port",
        "fleet_redis_cache_port",
        "fleet_redis_queue_port",
        "fleet_report_port",
        "fleet_secrets_dir",
        "fleet_seed_user",
        "fleet_sites",
        "fleet_socketio_port",
        "fleet_ssh_port",
        "fleet_standby",
        "fleet_state_dir",
        "fleet_web_port",
        # Read by every process that queues or runs a job.
        "jobs_away_seconds",
        "jobs_heavy",
        "jobs_placement",
        "jobs_when_away",
        "mariadb_open_alone",
        # Each server may become the primary.
        "mariadb_semi_sync",
        "preflight_allowed_variables",
        "preflight_bench_mb",
        "preflight_clock_seconds",
        "preflight_secrets_file",
        "preflight_seed_factor",
        "preflight_seed_spare_mb",
        "preflight_updating",
        "update_back",
        "update_commits",
    }
)
# Where one of these is not set, the release recorded on the host is in force, not the default.
RECORDED = frozenset(VARIABLES.values())


def comparable(kind: str | None, value: Any) -> str:
    """A value as text that is the same for values that mean the same, such as 1 and "1"."""
    # A value of another type is reported as variable_type.
    with suppress(TypeError, ValueError):
        if kind == "bool":
            value = boolean(value)
        elif kind in ("int", "float"):
            value = float(value)
        elif kind in ("path", "str"):
            value = str(value or "")
    return json.dumps(value, sort_keys=True, default=str)


def shown(value: Any) -> str:
    """A value for people, without logins that addresses of repositories may hold."""
    text = json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value)
    return without_password(text) or "nothing"


def agreement_problems(
    given: Mapping[str, Mapping[str, Any]],
    in_effect: Callable[[str, str], Any],
    options: Mapping[str, Mapping[str, Any]],
) -> Iterator[Problem]:
    """Fleet-wide variables that are not the same for all hosts.

    given: each host's variables as the inventory has them. in_effect(host, variable) is the value
    there; it raises LookupError where the value cannot be known. options: the roles', by name.
    """
    for name in sorted(FLEET_WIDE):
        # A default may follow another variable, which is reported by its own name.
        if not any(name in variables for variables in given.values()):
            continue
        found: dict[str, tuple[Any, list[str]]] = {}
        for host, variables in given.items():
            try:
                unset = name in RECORDED and name not in variables
                value = "" if unset else in_effect(host, name)
            except LookupError:
                continue
            key = comparable(options[name].get("type"), value)
            found.setdefault(key, (value, []))[1].append(host)
        if len(found) > 1:
            values = grouped((shown(value), host) for value, on in found.values() for host in on)
            yield VARIABLE_DIFFERS.found(name=name, values=values)
