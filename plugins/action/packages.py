"""Leave a host alone on which all packages are installed, as this run's survey has found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.survey import state

DOCUMENTATION = "See library/packages.py: this plugin calls that module where one is missing."


class ActionModule(ActionBase):
    """The result of the module."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Compare with the survey, and call the module unless all are installed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        there = state.of_task(task_vars, self._task.delegate_to).get("packages", [])
        if there and {*(self._task.args.get("names") or [])} <= {*there}:
            return {**result, "changed": False, "missing": [], "diff": []}
        return {**result, **self._execute_module(module_name="packages", task_vars=task_vars)}
