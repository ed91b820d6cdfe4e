"""Which variables the whole fleet shares, and whether all hosts have the same value in effect.

The variables of other hosts hold what the inventory says and no role's defaults, so what is in
effect there is put together here. Hosts that --limit leaves out count as well: the others are set
up to talk to them.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.bench.files import without_password

ROLES = Path(__file__).parents[1] / "roles"

# Every option of our roles stands in one of these two sets (tests/unit/test_agreement.py).
# Fleet-wide is what one host does and another relies on: ports and folders that hosts use on each
# other, what every copy of the code must know, and what preflight judges once for all.
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
        "fleet_health_port",
        "fleet_lib_dir",
        "fleet_mariadb_port",
        "fleet_read_guard",
        "fleet_redis_cache_port",
        "fleet_redis_queue_port",
        "fleet_report_port",
        "fleet_secrets_dir",
        "fleet_seed_user",
        "fleet_sites",
        "fleet_socketio_port",
        "fleet_ssh_port",
        "fleet_state_dir",
        "fleet_web_port",
        # Every process that queues or does a job decides by these.
        "jobs_away_seconds",
        "jobs_heavy",
        "jobs_placement",
        "jobs_when_away",
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
OWN = frozenset(
    {
        # Of the primary alone, which is one host.
        "adopt_backup_dir",
        "adopt_restart_confirmed",
        "adopt_sudo_confirmed",
        "bench_build_assets",
        "fleet_adopt",
        "redis_cache_memory_mb",
        "redis_queue_memory_mb",
        "router_acme_email",
        "router_acme_server",
        "router_certificate",
        "router_certificate_key",
        "router_connect_timeout",
        "router_drain_seconds",
        "router_max_upload",
        "router_node_drained",
        "router_primary_methods",
        "router_read_timeout",
        "router_report_methods",
        "router_report_pool_calls",
        "router_trusted_proxies",
        "router_report_retry_window",
        "site_accounts_max_statement_time",
        "site_accounts_max_user_connections",
        "update_backup_dir",
        "update_job_seconds",
        # Of a host, or of a group of hosts that are alike.
        "bench_background_workers",
        "bench_python",
        "bench_python_mirror",
        "bench_environment",
        "bench_web_arguments",
        "bench_web_workers",
        "firewall_allow",
        "firewall_ports",
        "fleet_http_proxy",
        "fleet_keep",
        "fleet_memory_mb",
        "fleet_untried_system",
        "mariadb_replica_catch_up_timeout",
        "mariadb_replica_heartbeat_max_age",
        "mariadb_replica_reseed",
        "mariadb_server_id",
        "mariadb_settings_extra",
        "read_guard_fallback_calls",
        "read_guard_fallback_seconds",
        "read_guard_policy",
        "read_guard_wait",
        "site_accounts_timeout",
        "site_sync_connect_timeout",
        "site_sync_log_days",
        "site_sync_transfer_timeout",
        "site_sync_wait",
        "verify_file_seconds",
        "verify_job_seconds",
        "verify_passwords",
        "verify_user",
    }
)
# Where nothing is set, the release that is recorded on the host is in force, and not the default.
RECORDED = frozenset(
    {"bench_cli_version", "bench_node_version", "bench_uv_version", "bench_yarn_version"}
)


@functools.cache
def role_defaults() -> dict[str, Any]:
    """The defaults of all roles, as they are written: templates among them are not resolved."""
    found: dict[str, Any] = {}
    loader = DataLoader()
    # Role fleet has them all, so that every role that depends on it knows them.
    for file in sorted(ROLES.glob("fleet/defaults/main/*.yml")):
        found |= loader.load_from_file(str(file), trusted_as_template=True)
    return found


@functools.cache
def role_options() -> dict[str, Any]:
    """The options of all roles, as their argument specs have them."""
    found: dict[str, Any] = {}
    for file in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specs.values():
            found |= entry.get("options") or {}
    return found


def variables_of(host: str, hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """A host's variables as they are written: the roles' defaults, and over them the inventory."""
    raw = getattr(hostvars, "raw_get", hostvars.__getitem__)
    return {**role_defaults(), **raw(host)}


def in_effect(host: str, hostvars: Mapping[str, Any], name: str) -> Any:
    """A variable's value in effect on another host.

    Raises AnsibleFilterError for one that depends on what is not known of the host.
    """
    variables = variables_of(host, hostvars)
    try:
        return Templar(variables=variables).template(variables[name])
    except AnsibleError as error:
        raise AnsibleFilterError(f"{name} of {host} cannot be told from here: {error}") from error


def comparable(name: str, value: Any) -> str:
    """A value as text that is the same for values that mean the same, such as 1 and "1"."""
    kind = role_options()[name].get("type")
    try:
        if kind == "bool":
            value = boolean(value)
        elif kind in ("int", "float"):
            value = float(value)
        elif kind in ("path", "str"):
            value = str(value or "")
    except (TypeError, ValueError):
        # Reported with the types.
        pass
    return json.dumps(value, sort_keys=True, default=str)


def shown(value: Any) -> str:
    """A value for people, without the logins that addresses of repositories may hold."""
    text = json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value)
    return without_password(text) or "nothing"


def agreement_problems(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> list[dict[str, str]]:
    """Fleet-wide variables that are not the same for all of these hosts (see preflight.py)."""
    names = list(hosts)
    problems = []
    for name in sorted(FLEET_WIDE):
        # A default may follow another variable, which is told by its own name.
        if not any(name in hostvars[host] for host in names):
            continue
        found: dict[str, tuple[Any, list[str]]] = {}
        for host in names:
            if name in RECORDED and name not in hostvars[host]:
                value = ""
            else:
                try:
                    value = in_effect(host, hostvars, name)
                except AnsibleFilterError:
                    # Depends on facts of a host that is left out of this run: nobody can tell.
                    continue
            found.setdefault(comparable(name, value), (value, []))[1].append(host)
        if len(found) < 2:
            continue
        words = "; ".join(f"{shown(value)} for {', '.join(on)}" for value, on in found.values())
        problems.append(
            {
                "what": f"{name} is not the same for all hosts: {words}",
                "place": f"{name} in the inventory",
                "remedy": "set it once, for all hosts, in group_vars/all.yml, and take it out of "
                "the variables of single hosts and groups",
            }
        )
    return problems


class FilterModule:
    """Filters of role preflight, and of whoever needs a variable of another host."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {"agreement_problems": agreement_problems, "in_effect": in_effect}
