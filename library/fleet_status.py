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


def with_drained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, in which the nodes themselves, and not the primary, are drained or not.

    What the primary could not be asked is null.
    """
    known = [names for row in rows if (names := row.pop("drained", None)) is not None]
    for row in rows:
        if row["role"] == "reporting":
            row["drained"] = any(row["host"] in names for names in known) if known else None
    return rows


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={"hosts": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    hosts = module.params["hosts"]
    rows = with_drained([row(host, about) for host, about in hosts.items()])
    silent = [host for host, about in hosts.items() if not about.get("status")]
    if silent:
        module.fail_json(msg=f"could not be asked: {', '.join(silent)}", status=rows)
    module.exit_json(changed=False, status=rows)


if __name__ == "__main__":
    main()
