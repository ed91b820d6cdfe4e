#!/usr/bin/python
"""Stop the programs of a bench, or start those that are stopped."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.supervisor.control import STARTED, programs, start, stop

DOCUMENTATION = r"""
module: bench_programs
short_description: All programs of a bench run, or none does
description:
  - For the time in which a bench must run none of its code. What supervisor shall run is the
    module supervisor_programs' business; a worker that is stopped ends its job first.
options:
  name: {description: Prefix of the bench's programs and groups., type: str, required: true}
  state: {description: What is wanted., choices: [started, stopped], required: true}
"""

RETURN = r"""
did: {description: Programs that were stopped or started., type: list, elements: str}
"""


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped"], "required": True},
        },
        supports_check_mode=True,
    )
    name, wanted = module.params["name"], module.params["state"]
    try:
        if module.check_mode:
            running = wanted == "started"
            did = [p for p, state in programs(name).items() if (state in STARTED) != running]
        else:
            did = start(name) if wanted == "started" else stop(name)
    except BenchError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(did), did=did)


if __name__ == "__main__":
    main()
