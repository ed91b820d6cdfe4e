#!/usr/bin/python
"""Find out what is wrong on one host of the fleet, in one execution, and mend what is safe."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.look import installed_apps
from ansible.module_utils.fleet.doctor.look import examine, mend
from ansible.module_utils.fleet.module import FleetModule, required

DOCUMENTATION = r"""
module: host_doctor
short_description: What is wrong on this host, why, and how it is mended
description:
  - Every question has a time limit, so a full disk or a server that hangs cannot hold it up.
  - Without C(actions) it only reads. With them, it starts what is stopped, and looks again. It
    never removes anything, replaces data or skips an event of replication.
options:
  host: {description: Name of the host in the inventory., type: str, required: true}
  role: {description: Its task., choices: [primary, reporting], required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  user: {description: Account that owns the bench., type: str, required: true}
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  config_dir: {description: The fleet's settings on this host., type: path, required: true}
  guard_state: {description: State folder of the read path's guard., type: path, required: true}
  certificates: {description: Folder of the fleet's own ones., type: path, required: true}
  queue: {description: Settings of the queue's Redis., type: path, required: true}
  jobs: {description: Settings of the jobs' placement., type: path, required: true}
  package_dir: {description: Folder of the package benchfleet_jobs., type: path, required: true}
  sync: {description: The program that copies the sites' files., type: path, required: true}
  backups: {description: Where updates put their dumps., type: path, required: true}
  adopted: {description: Where the records of adoptions are., type: path, required: true}
  places:
    description: Further folders in which something of the fleet's is written, C({path, holds}).
    type: list
    elements: dict
    default: []
  primary_apps:
    description: Apps of the primary's bench, to compare this one's with; empty where not known.
    type: dict
    default: {}
  actions:
    description: What is mended, of the C(actions) that an earlier call returned.
    type: list
    elements: list
    default: []
  only_apps: {description: Only return this bench's apps., type: bool, default: false}
"""

EXAMPLES = r"""
- name: Causes are found
  host_doctor:
    host: rep1
    role: reporting
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    state_dir: "{{ fleet_state_dir }}"
    config_dir: "{{ fleet_config_dir }}"
    guard_state: "{{ fleet_state_dir }}/read-guard"
    certificates: "{{ fleet_config_dir }}/tls"
    queue: "{{ fleet_config_dir }}/redis/redis_queue.conf"
    jobs: "{{ fleet_config_dir }}/jobs.json"
    package_dir: "{{ fleet_lib_dir }}/jobs"
    sync: "{{ fleet_lib_dir }}/site-sync"
    backups: "{{ update_backup_dir }}"
    adopted: "{{ adopt_backup_dir }}"
"""

RETURN = r"""
causes:
  description: "What is wrong, and left after the fix: {id, host, title, explanation, cure, fix,
    destroys, follows, facts}, see Found.shown of fleet/doctor/causes.py."
  type: list
actions: {description: "What is safe and would help: [kind, name] each.", type: list}
done: {description: "What was mended, or would be: {will, done, said}.", type: list}
apps: {description: "Apps of the bench, with only_apps.", type: dict}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "bench", "state_dir", "config_dir", "guard_state", "certificates"),
            **required("path", "queue", "jobs", "package_dir", "sync", "backups", "adopted"),
            **required("str", "host", "user"),
            "role": {"type": "str", "choices": ["primary", "reporting"], "required": True},
            "places": {"type": "list", "elements": "dict", "default": []},
            "primary_apps": {"type": "dict", "default": {}},
            "actions": {"type": "list", "elements": "list", "default": []},
            "only_apps": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if module.params["only_apps"]:
        module.exit_json(changed=False, apps=installed_apps(module.params["bench"]))
    if module.params["actions"]:
        module.exit_json(**mend(module.params, module.check_mode))
    module.exit_json(changed=False, done=[], **examine(module.params))


if __name__ == "__main__":
    main()
