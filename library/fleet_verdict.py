#!/usr/bin/python
"""The verdict over all checks of verify."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.verify.catalogue import closing, complete, red_table

DOCUMENTATION = r"""
module: fleet_verdict
short_description: All checks of verify, complete and in order; fails when one of them is red
options:
  checks: {description: Results of the check modules., type: list, elements: dict, required: true}
  hosts:
    description: "Host to {role, trouble}: a check a host did not make is red, for this reason."
    type: dict
    required: true
  unasked:
    description: >-
      Why hosts could not be asked: {problems, text, causes}, see filter_plugins/reach.py.
    type: dict
    required: true
"""

RETURN = r"""
checks:
  description: >-
    All checks: {id, row, check, host, ok, applicable, asked, saw, wanted, remedy}; asked is whether
    the host could be asked.
  returned: always
  type: list
problems:
  description: "Why hosts could not be asked: {what, place, remedy}; text has them for people."
  returned: always
  type: list
"""


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "checks": {"type": "list", "elements": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
            "unasked": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    hosts, unasked = module.params["hosts"], module.params["unasked"]
    checks = complete(module.params["checks"], hosts, unasked["causes"])
    found = {"checks": checks, "problems": unasked["problems"], "text": unasked["text"]}
    red = [entry for entry in checks if not entry["ok"]]
    left = [f"{name}: {about['left']}" for name, about in hosts.items() if about.get("left")]
    if not checks:
        module.fail_json(msg="no check was made: the inventory has no host in primary or reporting")
    if red:
        shown = [entry for entry in red if entry["asked"]]
        silent = len(red) - len(shown)
        parts = [
            unasked["text"],
            f"{silent} of {len(checks)} checks could not be made" if silent else "",
            f"{len(shown)} of {len(checks)} checks are red" if shown else "",
            red_table(shown),
        ]
        module.fail_json(msg="\n\n".join(part for part in parts if part), **found)
    if left:
        module.fail_json(msg="verify could not clean up: " + "; ".join(left), **found)
    module.exit_json(changed=False, msg=closing(checks), **found)


if __name__ == "__main__":
    main()
