#!/usr/bin/python
"""End the workers of a bench made by hand before its services change their addresses."""

from __future__ import annotations

import os
import re
import subprocess

from ansible.module_utils.adoption import supervisor_files
from ansible.module_utils.fleet import FleetModule

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
  rest: {description: Leave supervisor's files as they are., type: bool, default: false}
  resting:
    description: Programs that a call with C(rest) has ended, to be started again.
    type: list
    elements: str
    default: []
"""

BACKGROUND = re.compile(r"-(worker(-\d+)?|schedule)$")


def background(status: str, name: str) -> list[str]:
    """Running background processes of a bench, as supervisorctl names them."""
    found = []
    for line in status.splitlines():
        words = line.split()
        if len(words) < 2 or words[1] not in ("RUNNING", "STARTING", "BACKOFF"):
            continue
        process = words[0].split(":")[-1]
        if process.startswith(f"{name}-") and BACKGROUND.search(process):
            found.append(words[0])
    return found


def wake(module: FleetModule) -> None:
    """Start what rested; ends the module."""
    resting = module.params["resting"]
    if not module.check_mode:
        code, out, err = module.run_command(["supervisorctl", "start", *resting])
        if code != 0:
            module.fail_json(msg=f"the workers do not start again: {(out + err).strip()}")
    after = "".join(f"start {name} again\n" for name in resting)
    module.exit_json(changed=True, diff={"before": "", "after": after})


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "bench": {"type": "path", "required": True},
            "configuration": {"type": "path", "required": True},
            "ours": {"type": "bool", "default": False},
            "rest": {"type": "bool", "default": False},
            "resting": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if module.params["resting"]:
        wake(module)
    bench, ours = module.params["bench"], module.params["configuration"]
    files = [
        entry["path"] for entry in supervisor_files(bench) if entry["ours"] == module.params["ours"]
    ]
    running: list[str] = []
    if files:
        status = subprocess.run(
            ["supervisorctl", "status"], capture_output=True, text=True, check=False
        ).stdout
        running = background(status, os.path.basename(bench))
    others = [path for path in files if path != ours and not module.params["rest"]]
    if not module.check_mode:
        if running:
            code, out, err = module.run_command(["supervisorctl", "stop", *running])
            if code != 0:
                module.fail_json(msg=f"the workers did not end: {(out + err).strip()}")
        for path in others:
            os.unlink(path)
    did = [f"end {name}" for name in running] + [f"remove {path}" for path in others]
    module.exit_json(
        changed=bool(did),
        did=did,
        ended=running,
        diff={"before": "", "after": "".join(f"{words}\n" for words in did)},
    )


if __name__ == "__main__":
    main()
