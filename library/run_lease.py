#!/usr/bin/python
"""Hold a host for one run, so that no other run changes it at the same time."""

from __future__ import annotations

from ansible.module_utils.fleet import runs
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: run_lease
short_description: One run at a time changes a host
description:
  - A run takes the lease of each host before it changes anything, and gives it back at its end.
    While it works, its modules renew the lease, which counts for ten minutes.
  - Each run is noted in the host's log, C(runs.jsonl) in the folder of the state.
  - An action plugin of the same name adds C(run), and takes the lease of a run of the same account
    on the same controller that has ended.
options:
  state:
    description: What becomes of the lease; with C(asked), and in check mode, nothing.
    type: str
    choices: [asked, taken, given_back]
    default: taken
  state_dir: {description: Folder of the fleet's state on this host., type: path, required: true}
  sure:
    description:
      - Whether a lease that was not renewed for ten minutes is free. If not, it is left to a run on
        several hosts, which may be at work on another one of them.
    type: bool
    default: true
  force: {description: Take the lease from any other run., type: bool, default: false}
  run: {description: "The run, see fleet/controller.py.", type: dict, default: {}}
  ended: {description: "Id of a run that is known to have ended.", type: str, default: ""}
  result: {description: "How the run ended.", type: str, default: ""}
"""

EXAMPLES = r"""
- name: Host is changed by this run only
  run_lease:
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
taken: {description: Whether the run has the lease., returned: success, type: bool}
holder:
  description: The run that has it, or from which it was taken by force; else empty.
  returned: success
  type: dict
refused:
  description: The problem of preflight that says so, if the run may not go on.
  returned: success
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["asked", "taken", "given_back"],
                "default": "taken",
            },
            "sure": {"type": "bool", "default": True},
            "state_dir": {"type": "path", "required": True},
            "force": {"type": "bool", "default": False},
            "run": {"type": "dict", "default": {}},
            "ended": {"type": "str", "default": ""},
            "result": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    asked, dry = module.params, module.check_mode
    if asked["state"] == "given_back":
        if not dry:
            runs.give_back(asked["run"], asked["state_dir"], asked["result"])
        module.exit_json(changed=False, taken=False, holder={})
    if dry or asked["state"] == "asked":
        module.exit_json(changed=False, taken=False, holder=runs.holder() or {})
    options = {name: asked[name] for name in ("ended", "force", "sure")}
    other = runs.take(asked["run"], asked["state_dir"], **options)
    taken = other is None or asked["force"]
    module.exit_json(changed=False, taken=taken, holder=other or {})


if __name__ == "__main__":
    main()
