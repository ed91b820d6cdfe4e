#!/usr/bin/python
"""The verdict over all checks of verify."""

from __future__ import annotations

from ansible.module_utils.fleet import FleetModule
from ansible.module_utils.verify_checks import closing, complete, red_table

DOCUMENTATION = r"""
module: fleet_verdict
short_description: All checks of verify, complete and in order; fails when one of them is red
options:
  checks: {description: Results of the check modules., type: list, elements: dict, required: true}
  hosts:
    description: "Host to {role, trouble}: a check a host did not make is red, for this reason."
    type: dict
    required: true
"""

RETURN = r"""
checks:
  description: "All checks: {id, row, check, host, ok, applicable, saw, wanted, remedy}."
  returned: always
  type: list
"""


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "checks": {"type": "list", "elements": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    hosts = module.params["hosts"]
    checks = complete(module.params["checks"], hosts)
    red = [entry for entry in checks if not entry["ok"]]
    left = [f"{name}: {about['left']}" for name, about in hosts.items() if about.get("left")]
    if not checks:
        module.fail_json(msg="no check was made: the inventory has no host in primary or reporting")
    if red:
        words = f"{len(red)} of {len(checks)} checks are red\n\n{red_table(checks)}"
        module.fail_json(msg=words, checks=checks)
    if left:
        module.fail_json(msg="verify could not clean up: " + "; ".join(left), checks=checks)
    module.exit_json(changed=False, checks=checks, msg=closing(checks))


if __name__ == "__main__":
    main()
