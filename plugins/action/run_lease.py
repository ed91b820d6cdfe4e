"""Run the module run_lease for this run, and say who holds a host that another run changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet import controller
from fleet.preflight.runs import refusal
from fleet.runs import LEASE_SECONDS

DOCUMENTATION = "See library/run_lease.py: this plugin adds which run it is for."


class ActionModule(ActionBase):
    """The module's result; `refused` instead of failed where another run has the lease.

    silent: the run that has it if it has not renewed it for long, and may work on other hosts.
    """

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Take the lease, or give it back."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        host = str(self._task.delegate_to or (task_vars or {})["inventory_hostname"])
        result |= {
            "host": host,
            "state_dir": self._task.args["state_dir"],
            "refused": [],
            "silent": {},
        }
        hosts = list((task_vars or {})["ansible_play_hosts_all"])
        own = {**controller.RUN, "hosts": hosts}

        def call(**more: Any) -> dict[str, Any]:
            found: dict[str, Any] = self._execute_module(
                module_name="run_lease",
                module_args={**self._task.args, "run": own, **more},
                task_vars=task_vars,
            )
            return found

        found = call()
        other = found.get("holder")
        if other and not found["taken"] and controller.has_ended(other, own):
            dry = self._task.check_mode or self._task.args.get("state") == "asked"
            found = {**found, "holder": {}} if dry else call(ended=other["run"])
        if not (other := found.get("holder")):
            return {**result, **found}
        if other["age"] >= LEASE_SECONDS and not found["taken"]:
            return {**result, **found, "silent": other}
        problem = refusal(other, host)
        if found["taken"]:
            found["warnings"] = [f"The lease was taken by force: {problem['what']}."]
        elif self._task.check_mode:
            found["warnings"] = [f"{problem['what']}."]
        refused = [] if found["taken"] or self._task.check_mode else [problem]
        return {**result, **found, "refused": refused}
