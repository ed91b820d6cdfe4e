#!/usr/bin/python
"""Which server runs which job, and what waits in the queues."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.jobs_tool import ask
from ansible.module_utils.fleet.module import FleetModule, required, telling

DOCUMENTATION = r"""
module: job_queues
short_description: The placement of jobs in force, and the state of every queue of the bench
description:
  - Only reads, with the bench's own Python, as its account.
options:
  bench: {description: Directory of the primary bench., type: path, required: true}
  user: {description: Account that owns the bench., type: str, required: true}
  settings: {description: The file jobs.json., type: path, required: true}
  package_dir: {description: Folder of the package benchfleet_jobs., type: path, required: true}
"""

EXAMPLES = r"""
- name: Queues are read
  job_queues:
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    settings: "{{ fleet_config_dir }}/jobs.json"
    package_dir: "{{ fleet_lib_dir }}/jobs"
"""

RETURN = r"""
jobs:
  description: "{placement: [{job, server, queue}], queues: [{queue, length, oldest_seconds,
    running, workers, hosts, state}], away_seconds, when_away}"
  type: dict
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "bench", "settings", "package_dir"),
            "user": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    with telling(module, BenchError):
        found = ask(
            params["bench"], params["user"], params["package_dir"], "show", params["settings"]
        )
    module.exit_json(changed=False, jobs=found)


if __name__ == "__main__":
    main()
