"""Filters of role preflight and others: the checks are in module_utils/fleet/preflight."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet import controller
from fleet.bench.program_settings import program_problems
from fleet.filters import named
from fleet.preflight import (
    addresses,
    apps,
    checks,
    frappe,
    hosts,
    leaving,
    mariadb,
    network,
    problems,
    reach,
    record,
    runs,
    runtimes,
    secrets,
    systems,
    variables,
    versions,
)
from fleet.survey import state


def own_run(_value: object) -> dict[str, Any]:
    """The run that evaluates this, see fleet/controller.py."""
    return dict(controller.RUN)


FILTERS: dict[str, Callable[..., Any]] = {
    "app_leaving_problems": leaving.app_leaving_problems,
    "app_problems": apps.app_problems,
    "filter_warnings": network.filter_warnings,
    "fleet_hosts": hosts.fleet_hosts,
    "has_account": state.has_account,
    "has_file": state.has_file,
    "has_group": state.has_group,
    "has_unit": state.has_unit,
    "is_code_known": versions.is_code_known,
    "is_recorded": record.is_recorded,
    "lan_server_id": addresses.lan_server_id,
    "leaving_problems": leaving.leaving_problems,
    "leaving_text": leaving.leaving_text,
    "left_out": reach.left_out,
    "memory_warnings": mariadb.memory_warnings,
    "missing_secrets": secrets.missing_secrets,
    "newest_record": record.newest_record,
    "own_run": own_run,
    "pdf_warnings": frappe.pdf_warnings,
    "preflight_addresses": addresses.addresses_of,
    "preflight_known_variables": variables.known_variables,
    "preflight_lan_ip": addresses.good_lan_ip,
    "preflight_mariadb": mariadb.mariadb_of,
    "preflight_opened_secrets": secrets.opened_secrets,
    "preflight_problems": checks.preflight_problems,
    "preflight_secrets_state": secrets.secrets_state,
    "preflight_text": problems.preflight_text,
    "preflight_ways": network.ways,
    "python_headers": runtimes.python_headers,
    "python_of": runtimes.python_of,
    "reach_problems": reach.reach_problems,
    "release_nodes": versions.release_nodes,
    "program_problems": program_problems,
    "release_versions": versions.release_versions,
    "run_warnings": runs.run_warnings,
    "runtime_problems": runtimes.runtime_problems,
    "runtime_warnings": versions.runtime_warnings,
    "shared_settings": mariadb.shared_settings,
    "system_problems": systems.system_problems,
    "system_warnings": systems.system_warnings,
    "unasked": reach.unasked,
    "unread_code_problems": versions.unread_code_problems,
    "version_problems": versions.version_problems,
    "versions_in_force": versions.versions_in_force,
    "wanted_apps": versions.wanted_apps,
    "without_hosts": hosts.without_hosts,
}


class FilterModule:
    """Filters of the roles preflight, fleet, bench and verify, and of the playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return named(FILTERS)
