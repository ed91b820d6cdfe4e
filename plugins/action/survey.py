"""Run the survey module and measure the host's clock against the controller's."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase


def clock_bounds(before: float, after: float, started: float, ended: float) -> dict[str, float]:
    """Between which offsets (seconds, host minus controller) the host's clock must lie.

    before and after are the controller's times around the call, started and ended the host's
    within it. The host read `started` no earlier than `before`, and `ended` no later than
    `after`; so whatever ssh took only widens the bounds and never makes a right clock look wrong.
    """
    return {"low": ended - after, "high": started - before}


class ActionModule(ActionBase):
    """The survey module, with `clock` added to its result."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict:
        """Execute the module once; everything but `clock` is the module's own answer."""
        result = super().run(tmp, task_vars)
        before = time.time()
        result.update(self._execute_module(module_name="survey", task_vars=task_vars))
        after = time.time()
        if "survey" in result:
            its_time = result["survey"]["time"]
            result["survey"]["clock"] = clock_bounds(
                before, after, its_time["started"], its_time["ended"]
            )
        return result
