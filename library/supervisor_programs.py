#!/usr/bin/python
"""Let supervisor run a bench's programs as its configuration says."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling
from ansible.module_utils.fleet.supervisor.bench_programs import BenchPrograms
from ansible.module_utils.fleet.supervisor.control import STARTED, programs, start, stop

DOCUMENTATION = r"""
module: supervisor_programs
short_description: Programs of one supervisor configuration are the wanted ones and run
description:
  - Takes over a changed configuration, starts what is stopped, restarts a group whose programs
    were started with other files than those of today, and waits until every program runs.
    Programs of other configurations are never touched.
  - What a group was started with is remembered only after it runs, so a run that was killed
    between a changed file and the restart is made good by the next one.
  - Fails before it touches a program where supervisord cannot read its configuration.
  - Programs of the operator's own that work with the bench need not run. Those that do are
    restarted when what they read has changed.
options:
  name: {description: Prefix of the bench's programs and groups., type: str, required: true}
  every:
    description:
      - Stops all programs of the bench, or starts those that are stopped, and does nothing else,
        for the time in which a bench must run none of its code. A worker that is stopped ends its
        job first.
    type: str
    choices: [started, stopped]
  configuration: {description: The supervisor configuration., type: path}
  empty: {description: Whether that configuration has no program., type: bool, default: false}
  depends:
    description:
      - "What the programs of a group read at their start, C({group: [path or text, ...]}). Words
        that begin with a slash are files, or folders of Python modules."
    type: dict
    default: {}
  own_depends:
    description: What programs of the operator's own read at their start, as in C(depends).
    type: list
    elements: str
    default: []
  serves:
    description:
      - "Where the programs of a group that users wait for answer, C({group: address:port}). The
        programs of other groups are started when these do, as long as that is within two minutes:
        all of them at once would take the processor from each other."
    type: dict
    default: {}
  hold:
    description:
      - For the groups of C(serves), how calls wait at the router while they are restarted,
        C({path, host, port}) as in module_utils/fleet/calls.py; without it they do not.
    type: dict
  shown:
    description:
      - Where the bench has what runs, as the bench CLI's pages name it. The bench's account writes
        it, for the folder is that account's.
    type: dict
    suboptions:
      path: {description: The file., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
  logs:
    description:
      - Whose folder C(logs) leads to the programs' logs, as the bench CLI's pages name them.
    type: dict
    suboptions:
      bench: {description: Directory of the bench., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
      linked:
        description: Without it the bench gets its own logs back.
        type: bool
        default: true
  state: {description: File that remembers what each group was started with., type: path}
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
        module.exit_json(changed=True, did=["start the programs"])
    bench = BenchPrograms(asked, module.check_mode, module.warn)
    with telling(module, BenchError):
        result: dict[str, Any] = {"programs": bench.bring()}
    if module.check_mode:
        result = {"diff": new_lines(bench.did)}
    module.exit_json(changed=bool(bench.did), did=bench.did, **result)


if __name__ == "__main__":
    main()
