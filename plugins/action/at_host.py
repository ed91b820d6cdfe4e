"""Run modules on a host, one after another, in one task; a host that cannot be reached fails it.

Ansible takes a host that is unreachable out of the play, and nothing is rescued then: what was
closed would stay closed. Here that is a failure like any other. Those that can be are done in one
execution (library/host_steps.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.steps import JOINED, name_of

DOCUMENTATION = """
module: at_host
short_description: The results of some modules on a host; the first that fails ends it
options:
  steps:
    description: "The modules in their order, each {module, arguments}, and `name` where one module
      is called twice."
    type: list
    required: true
"""

RETURN = """
said: {description: "The result of each step, by its name or module."}
away: {description: Whether the host could not be reached.}
at: {description: "The step that failed, empty where none did."}
"""


# The part of a task's time in which its steps are begun: a host does not notice when it is over.
BEGUN = 2 / 3


def executions(steps: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Steps in their order, those of one execution together."""
    for joined, some in groupby(steps, key=lambda step: step["module"] in JOINED):
        together = list(some)
        yield from [together] if joined else [[step] for step in together]


class ActionModule(ActionBase):
    """Returns what the modules returned; `failed` with the words of the first that did."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the steps."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result |= {"changed": False, "said": {}, "away": False, "at": ""}
        host = str(self._task.delegate_to or (task_vars or {})["inventory_hostname"])
        for steps in executions(self._task.args["steps"]):
            first = name_of(steps[0])
            try:
                found = self.executed(steps, task_vars)
            except AnsibleConnectionFailure as error:
                said = f"{host} could not be reached: {error}"
                return {**result, "failed": True, "away": True, "at": first, "msg": said}
            except AnsibleError as error:
                return {**result, "failed": True, "at": first, "msg": f"{host}: {error}"}
            result["said"] |= found.get("said", {})
            result["changed"] = result["changed"] or bool(found.get("changed"))
            if found.get("failed"):
                parts = (str(found.get(k) or "") for k in ("msg", "module_stderr", "module_stdout"))
                said = next(filter(None, parts), "no message")
                at = found.get("at") or first
                return {**result, "failed": True, "at": at, "msg": f"{host}: {said}"}
        return result

    def executed(
        self, steps: list[dict[str, Any]], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """The result of one execution, with the results of its steps in ``said``."""
        module, arguments = steps[0]["module"], steps[0].get("arguments") or {}
        joined = module in JOINED
        if joined:
            limit = float(self._task.timeout or 0) * BEGUN
            module, arguments = "host_steps", {"steps": steps, "seconds": limit}
        found: dict[str, Any] = self._execute_module(
            module_name=module, module_args=arguments, task_vars=task_vars
        )
        found.pop("invocation", None)
        return found if joined else {**found, "said": {name_of(steps[0]): found}}
