#!/usr/bin/python
"""Remove what the jobs' Redis has of a node that left the fleet."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.jobs_tool import ask
from ansible.module_utils.fleet.module import FleetModule, required, telling

DOCUMENTATION = r"""
module: job_node_forgotten
short_description: Removes the queue of a node that left, and what its workers wrote
description:
  - Jobs that wait on its queue are moved at once to the queues on which Frappe would put them.
  - Refuses while jobs are placed on the node. Run on the primary, after its workers have stopped.
options:
  bench: {description: Directory of the primary bench., type: path, required: true}
  user: {description: Account that owns the bench., type: str, required: true}
  settings: {description: The file jobs.json., type: path, required: true}
  package_dir: {description: Folder of the package benchfleet_jobs., type: path, required: true}
  node: {description: Name that the node had in the inventory., type: str, required: true}
  queue: {description: Queue of the jobs that were placed on it., type: str, required: true}
"""

EXAMPLES = r"""
- name: Jobs that waited for rep2 are the primary's
  job_node_forgotten:
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    settings: "{{ fleet_config_dir }}/jobs.json"
    package_dir: "{{ fleet_lib_dir }}/jobs"
    node: rep2
    queue: at-rep2
"""

RETURN = r"""
moved: {description: How many waiting jobs were moved., returned: success, type: int}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "bench", "settings", "package_dir"),
            **required("str", "user", "node", "queue"),
        },
        supports_check_mode=True,
    )
    params = module.params
    arguments = ["forget", params["settings"], params["node"], params["queue"]]
    with telling(module, BenchError):
        found = ask(
            params["bench"],
            params["user"],
            params["package_dir"],
            *arguments,
            *(["pretend"] if module.check_mode else []),
        )
    module.exit_json(changed=found["kept"], moved=found["moved"])


if __name__ == "__main__":
    main()
