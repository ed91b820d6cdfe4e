#!/usr/bin/python
"""Stop what a fleet runs on this host, and remove what it put there."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.leaving import LeaveError, Leaver
from ansible.module_utils.fleet.leaving_primary import PrimaryLeaver
from ansible.module_utils.fleet.module import FleetModule, new_lines, required

DOCUMENTATION = r"""
module: host_leave
short_description: A host leaves its fleet
description:
  - Changes a host only if it has the mark of this fleet. The mark is removed last, so the next run
    finishes one that was killed.
  - Workers finish their current jobs, within supervisor's time limits. MariaDB is stopped and
    disabled; its data and the bench's folder stay unless C(data=delete).
  - Packages and the bench's account stay. So does supervisor, without Benchfleet's programs.
  - With C(primary), the bench, its data and MariaDB stay and run, as the bench CLI starts them. Its
    programs and MariaDB are restarted once; calls wait at the router meanwhile. Jobs that wait in
    queues of the fleet are moved to those of Frappe.
options:
  fleet_id: {description: The fleet that the host leaves., type: str, required: true}
  config_dir: {description: Folder with the fleet's mark., type: path, required: true}
  lib_dir: {description: Scripts of Benchfleet., type: path, required: true}
  state_dir: {description: State of Benchfleet., type: path, required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  seed_user: {description: Account that sends copies., type: str, required: true}
  data:
    description: What becomes of the copy of the database and of the bench.
    type: str
    choices: [keep, delete]
    default: keep
  primary:
    description: What the bench of a primary becomes.
    type: dict
    suboptions:
      configuration: {description: The file of supervisor., type: path, required: true}
      programs: {description: The text of that file., type: str, required: true}
      config:
        description: Keys of common_site_config.json that get another value.
        type: dict
        required: true
      web_port: {description: Port of the bench., type: int, required: true}
"""

EXAMPLES = r"""
- name: Host leaves its fleet
  host_leave:
    fleet_id: "{{ fleet_secrets.fleet_id }}"
    config_dir: "{{ fleet_config_dir }}"
    lib_dir: "{{ fleet_lib_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    seed_user: "{{ fleet_seed_user }}"
"""

RETURN = r"""
marked: {description: Whether the host had this fleet's mark., returned: success, type: bool}
words: {description: What was done, or why nothing was., returned: success, type: str}
did: {description: What was done, or would be., returned: success, type: list}
"""

PRIMARY = {
    **required("path", "configuration"),
    # Environment variables in it may be secret.
    "programs": {"type": "str", "required": True, "no_log": True},
    **required("dict", "config"),
    **required("int", "web_port"),
}


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("str", "fleet_id", "user", "seed_user"),
            **required("path", "config_dir", "lib_dir", "state_dir", "bench", "cli_dir"),
            "data": {"type": "str", "choices": ["keep", "delete"], "default": "keep"},
            "primary": {"type": "dict", "options": PRIMARY},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    kind = PrimaryLeaver if module.params["primary"] else Leaver
    leaver = kind(module.params, module.run_command, module.check_mode)
    try:
        if whose := leaver.whose():
            words = f"it {whose}; nothing was changed there"
            module.exit_json(changed=False, marked=False, did=[], words=words)
        words = leaver.leave()
    except (BenchError, LeaveError, OSError) as error:
        module.fail_json(msg=str(error), did=leaver.did)
    module.exit_json(
        changed=True,
        marked=True,
        did=leaver.did,
        words=words,
        diff=new_lines(leaver.did),
    )


if __name__ == "__main__":
    main()
