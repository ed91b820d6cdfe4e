"""The checks that need only hosts and settings, in the order in which to mend their problems.

roles/preflight/vars/main.yml adds those of jobs, versions, runtimes, apps and an adoption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from . import (
    addresses,
    certificates,
    disks,
    folders,
    frappe,
    groups,
    mariadb,
    network,
    ports,
    present,
    record,
    runs,
    secrets,
    sites,
    systems,
    variables,
)
from .problems import Host, Problem, Settings

CHECKS: tuple[Callable[[list[Host], Settings], Iterable[Problem]], ...] = (
    groups.check_groups,
    groups.check_standby,
    groups.check_apart,
    runs.check_runs,
    record.check_record,
    sites.check_other_databases,
    sites.check_sites,
    sites.check_gone_sites,
    variables.check_variables,
    variables.check_types,
    present.check_programs,
    variables.check_read_path,
    variables.check_keep,
    variables.check_proxies,
    variables.check_networks,
    variables.check_service_ip,
    certificates.check_certificates,
    certificates.check_acme,
    folders.check_folders,
    secrets.check_secrets,
    groups.check_left_out,
    addresses.check_addresses,
    addresses.check_server_ids,
    systems.check_systems,
    mariadb.check_databases,
    frappe.check_frappe,
    present.check_marks,
    present.check_update,
    present.check_commands,
    ports.check_ports,
    disks.check_disks,
    network.check_lan,
    network.check_filters,
    network.check_clocks,
    mariadb.check_shared,
)


def preflight_problems(hosts: list[Host], settings: Settings) -> list[Problem]:
    """All problems of a fleet; [] when the run may continue."""
    return [found for check in CHECKS for found in check(hosts, settings)]
