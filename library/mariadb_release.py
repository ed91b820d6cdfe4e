#!/usr/bin/python
"""Give a MariaDB server back its own settings, accounts and databases."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.mariadb.release import release
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.snapshot import SnapshotError

DOCUMENTATION = r"""
module: mariadb_release
short_description: An adopted server gets its own settings, accounts and databases back
description:
  - Drops what the fleet made - accounts that it noted in benchfleet.account, its own ones, those
    for 127.0.0.1 beside local accounts, the database benchfleet - and nothing that existed before.
    An account as which views, triggers, routines or events run is locked instead.
  - Restarts the server once where it still runs with the fleet's option file, and removes the
    binary logs where there were none before.
  - Refuses while a replica is connected.
options:
  state_file: {description: File with the path of the host's record., type: path, required: true}
  file: {description: The fleet's option file., type: path, required: true}
  log_bin: {description: Name of the fleet's binary logs., type: str, required: true}
  look_only:
    description: Only check whether a replica is connected.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: MariaDB has its own settings, accounts and databases
  mariadb_release:
    state_file: "{{ fleet_state_dir }}/adopted.json"
    file: /etc/mysql/mariadb.conf.d/99-benchfleet.cnf
    log_bin: binlog
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state_file": {"type": "path", "required": True},
            "file": {"type": "path", "required": True},
            "log_bin": {"type": "str", "required": True},
            "look_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: release(module), SnapshotError, OSError, ValueError)


if __name__ == "__main__":
    main()
