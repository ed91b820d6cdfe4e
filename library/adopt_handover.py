#!/usr/bin/python
"""End the workers of a bench made by hand before its services change their addresses."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible.module_utils.fleet.adoption.look import supervisor_files
from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.supervisor.control import control, readable, states
from ansible.module_utils.fleet.supervisor.programs import (
    JOBS,
    ConfigurationError,
    digest,
    kept_text,
    tasks,
)

DOCUMENTATION = r"""
module: adopt_handover
short_description: Workers and scheduler of a bench made by hand have ended
description:
  - Stops the programs by supervisor, so that each worker ends the job that it is at. Jobs that
    wait go on waiting in the queue. Web workers go on.
  - Removes other files of supervisor's that run the bench than the one that the fleet writes.
    Supervisor learns of that with the fleet's own file.
  - Does nothing once supervisor's file is the fleet's. With C(ours) it is the other way round.
  - With C(rest) they shall run again afterwards, and no file is removed; C(resting) starts them.
options:
  bench: {description: Directory of the bench., type: path, required: true}
  configuration: {description: The file that the fleet writes., type: path, required: true}
  ours:
    description: End the workers of the fleet's own file, before the bench is given back.
    type: bool
    default: false
  own:
    description:
      - Where programs of the operator's own are kept that stand in files which go out of service.
        Fails for those that cannot get into a file of root's, see fleet/supervisor/programs.py.
    type: path
  user: {description: The bench's account., type: str}
  told:
    description: By what preflight knows what the operator was told of those programs.
    type: str
  rest: {description: Leave supervisor's files as they are., type: bool, default: false}
  resting:
    description: Programs that a call with C(rest) has ended, to be started again.
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


def background(status: str, does: Mapping[str, str]) -> list[str]:
    """Running processes that do jobs or queue them, as supervisorctl names them.

    ``status`` is what ``supervisorctl status`` says, ``does`` what the bench's processes do.
    """
    running = ("RUNNING", "STARTING", "BACKOFF")
    return [
        name
        for name, state in states(status).items()
        if state in running and does.get(name) in JOBS
    ]


def write(path: str, text: str) -> None:
    """Write a file for root alone: variables in it may be secrets."""
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.replace(f"{path}.new", path)


def wake(module: FleetModule) -> None:
    """Start what rested; ends the module."""
    resting = module.params["resting"]
    if not module.check_mode:
        try:
            said = control("start", *resting)
        except BenchError as error:
            module.fail_json(msg=f"the workers do not start again: {error}")
        if lost := [
            line for line in said.splitlines() if "ERROR" in line and "already" not in line
        ]:
            module.fail_json(msg=f"the workers do not start again: {'; '.join(lost)}")
    after = "".join(f"start {name} again\n" for name in resting)
    module.exit_json(changed=True, diff={"before": "", "after": after})


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "bench": {"type": "path", "required": True},
            "configuration": {"type": "path", "required": True},
            "ours": {"type": "bool", "default": False},
            "own": {"type": "path"},
            "user": {"type": "str"},
            "told": {"type": "str"},
            "rest": {"type": "bool", "default": False},
            "resting": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if module.params["resting"]:
        wake(module)
    bench, ours, user = (module.params[name] for name in ("bench", "configuration", "user"))
    try:
        read = readable()
        files = [
            entry["path"]
            for entry in supervisor_files(bench, read)
            if entry["ours"] == module.params["ours"]
        ]
        running = background(control("status"), tasks(bench, read)) if files else []
        place = module.params["own"]
        others = [path for path in files if path not in (ours, place) and not module.params["rest"]]
        own = kept_text(bench, read, files, user) if place and not module.params["rest"] else ""
        if own and module.params["told"] != digest(own):
            raise BenchError(
                f"programs of your own in {' or '.join(files)} have changed since preflight told of"
                " them: look at them, and run the same command again. Nothing was changed there"
            )
        if own:
            # With what a run that was killed, or the operator, has put there.
            own = kept_text(bench, read, [*files, place], user)
        if not module.check_mode:
            if own:
                # Before the programs' own files go, so that supervisor never misses them.
                readable({place: own, **dict.fromkeys(others)})
                write(place, own)
            if running:
                control("stop", *running)
            for path in others:
                os.unlink(path)
    except (BenchError, ConfigurationError) as error:
        module.fail_json(msg=str(error))
    left = [f"keep programs of your own in {place}"] if own else []
    did = [f"end {name}" for name in running] + [f"remove {path}" for path in others] + left
    module.exit_json(
        changed=bool(did),
        did=did,
        ended=running,
        diff={"before": "", "after": "".join(f"{words}\n" for words in did)},
    )


if __name__ == "__main__":
    main()
