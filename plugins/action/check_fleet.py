"""Compare the hosts of a fleet, and give the verdict over all checks of verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.verify.fleet import judge

NEEDED = {"type": "dict", "required": True}

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
      A check that a host did not make is unknown, for the reason that trouble names.
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
    All checks: {id, row, about, check, host, state, ok, because, applicable, compared, proved,
    asked, saw, wanted, remedy, facts}. about: the row's name. state: ok, failed or unknown.
    because: for an unknown one the cause, "ID on HOST", or "". proved: whether the remedy's cause
    was seen. applicable: whether there was anything to check. compared: false where a host to
    compare with was not seen. asked: whether the state is known. facts: values behind saw.
  returned: always
  type: list
left:
  description: What verify made and could not remove, by host.
  returned: always
  type: list
problems:
  description: "Why hosts could not be asked: {id, what, place, remedy, facts}; text has the same
    for people."
  returned: always
  type: list
"""


class ActionModule(ActionBase):
    """The checks that need all hosts, and the verdict."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the result; no module is started for it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            {
                "checks": {"type": "list", "elements": "dict", "required": True},
                **dict.fromkeys(("nodes", "placed", "unasked"), NEEDED),
                "ports": {"type": "list", "elements": "int", "required": True},
                "allowed": {"type": "list", "elements": "str", "default": []},
            }
        )
        holds, found = judge(given)
        return {**result, **found, "changed": False, "failed": not holds}
