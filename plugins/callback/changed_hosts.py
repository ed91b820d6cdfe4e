"""Remembers what this run has changed on which host: of that, its survey is no longer true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.survey.state import CHANGED, EVERYTHING, note_change

DOCUMENTATION = """
name: changed_hosts
type: aggregate
short_description: remembers what was changed on the hosts
description: See module_utils/fleet/survey/state.py; prints nothing.
"""


class CallbackModule(CallbackBase):
    """Called with each result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "changed_hosts"

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a change; each round of a loop was noted by itself."""
        if result.is_changed() and "results" not in result.result:
            self.v2_runner_item_on_ok(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Note a change on the host of the task, or on the one to which it was delegated."""
        if result.is_changed():
            note_change(host_of(result), result.task.action, paths_of(result))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Note that anything may have changed: what failed may have changed something before."""
        CHANGED.setdefault(host_of(result), set()).add(EVERYTHING)

    v2_runner_on_unreachable = v2_runner_on_failed
    v2_runner_item_on_failed = v2_runner_on_failed


def fields_of(result: Any) -> dict[str, Any]:
    """The task as it ran, without templates. Other ways to it are missing or deprecated in one of
    the releases of ansible-core that requirements.txt has.
    """
    fields: dict[str, Any] = result._task_fields
    return fields


def host_of(result: Any) -> str:
    """The host on which a task ran. A callback finds the delegation in the task only."""
    return str(fields_of(result).get("delegate_to") or result.host.get_name())


def paths_of(result: Any) -> list[str]:
    """The paths that the module ``files`` has changed; all of its entries where no_log hides it."""
    entries = (fields_of(result).get("args") or {}).get("files") or []
    return result.result.get("changed_paths") or [entry["path"] for entry in entries]
