#!/usr/bin/python
"""Return the state of all servers of the fleet."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule, required
from ansible.module_utils.fleet.status.fleet import status

DOCUMENTATION = r"""
module: fleet_status
short_description: Status of every host, including those that could not be asked
description:
  - Fails when a host could not be asked; the status of the others is returned all the same.
options:
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
    hosts: {rep1: {role: reporting, status: {}, trouble: left out by --limit}}
    unasked: {problems: [], text: ""}
    release: {uv: 0.13.9}
"""

RETURN = r"""
status: {description: A row for each host., returned: always, type: list}
problems:
  description: "Why hosts could not be asked: {id, what, place, remedy, facts}; text has the same
    for people."
  returned: always
  type: list
file_systems:
  description: "Those that the fleet writes to: {host, path, holds, bytes, free, files_free,
    used, full}."
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


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("dict", "hosts", "unasked", "release"),
        },
        supports_check_mode=True,
    )
    params = module.params
    why, found = status(params["hosts"], params["release"], params["unasked"])
    if why:
        module.fail_json(msg=why, **found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
