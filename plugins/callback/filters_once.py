"""Load all filters before Ansible forks a process for each task and host, not in each of them."""

from __future__ import annotations

from ansible.playbook import Playbook
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader

DOCUMENTATION = """
name: filters_once
type: aggregate
short_description: Loads all filters before a playbook begins
description:
  - Ansible forks a process for each task and host. One that was forked later has them already; each
    would else load all of them for its first template, a third of what it does.
"""


class CallbackModule(CallbackBase):
    """Acts at the start of a playbook: the folders of its filters are known then."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "filters_once"

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        """Load the filters and tests of all known folders."""
        for loader in (filter_loader, test_loader):
            list(loader.all())
