"""Names the run to its modules, and ends it on the hosts: the lease is given back, the log written.

The lease is taken by a task (playbooks/lease.yml), which must be able to stop the run. Its end is
here, because after a failure Ansible runs no more plays.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ansible import context
from ansible.executor.task_queue_manager import TaskQueueManager
from ansible.playbook.play import Play
from ansible.plugins.callback import CallbackBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet import controller
from fleet.runs import VARIABLE

DOCUMENTATION = """
name: run_lease
type: aggregate
short_description: ends a run on the hosts whose lease it has
description: After the last play, also when the run has failed. Prints nothing if all is well.
"""


class Ends(CallbackBase):
    """Notes on which hosts the end of the run could not be written."""

    def __init__(self) -> None:
        super().__init__()
        self.missed: list[str] = []

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A host whose module failed."""
        self.missed.append(result.host.name)

    v2_runner_on_unreachable = v2_runner_on_failed


class QuietManager(TaskQueueManager):
    """Runs a play with one callback plugin, and none of those of the run."""

    def __init__(self, listener: CallbackBase, **options: Any) -> None:
        super().__init__(**options)
        self.listener = listener

    def load_callbacks(self) -> None:
        """Use the listener only."""
        if not self._callback_plugins:
            self.listener._init_callback_methods()
            self._callback_plugins.append(self.listener)


def outcome(failures: list[tuple[str, str]], silent: list[str], changed: int) -> str:
    """How a run ended, in a few words.

    failures: hosts and the tasks that failed there, in order. silent: hosts that did not answer.
    """
    if failures:
        task = failures[0][1]
        hosts = sorted({host for host, of in failures if of == task})
        return f"failed on {', '.join(hosts)} at '{task}'"
    words = f"ok, changed {changed}" if changed else "ok, nothing changed"
    return f"{words}; no answer from {', '.join(silent)}" if silent else words


class CallbackModule(CallbackBase):
    """Called when a playbook begins, for each result, and when it ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "run_lease"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Name the run."""
        self.held: dict[str, str] = {}
        self.failures: list[tuple[str, str]] = []
        self.passwords: dict[str, str | None] = {}
        plays = playbook.get_plays()
        if not plays:
            return
        self.manager = plays[0].get_variable_manager()
        called_with = controller.arguments(context.CLIARGS, self.manager.extra_vars)
        controller.RUN.clear()
        controller.RUN.update(
            controller.this_run(os.path.basename(playbook._file_name), called_with)
        )
        for play in plays:
            given = play.environment or []
            own = {VARIABLE: controller.RUN["run"]}
            play.environment = [*(given if isinstance(given, list) else [given]), own]

    def set_play_context(self, play_context: Any) -> None:
        """Keep the passwords that were asked for when the run began."""
        self.passwords = {
            "conn_pass": play_context.password or None,
            "become_pass": play_context.become_pass or None,
        }

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a host whose lease was taken."""
        found = result.result
        if result.task.action == "run_lease" and found.get("taken"):
            self.held[found["host"]] = found["state_dir"]

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Note a task that failed."""
        if not ignore_errors:
            self.failures.append((result.host.name, result.task.get_name()))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End the run on the hosts that it held."""
        if not self.held:
            return
        # A failure that a rescue has mended is none.
        failures = [one for one in self.failures if one[0] in stats.failures]
        words = outcome(failures, sorted(stats.dark), sum(stats.changed.values()))
        if missed := self.give_back(words):
            self._display.warning(
                f"The end of this run could not be noted on {', '.join(missed)}: for ten minutes,"
                " runs of others are refused there."
            )

    def give_back(self, words: str) -> list[str]:
        """Run a play of one task; returns the hosts where it failed."""
        inventory = self.manager._inventory
        inventory.remove_restriction()
        # The primary is held even if --limit leaves it out.
        inventory.subset(None)
        listener = Ends()
        manager = QuietManager(
            listener,
            inventory=inventory,
            variable_manager=self.manager,
            loader=self.manager._loader,
            passwords=self.passwords,
            forks=context.CLIARGS["forks"],
        )
        try:
            for folder in set(self.held.values()):
                hosts = [host for host, of in self.held.items() if of == folder]
                manager.run(self.play(hosts, folder, words))
        finally:
            manager.cleanup()
            inventory.subset(context.CLIARGS["subset"])
        return sorted(listener.missed)

    def play(self, hosts: list[str], folder: str, words: str) -> Play:
        """The play that ends the run."""
        task = {
            "name": "Run is ended",
            "run_lease": {"state": "given_back", "state_dir": folder, "result": words},
        }
        source = {
            "name": "Run is ended",
            "hosts": hosts,
            "gather_facts": False,
            "become": True,
            "tasks": [task],
        }
        return Play.load(source, variable_manager=self.manager, loader=self.manager._loader)
