#!/usr/bin/python
"""Compare the hosts of a fleet, and give the verdict over all checks of verify."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.verify.fleet import judge

DOCUMENTATION = r"""
module: check_fleet
short_description: Checks of verify that are made on the controller, and the verdict over all
description:
  - Compares what check_primary and check_reporting saw, and connects to the fleet's ports.
  - Returns all checks in order, also those that were not made, and fails when one is red.
options:
  checks: {description: Results of the other modules., type: list, elements: dict, required: true}
  nodes:
    description: >-
      Host to {role, lan_ip, seen, planned, trouble, left}; seen is empty for a host that gave none.
      A check that a host did not make is red, for the reason that trouble names.
    type: dict
    required: true
  placed:
    description: "Queue to the hosts that should do its jobs, by jobs_placement."
    type: dict
    required: true
  ports:
    description: TCP ports that only the fleet may reach.
    type: list
    elements: int
    required: true
  allowed:
    description: Addresses and networks besides the fleet's that may reach the ports.
    type: list
    elements: str
    default: []
  unasked:
    description: >-
      Why hosts could not be asked: {problems, text, causes}, see fleet/preflight/reach.py.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Hosts are compared, and called from outside
  check_fleet:
    nodes: {rep1: {role: reporting, lan_ip: 192.0.2.21, seen: {}, planned: {}}}
    placed: {at-rep1: [rep1]}
    ports: ["{{ fleet_mariadb_port }}"]
    checks: []
    unasked: {problems: [], text: ""}
"""

RETURN = r"""
checks:
  description: >-
    All checks: {id, row, check, host, ok, applicable, compared, asked, saw, wanted, remedy, facts}.
    applicable: whether there was anything to check. compared: false where a host to compare with
    was not seen. asked: whether the host could be asked. facts: values behind saw.
  returned: always
  type: list
problems:
  description: "Why hosts could not be asked: {id, what, place, remedy, facts}; text has the same
    for people."
  returned: always
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "checks": {"type": "list", "elements": "dict", "required": True},
            "nodes": {"type": "dict", "required": True},
            "placed": {"type": "dict", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "allowed": {"type": "list", "elements": "str", "default": []},
            "unasked": {"type": "dict", "required": True},
        }
    )
    holds, found = judge(module.params)
    if not holds:
        module.fail_json(**found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
