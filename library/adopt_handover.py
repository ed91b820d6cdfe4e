#!/usr/bin/python
"""End the workers of a bench made by hand before its services change their addresses."""

from __future__ import annotations

from ansible.module_utils.fleet.adoption.handover import hand_over, start_again
from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling
from ansible.module_utils.fleet.supervisor.configuration import ConfigurationError

DOCUMENTATION = r"""
module: adopt_handover
short_description: Workers and scheduler of a bench made by hand have ended
description:
  - Stops the programs with supervisor, so that each worker ends its current job. Waiting jobs stay
    in the queue. Web workers go on.
  - Removes supervisor's files that run the bench, but for the one that the fleet writes. Supervisor
    reads the change together with the fleet's file.
  - Does nothing once supervisor's file is the fleet's. With C(ours) it is the other way round.
  - With C(rest) no file is removed, and a later call with C(resting) starts the programs again.
options:
  bench: {description: Directory of the bench., type: path, required: true}
  configuration: {description: The file that the fleet writes., type: path, required: true}
  ours:
    description: End the workers of the fleet's own file, before the bench is given back.
    type: bool
    default: false
  own:
    description:
      - File for programs of the operator's own that are in files which go out of service. Fails for
        those that cannot move to a file of root's, see fleet/supervisor/own.py.
    type: path
  user: {description: The bench's account., type: str}
  digest:
    description: Digest of those programs as preflight has shown them to the operator.
    type: str
  rest: {description: Leave supervisor's files as they are., type: bool, default: false}
  resting:
    description: Programs to start again, which a call with C(rest) has stopped.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Workers of the bench made by hand have ended their jobs
  adopt_handover:
    bench: "{{ fleet_bench_dir }}"
    configuration: /etc/supervisor/conf.d/frappe-bench.conf
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "bench": {"type": "path", "required": True},
            "configuration": {"type": "path", "required": True},
            "ours": {"type": "bool", "default": False},
            "own": {"type": "path"},
            "user": {"type": "str"},
            "digest": {"type": "str"},
            "rest": {"type": "bool", "default": False},
            "resting": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    resting = module.params["resting"]
    with telling(module, BenchError, ConfigurationError):
        if not resting:
            ended, did = hand_over(module.params, module.check_mode)
        else:
            ended, did = [], [f"start {name} again" for name in resting]
            if not module.check_mode:
                start_again(resting)
    module.exit_json(
        changed=bool(did),
        did=did,
        ended=ended,
        diff=new_lines(did),
    )


if __name__ == "__main__":
    main()
