#!/usr/bin/python
"""Take off a host what its former role left there."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.leaving import LeaveError
from ansible.module_utils.fleet.leaving_role import RoleLeaver
from ansible.module_utils.fleet.module import FleetModule, new_lines, required

DOCUMENTATION = r"""
module: gone
short_description: A host has nothing of a role that it no longer has
description:
  - Removes what a host has of the other role, of primary and reporting node. What both have is
    written by the roles of site.yml.
  - On a host that was a reporting node, the keys go by which Frappe reads from the replica there,
    and C(pause_scheduler). Those of a host that has been the primary all along stay.
  - An action plugin of the same name does not call it where the survey of the run has found
    nothing of the other role.
options:
  role:
    description: What the host is now.
    type: str
    choices: [primary, reporting]
    required: true
  phase:
    description:
      - C(first) is what works by itself or lets others in. C(last) is what programs of the bench
        use until they run as those of the present role.
    type: str
    choices: [first, last]
    required: true
  standby:
    description: Whether a reporting node is prepared to take over, with Redis and router.
    type: bool
    default: false
  bench: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  config_dir: {description: Settings of Benchfleet., type: path, required: true}
  lib_dir: {description: Programs of Benchfleet., type: path, required: true}
  state_dir: {description: State of Benchfleet., type: path, required: true}
"""

EXAMPLES = r"""
- name: New primary no longer copies the sites from the former one
  gone:
    role: primary
    phase: first
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    config_dir: "{{ fleet_config_dir }}"
    lib_dir: "{{ fleet_lib_dir }}"
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
did: {description: What was done, or would be., returned: always, type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "role": {"type": "str", "choices": ["primary", "reporting"], "required": True},
            "phase": {"type": "str", "choices": ["first", "last"], "required": True},
            "standby": {"type": "bool", "default": False},
            **required("path", "bench", "config_dir", "lib_dir", "state_dir"),
            **required("str", "user"),
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    leaver = RoleLeaver(module.params, module.run_command, module.check_mode)
    try:
        leaver.leave()
    except (BenchError, LeaveError, OSError) as error:
        module.fail_json(msg=str(error), did=leaver.did)
    module.exit_json(changed=bool(leaver.did), did=leaver.did, diff=new_lines(leaver.did))


if __name__ == "__main__":
    main()
