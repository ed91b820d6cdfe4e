"""Every check of preflight, in the order in which one would mend what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .addresses import check_addresses, check_server_ids
from .certificates import check_acme, check_certificates
from .disks import check_disks
from .folders import check_folders
from .frappe import check_frappe
from .groups import check_groups, check_left_out
from .mariadb import check_databases, check_shared
from .network import check_clocks, check_filters, check_lan
from .ports import check_ports
from .present import check_commands, check_marks, check_programs, check_update
from .problems import Host, Problem, Settings
from .secrets import check_secrets
from .sites import check_gone_sites, check_other_databases, check_sites
from .systems import check_systems
from .variables import (
    check_keep,
    check_networks,
    check_proxies,
    check_read_path,
    check_types,
    check_variables,
)

CHECKS: tuple[Callable[[list[Host], Settings], Iterable[Problem]], ...] = (
    check_groups,
    check_other_databases,
    check_sites,
    check_gone_sites,
    check_variables,
    check_types,
    check_programs,
    check_read_path,
    check_keep,
    check_proxies,
    check_networks,
    check_certificates,
    check_acme,
    check_folders,
    check_secrets,
    check_left_out,
    check_addresses,
    check_server_ids,
    check_systems,
    check_databases,
    check_frappe,
    check_marks,
    check_update,
    check_commands,
    check_ports,
    check_disks,
    check_lan,
    check_filters,
    check_clocks,
    check_shared,
)


def preflight_problems(hosts: list[Host], settings: Settings) -> list[Problem]:
    """All problems of a fleet; [] when it may go on."""
    return [found for check in CHECKS for found in check(hosts, settings)]
