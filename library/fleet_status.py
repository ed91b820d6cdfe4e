#!/usr/bin/python
"""What all servers of the fleet are doing."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: fleet_status
short_description: Status of every host, also of those that could not be asked
description:
  - Fails when a host could not be asked; the status of the others is returned all the same.
options:
  hosts:
    description: "Host to {role, status, trouble}: what node_status returned, or why it did not."
    type: dict
    required: true
"""

RETURN = r"""
status: {description: A row for each host., returned: always, type: list}
"""


def row(host: str, about: dict[str, Any]) -> dict[str, Any]:
    """A host's status; of one that could not be asked, why."""
    if about.get("status"):
        return dict(about["status"])
    why = " ".join(str(about.get("trouble") or "no answer").split())
    return {"host": host, "role": about["role"], "state": f"could not be asked: {why}"}


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={"hosts": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    hosts = module.params["hosts"]
    rows = [row(host, about) for host, about in hosts.items()]
    silent = [host for host, about in hosts.items() if not about.get("status")]
    if silent:
        module.fail_json(msg=f"could not be asked: {', '.join(silent)}", status=rows)
    module.exit_json(changed=False, status=rows)


if __name__ == "__main__":
    main()
