#!/usr/bin/python
"""Check the bench, Redis and the scheduler of the primary."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.verify.host import ARGUMENTS
from ansible.module_utils.fleet.verify.primary import results

DOCUMENTATION = r"""
module: check_primary
short_description: Checks of verify that are made on the primary
description:
  - Never fails because something is red; the results say so.
  - Phase C(begin) puts a file and a scheduled job into the first site, C(finish) makes the checks
    and takes both away again. What was put where is remembered in C(state_dir), so that the next
    verify cleans up after one that was interrupted.
  - Arguments carry passwords; use C(no_log).
options:
  phase: {description: Which half., choices: [begin, finish], required: true}
  state_dir: {description: Where what was made is remembered., type: path, required: true}
  begun: {description: What phase begin returned., type: dict, default: {}}
  jobs:
    description: "Where the placement of jobs is, and the settings of the queue's Redis,
      {package_dir, settings, redis}."
    type: dict
    required: true
  certificates:
    description: Which certificates the router is to show, see fleet/nginx/certificates.py.
    type: dict
    default: {}
  job_seconds: {description: How long a scheduled job is waited for., type: int}
extends_documentation_fragment: checked_host
"""

EXAMPLES = r"""
- name: Site has a new file and a new scheduled job
  check_primary:
    phase: begin
    about: "{{ host }}"
    calls: "{{ calls }}"
    jobs: "{{ jobs }}"
    state_dir: "{{ fleet_state_dir }}/verify"
  no_log: true
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **ARGUMENTS,
            "phase": {"type": "str", "choices": ["begin", "finish"], "required": True},
            "state_dir": {"type": "path", "required": True},
            "begun": {"type": "dict", "default": {}},
            "jobs": {"type": "dict", "required": True},
            "certificates": {"type": "dict", "default": {}},
            "job_seconds": {"type": "int"},
        }
    )
    module.exit_json(changed=False, **results(module.params))


if __name__ == "__main__":
    main()
