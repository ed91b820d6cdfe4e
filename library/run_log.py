#!/usr/bin/python
"""Read the log of the runs that changed a host."""

from __future__ import annotations

from ansible.module_utils.fleet import runs
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: run_log
short_description: The runs that changed a host
description: Changes nothing. The log has the last 200 runs.
options:
  host: {description: Name of the host in the inventory., type: str, required: true}
  state_dir: {description: Folder of the fleet's state on this host., type: path, required: true}
"""

EXAMPLES = r"""
- name: Runs are known
  run_log:
    host: "{{ inventory_hostname }}"
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
runs:
  description: The runs, oldest first, see fleet/runs.py.
  returned: success
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    found = runs.log(module.params["state_dir"])
    module.exit_json(changed=False, runs=[{**run, "host": module.params["host"]} for run in found])


if __name__ == "__main__":
    main()
