"""Return the state of all servers of the fleet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.status.fleet import status

NEEDED = {"type": "dict", "required": True}

DOCUMENTATION = r"""
module: fleet_status
short_description: Status of every host, and of the fleet as a whole
description:
  - Fails only when no host could be asked; C(fleet.level) says whether all is well.
options:
  inventory:
    description: Path of the inventory; its folder names the fleet.
    type: str
    required: true
  hosts:
    description: "Host to {role, status, trouble}: what node_status returned, or why it did not."
    type: dict
    required: true
  unasked:
    description: "Why hosts could not be asked: {problems, text}, see fleet/preflight/reach.py."
    type: dict
    required: true
  release:
    description: "What this Benchfleet installs in a new fleet: tool to release."
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Fleet's status is known
  fleet_status:
    inventory: /srv/inventory/mine
    hosts: {rep1: {role: reporting, status: {}, trouble: left out by --limit}}
    unasked: {problems: [], text: ""}
    release: {uv: 0.13.9}
"""

RETURN = r"""
fleet:
  description: >-
    The fleet as a whole, {name, inventory, level, problems, warnings, troubles, answer_reports}.
    level is ok, amber or red: the worst of all troubles of the hosts, and of those that only their
    comparison shows (troubles: id, what, level, remedy). problems is the number of red ones,
    warnings of amber ones; answer_reports names the nodes that answer reports.
  returned: always
  type: dict
level: {description: The level of the fleet., returned: always, type: str}
status:
  description: >-
    A row for each host: what node_status returned, with in_service (yes, drained, waiting,
    fallback, no_web or no_answer).
  returned: always
  type: list
slow:
  description: "The slowest reports of the last day: {name, host, seconds, at}."
  returned: always
  type: list
waits:
  description: "Who waits for whom in MariaDB now, and what runs long: {host, waiting_id,
    blocking_id, seconds, query, user, blocking_user, blocking_query}."
  returned: always
  type: list
problems:
  description: "Why hosts could not be asked: {id, what, place, remedy, facts}; text has the same
    for people."
  returned: always
  type: list
file_systems:
  description: "Those that the fleet writes to: {host, path, holds, bytes, free, files_free,
    used, full, needed, level}; needed: bytes that the next update writes there."
  returned: always
  type: list
kept:
  description: "Old dumps, data and code that are kept: {host, id, what, path, number, bytes,
    oldest}."
  returned: always
  type: list
versions:
  description: >-
    A row for each software and the hosts that have the same release, {software, hosts, in_force,
    recorded, available, upgrade}; upgrade says how, "" where there is nothing newer.
  returned: always
  type: list
"""


class ActionModule(ActionBase):
    """The status of all hosts, put together."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the result; no module is started for it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            {
                **dict.fromkeys(("hosts", "unasked", "release"), NEEDED),
                "inventory": {"type": "str", "required": True},
            }
        )
        names = ("inventory", "hosts", "release", "unasked")
        why, found = status(*(given[name] for name in names))
        failure = {"failed": True, "msg": why} if why else {}
        return {**result, **found, "changed": False, **failure}
