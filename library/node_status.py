#!/usr/bin/python
"""What one server of the fleet is doing, in one execution."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.status.host import status

DOCUMENTATION = r"""
module: node_status
short_description: MariaDB, replication, bench, site files, disk and memory of this host
description:
  - Only reads, and never fails because something does not run; C(state) says so.
options:
  host: {description: Name of the host in the inventory., type: str, required: true}
  role: {description: Its task., choices: [primary, reporting], required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  guard_state: {description: State folder of the read path's guard., type: path, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  certificates: {description: Folder of the fleet's own ones., type: path, required: true}
  mark: {description: The fleet's mark on the host., type: path, required: true}
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  queue: {description: Settings of the queue's Redis., type: path, required: true}
  backups: {description: Where updates put their dumps., type: path, required: true}
  adopted: {description: Where the records of adoptions are., type: path, required: true}
  places:
    description: Further folders in which something of the fleet's is written, C({path, holds}).
    type: list
    elements: dict
    required: true
"""

RETURN = r"""
status:
  description: >-
    {host, role, state, mariadb, replication, lag_seconds, apps, sync_age_seconds, workers,
    certificate_days {authority, server} that are left, disk_free, memory_free}, and of a
    reporting node {reports_read, fallbacks, write_under_read_only}, of the primary {drained, sites,
    sites_not_served}; what could not be found out is null, and C(state) says why. With file_systems
    [{path, holds, bytes, free, files_free, used, full}], kept [{what, path, number, bytes,
    oldest}], and versions {format, recorded, tools, mariadb, mariadb_candidate}.
  returned: always
  type: dict
"""


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "role": {"type": "str", "choices": ["primary", "reporting"], "required": True},
            "bench": {"type": "path", "required": True},
            "guard_state": {"type": "path", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "certificates": {"type": "path", "required": True},
            "mark": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "queue": {"type": "path", "required": True},
            "backups": {"type": "path", "required": True},
            "adopted": {"type": "path", "required": True},
            "places": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, status=status(module.params))


if __name__ == "__main__":
    main()
