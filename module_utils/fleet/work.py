"""What a module does, apart from the module: so several can be done in one execution (steps.py).

Only the standard library is imported, because programs on the hosts import what uses this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Work:
    """A module's arguments, as Ansible describes them, and what is done with them.

    do: takes the module, for its check mode and its run_command, and the arguments; returns the
    module's result. errors: those whose message is for the operator.
    """

    argument_spec: dict[str, Any]
    do: Callable[[Any, dict[str, Any]], dict[str, Any]]
    errors: tuple[type[Exception], ...]
    required_if: tuple[tuple[Any, ...], ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What FleetModule is made with."""
        return {
            "argument_spec": self.argument_spec,
            "required_if": self.required_if,
            "supports_check_mode": True,
        }

    def result(self, module: Any, params: dict[str, Any]) -> dict[str, Any]:
        """The result; with ``failed`` and ``msg`` where it could not be done."""
        try:
            return self.do(module, params)
        except self.errors as error:
            return {"failed": True, "msg": str(error)}

    def end(self, module: Any) -> None:
        """Do it, and end the module."""
        found = self.result(module, module.params)
        (module.fail_json if found.get("failed") else module.exit_json)(**found)


def required(kind: str, *names: str) -> dict[str, Any]:
    """Arguments of one type that have to be given."""
    return {name: {"type": kind, "required": True} for name in names}
