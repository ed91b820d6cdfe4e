"""Loads, once and before the first worker is forked, what every worker would load again.

Ansible forks a worker for each task on each host, and loads plugins where they are first used: in
the workers, from scratch each time. What this process has loaded, they inherit.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import (
    action_loader,
    become_loader,
    connection_loader,
    filter_loader,
    lookup_loader,
    shell_loader,
    test_loader,
)

DOCUMENTATION = """
name: preload
type: aggregate
short_description: loads plugins before workers are forked
description: Saves the controller work; says nothing.
"""
USED = (
    (
        action_loader,
        ("normal", "command", "include_vars", "set_fact", "assert", "debug", "template"),
    ),
    (become_loader, ("sudo",)),
    (connection_loader, ("ssh", "local")),
    (lookup_loader, ("vars", "file", "env", "first_found")),
    (shell_loader, ("sh",)),
)


class CallbackModule(CallbackBase):
    """Is told that a playbook begins, and needs to know nothing else."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "preload"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Load all filters and tests, and the plugins that nearly every task uses."""
        for loader in (filter_loader, test_loader):
            list(loader.all())
        for loader, names in USED:
            for name in names:
                loader.get(name, class_only=True)
