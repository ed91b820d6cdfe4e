"""Leave a host alone on which all entries are there already, as this run's survey has found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.survey import state

DOCUMENTATION = "See library/files.py: this plugin calls that module where something is to be done."


class ActionModule(ActionBase):
    """The result of the module."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Compare with the survey, and call the module unless all is as wanted."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        files = state.of_task(task_vars, self._task.delegate_to).get("files", {})
        entries = self._task.args.get("files") or []
        if files and all(state.is_there(entry, files) for entry in entries):
            return {**result, "changed": False, "changed_paths": [], "diff": []}
        return {**result, **self._execute_module(module_name="files", task_vars=task_vars)}
