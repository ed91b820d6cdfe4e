#!/usr/bin/python
"""Open the fleet's confirmed primary for writes, now and after each start of the server."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.mariadb.primary import open_for_writes
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_open
short_description: The confirmed primary accepts writes, also after a restart
description:
  - Writes the marker that the server's unit checks after each start, and opens the running server.
  - Refuses on a host of another fleet, and on a server that follows another one.
options:
  marker:
    description: The marker's path.
    type: path
    required: true
  fleet_file:
    description: The file with the id of this host's fleet.
    type: path
    required: true
  fleet_id:
    description: The fleet that confirms this primary.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Primary accepts writes, also after a restart
  mariadb_open:
    marker: "{{ fleet_state_dir }}/mariadb-primary"
    fleet_file: "{{ fleet_config_dir }}/fleet.json"
    fleet_id: "{{ fleet_secrets.fleet_id }}"
"""

RETURN = r"""
read_only:
  description: Whether the server was read-only before.
  returned: when there is a server
  type: bool
root_takes_password:
  description: Whether root can sign in there with a password, for which C(bench new-site) asks.
  returned: when there is a server
  type: bool
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "marker": {"type": "path", "required": True},
            "fleet_file": {"type": "path", "required": True},
            "fleet_id": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    answer(
        module,
        lambda: open_for_writes(**module.params, check_mode=module.check_mode),
        would={
            "msg": "would open the server as primary",
            "diff": {"after": "open for writes\n"},
        },
    )


if __name__ == "__main__":
    main()
