#!/usr/bin/python
"""Have supervisor run a bench's programs as its configuration says."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling
from ansible.module_utils.fleet.supervisor.bench_programs import BenchPrograms
from ansible.module_utils.fleet.supervisor.control import STARTED, programs, start, stop

DOCUMENTATION = r"""
module: supervisor_programs
short_description: Programs of a bench run with their present configuration and files
description:
  - Has supervisor take a changed configuration, starts programs that are stopped, restarts groups
    whose files have changed since they were started, and waits until every program runs.
    Programs of other configurations are never touched.
  - The files that a group was started with are noted only after it runs, so the run after one that
    was killed between a changed file and the restart restarts it.
  - Fails where supervisord cannot read its configuration, before any program is touched.
  - Programs of the operator's own that work with the bench need not run. Those that do are
    restarted when what they read has changed.
options:
  name: {description: Prefix of the bench's programs and groups., type: str, required: true}
  every:
    description:
      - Only stops all programs of the bench, or starts those that are stopped, for a time in which
        the bench must not run its code. A worker that is stopped ends its job first.
    type: str
    choices: [started, stopped]
  configuration: {description: The supervisor configuration., type: path}
  empty: {description: Whether the configuration may have no program., type: bool, default: false}
  depends:
    description:
      - "What the programs of a group read when they start, C({group: [path or text, ...]}). Entries
        that begin with a slash are files, or folders of Python modules."
    type: dict
    default: {}
  own_depends:
    description: What programs of the operator's own read when they start, as in C(depends).
    type: list
    elements: str
    default: []
  serves:
    description:
      - "Addresses of groups that answer users, C({group: address:port}). Other groups are started
        once these answer, or after two minutes, so that they do not compete for the processor."
    type: dict
    default: {}
  hold:
    description:
      - How users' calls wait at the router while groups of C(serves) are restarted, C({path, host,
        port}) as in module_utils/fleet/calls.py; without it they do not wait.
    type: dict
  shown:
    description:
      - The bench's copy of the configuration, at the path that the bench CLI's documentation names.
        It is written by the bench's account, which owns the folder.
    type: dict
    suboptions:
      path: {description: The file., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
  logs:
    description:
      - The bench whose folder C(logs) gets links to the programs' logs, at the paths that the bench
        CLI's documentation names.
    type: dict
    suboptions:
      bench: {description: Directory of the bench., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
      linked:
        description: Whether there are links; if not, the bench gets its own logs back.
        type: bool
        default: true
  state: {description: File that notes what each group was started with., type: path}
"""

EXAMPLES = r"""
- name: Programs of the bench run
  supervisor_programs:
    name: frappe-bench
    configuration: /etc/supervisor/conf.d/frappe-bench.conf
    depends: {frappe-bench-web: ["{{ fleet_config_dir }}/read-guard.json"]}
    serves: {frappe-bench-web: "127.0.0.1:{{ fleet_web_port }}"}
    state: "{{ fleet_state_dir }}/bench-started-with.json"
"""

RETURN = r"""
did:
  description: What was done, or would be in check mode.
  returned: always
  type: list
restarts:
  description:
    - What was restarted, or would be in check mode, in the words of the operator. In check mode,
      files that the same run would write are those of before; see I(reads).
  returned: with O(configuration)
  type: list
restart_seconds:
  description: "For how long each was away, C({name: seconds})."
  returned: with O(configuration), except in check mode
  type: dict
reads:
  description: "What is read at a start, C({name: [file or folder, ...]})."
  returned: with O(configuration), in check mode
  type: dict
"""


def start_or_stop(module: FleetModule, wanted: str) -> None:
    """Start or stop all programs; ends the module."""
    name = module.params["name"]
    with telling(module, BenchError):
        if module.check_mode:
            running = wanted == "started"
            did = [p for p, state in programs(name).items() if (state in STARTED) != running]
        else:
            did = start(name) if wanted == "started" else stop(name)
    module.exit_json(changed=bool(did), did=did)


PATH, NAME = ({"type": kind, "required": True} for kind in ("path", "str"))
LINKED = {"type": "bool", "default": True}


def main() -> None:
    module = FleetModule(
        argument_spec={
            "name": NAME,
            "every": {"type": "str", "choices": ["started", "stopped"]},
            "configuration": {"type": "path"},
            "empty": {"type": "bool", "default": False},
            "depends": {"type": "dict", "default": {}},
            "own_depends": {"type": "list", "elements": "str", "default": []},
            "serves": {"type": "dict", "default": {}},
            "hold": {"type": "dict"},
            "shown": {"type": "dict", "options": {"path": PATH, "user": NAME}},
            "logs": {"type": "dict", "options": {"bench": PATH, "user": NAME, "linked": LINKED}},
            "state": {"type": "path"},
        },
        required_one_of=[("every", "configuration")],
        required_together=[("configuration", "state")],
        supports_check_mode=True,
    )
    asked = module.params
    if asked["every"]:
        start_or_stop(module, asked["every"])
    if module.check_mode and not os.path.exists("/usr/bin/supervisorctl"):
        module.exit_json(changed=True, did=["start the programs"], restarts=[], reads={})
    bench = BenchPrograms(asked, module.check_mode, module.warn)
    with telling(module, BenchError):
        result: dict[str, Any] = {"programs": bench.bring(), "restart_seconds": bench.restarts}
    if module.check_mode:
        result = {"diff": new_lines(bench.did), "reads": bench.reads()}
    result["restarts"] = list(bench.restarts)
    module.exit_json(changed=bool(bench.did), did=bench.did, **result)


if __name__ == "__main__":
    main()
