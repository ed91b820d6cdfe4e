"""Run modules on a host, one after another, in one task; a host that cannot be reached fails it.

Ansible takes a host that is unreachable out of the play, and nothing is rescued then: what was
closed would stay closed. Here that is a failure like any other.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

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


class ActionModule(ActionBase):
    """Returns what the modules returned; `failed` with the words of the first that did."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the steps."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result |= {"changed": False, "said": {}, "away": False, "at": ""}
        host = str(self._task.delegate_to or (task_vars or {})["inventory_hostname"])
        for step in self._task.args["steps"]:
            name = step.get("name") or step["module"]
            try:
                found = self._execute_module(
                    module_name=step["module"],
                    module_args=step.get("arguments") or {},
                    task_vars=task_vars,
                )
            except AnsibleConnectionFailure as error:
                said = f"{host} could not be reached: {error}"
                return {**result, "failed": True, "away": True, "at": name, "msg": said}
            except AnsibleError as error:
                return {**result, "failed": True, "at": name, "msg": f"{host}: {error}"}
            found.pop("invocation", None)
            result["said"][name] = found
            result["changed"] = result["changed"] or bool(found.get("changed"))
            if found.get("failed"):
                parts = (str(found.get(k) or "") for k in ("msg", "module_stderr", "module_stdout"))
                said = next(filter(None, parts), "no message")
                return {**result, "failed": True, "at": name, "msg": f"{host}: {said}"}
        return result
