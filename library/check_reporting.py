#!/usr/bin/python
"""Check the replica and the bench of a reporting node."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.verify.host import ARGUMENTS
from ansible.module_utils.fleet.verify.reporting import results

DOCUMENTATION = r"""
module: check_reporting
short_description: Checks of verify that are made on a reporting node
description:
  - Never fails because something is red; the results say so.
  - Phase C(measure) makes the checks and waits for the file that check_primary has put into the
    site; phase C(gone), when that file has been removed there, copies once more and looks for it.
  - Arguments carry passwords; use C(no_log).
options:
  phase: {description: Which half., choices: [measure, gone], required: true}
  nodes: {description: Number of reporting nodes that share the calls., type: int}
  guard: {description: "Where the guard of the read path is, {package_dir, settings}.", type: dict}
  probe_password: {description: Password of fleet_probe., type: str}
  replication_password: {description: Password of repl., type: str}
  ca: {description: Certificate of the fleet's CA., type: path}
  put_at: {description: "When the file was put there, in seconds of the epoch.", type: float}
  copy_seconds: {description: How often the sites are copied., type: int, required: true}
  file_seconds: {description: How long the file is waited for., type: int}
  primary_basics:
    description: Results of the primary's basics.
    type: list
    elements: dict
    default: []
  earlier:
    description: Results of phase C(measure) on this host.
    type: list
    elements: dict
    default: []
  queue: {description: "Settings of the queue's Redis, on the standby.", type: path}
  sync: {description: Command that copies the sites folder., type: path}
extends_documentation_fragment: checked_host
"""

EXAMPLES = r"""
- name: File is gone
  check_reporting:
    phase: gone
    copy_seconds: 60
    about: "{{ host }}"
    calls: "{{ calls }}"
    sync: "{{ fleet_lib_dir }}/site-sync"
  no_log: true
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **ARGUMENTS,
            "phase": {"type": "str", "choices": ["measure", "gone"], "required": True},
            "nodes": {"type": "int"},
            "guard": {"type": "dict"},
            "probe_password": {"type": "str", "no_log": True},
            "replication_password": {"type": "str", "no_log": True},
            "ca": {"type": "path"},
            "put_at": {"type": "float"},
            "copy_seconds": {"type": "int", "required": True},
            "file_seconds": {"type": "int"},
            "primary_basics": {"type": "list", "elements": "dict", "default": []},
            "earlier": {"type": "list", "elements": "dict", "default": []},
            "queue": {"type": "path"},
            "sync": {"type": "path"},
        },
        required_if=[
            (
                "phase",
                "measure",
                ["nodes", "guard", "probe_password", "replication_password", "ca"],
            ),
            ("phase", "gone", ["sync"]),
        ],
    )
    module.exit_json(changed=False, **results(module.params))


if __name__ == "__main__":
    main()
