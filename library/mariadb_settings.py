#!/usr/bin/python
"""Give a running MariaDB server the settings of its option file, by a restart only if needed."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.apply import bring
from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.module import FleetModule, required

DOCUMENTATION = r"""
module: mariadb_settings
short_description: A running MariaDB server has the settings of its option file
description:
  - Compares the wanted settings with those of the running server. Changes them in place where that
    is possible, and the rest by one restart.
  - Fails without a restart where a later file or the command line sets another value, or where an
    option has a value with which no fleet can work.
  - Fails without a restart where that would not help, because the server was started after the last
    change of its files.
  - Starts and enables the service, reloads changed units and renewed TLS files.
  - Does nothing while a seed is moving data into place (O(fence) exists).
options:
  settings:
    description: Name to value; booleans for switches, sizes as numbers or with K, M, G.
    type: dict
    required: true
  file:
    description: The option file with these settings.
    type: path
    required: true
  runtime:
    description: Settings whose running value is not compared, such as those of an opened primary.
    type: list
    elements: str
    default: []
  fence:
    description: Path that exists while data is being moved into place.
    type: path
    required: true
  adopted:
    description: Path that exists on a host whose server was adopted.
    type: path
    required: true
  restart_confirmed:
    description: Whether such a server may be restarted.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Server runs with its settings
  mariadb_settings:
    settings: {innodb_buffer_pool_size: 2G, read_only: true}
    file: /etc/mysql/mariadb.conf.d/99-benchfleet.cnf
    runtime: [read_only]
    fence: "{{ fleet_state_dir }}/mariadb-swap"
    adopted: "{{ fleet_state_dir }}/adopted.json"
"""

RETURN = r"""
applied:
  description: Settings that were set in the running server.
  returned: always
  type: list
restarted_for:
  description: Settings (or other reasons) that needed a restart.
  returned: always
  type: list
restarts:
  description: C(MariaDB) where it was restarted, or would be in check mode.
  returned: always
  type: list
restart_seconds:
  description: "Seconds until it answered again, C({MariaDB: seconds})."
  returned: after a restart
  type: dict
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "file", "fence", "adopted"),
            "settings": {"type": "dict", "required": True},
            "runtime": {"type": "list", "elements": "str", "default": []},
            "restart_confirmed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    answer(module, lambda: bring(module))


if __name__ == "__main__":
    main()
