"""Prints once a run which Benchfleet it is of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet import release

DOCUMENTATION = """
name: release
type: aggregate
short_description: prints the version of Benchfleet
description: One line before the first play, such as C(benchfleet 0.2.0 (commit abc1234)).
"""


class CallbackModule(CallbackBase):
    """Called when a playbook begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "release"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Print the line; beside the output where that is for programs, as JSON is."""
        for_people = constants.DEFAULT_STDOUT_CALLBACK == "default"
        self._display.display(release.title(), stderr=not for_people)
