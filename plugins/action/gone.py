"""Leave a host alone that has nothing of another role, as this run's survey has found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.leaving_role import is_left
from fleet.survey import state

DOCUMENTATION = "See library/gone.py: this plugin calls that module where something is left."


class ActionModule(ActionBase):
    """The result of the module."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Compare with the survey, and call the module unless nothing is left."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        files = state.of_task(task_vars, self._task.delegate_to).get("files", {})
        if files and not is_left(self._task.args, files):
            return {**result, "changed": False, "did": [], "diff": []}
        return {**result, **self._execute_module(module_name="gone", task_vars=task_vars)}
