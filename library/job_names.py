#!/usr/bin/python
"""Which of the jobs that the inventory places on servers a bench has."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.jobs import look
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: job_names
short_description: Which of the jobs that the inventory places on servers a bench has
description:
  - Only reads, and imports nothing of the apps. For the first run, in which preflight has no bench
    to read; the filter C(job_name_problems) judges the result.
options:
  bench: {description: Directory of the primary bench., type: path, required: true}
  patterns:
    description: Names of jobs, and patterns for them, as in C(jobs_placement).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Names of placed jobs are looked up in the apps
  job_names:
    bench: "{{ fleet_bench_dir }}"
    patterns: [hrms.payroll.*]
"""

RETURN = r"""
jobs:
  description: "{known, apps, scheduled, matches, near, overlaps, queues}; see C(look) in
    module_utils/fleet/bench/jobs.py."
  returned: success
  type: dict
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "bench": {"type": "path", "required": True},
            "patterns": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, jobs=look(module.params["bench"], module.params["patterns"]))


if __name__ == "__main__":
    main()
