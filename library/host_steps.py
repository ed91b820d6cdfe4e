#!/usr/bin/python
"""Do the work of several modules, one after another, in one execution."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.steps import do

DOCUMENTATION = r"""
module: host_steps
short_description: The work of several modules on this host, up to the first that fails
description:
  - While users wait for a change of the primary, each execution of a module would cost as much as
    its work, or more. C(at_host) calls this for modules that follow each other.
options:
  steps:
    description: >-
      The modules in their order, each {module, arguments}, and C(name) where one module is called
      twice. They are bench_switch, fleet_record, forward, mariadb_switch and redis_switch.
    type: list
    elements: dict
    required: true
  seconds:
    description:
      - After so many seconds no further step is begun. A controller that has given up by then may
        take back what was done. 0 for no limit.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Primary takes no more writes
  host_steps:
    steps:
      - module: mariadb_switch
        arguments: {step: close, seconds: 60}
      - module: mariadb_switch
        name: after
        arguments: {step: look}
    seconds: 20
"""

RETURN = r"""
said: {description: "The result of each step, by its name or module.", type: dict}
at: {description: "The step that failed, empty where none did.", type: str}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "steps": {"type": "list", "elements": "dict", "required": True},
            "seconds": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    found = do(module, module.params["steps"], module.params["seconds"])
    (module.fail_json if found.get("failed") else module.exit_json)(**found)


if __name__ == "__main__":
    main()
