"""Follow a seed until it is done, and show its progress.

The seed itself runs on the replica as a unit of its own: when the controller's run is killed, the
seed goes on, and the next run follows it again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

DOCUMENTATION = "See library/mariadb_seed.py: this plugin polls that module."

display = Display()

POLL_SECONDS = 2.0
SHOW_SECONDS = 5.0
# How long the replica may be unreachable before the run gives up; the seed itself goes on.
OUT_OF_REACH_SECONDS = 90.0
MIB = 1024 * 1024
PHASES = {
    "prepare": "preparing the copy",
    "prepared": "the copy is ready",
    "swap_out": "moving the old data aside",
    "swap_in": "moving the copy in",
    "start": "starting the server on the copy",
    "seeded": "done",
    "done": "done",
}


def progress(state: dict[str, Any], now: float) -> str:
    """One line on a seed's state file."""
    phase = state.get("phase")
    if phase == "stream" and state.get("waits_for"):
        return f"waiting for {state['waits_for']}, busy with other copies"
    if phase == "stream":
        source = f" from {state['source']}" if state.get("source") else ""
        figures = [f"{int(state.get('bytes') or 0) // MIB} MiB received{source}"]
        if state.get("rate"):
            figures.append(f"{float(state['rate']) / MIB:.0f} MiB/s")
        if state.get("expected") and state.get("stored"):
            share = min(99, int(100 * float(state["stored"]) / float(state["expected"])))
            figures.append(f"{share}% of {int(state['expected']) // MIB} MiB unpacked")
        return ", ".join(figures)
    text = PHASES.get(str(phase), "starting")
    seconds = int(max(0.0, now - float(state.get("phase_since") or now)))
    return f"{text}, {seconds} s" if seconds and phase not in ("seeded", "done") else text


class ActionModule(ActionBase):
    """Runs the module, then polls it."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Start the seed and follow it. In check mode only the decision is returned."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        result = self.call(arguments, "begin", variables)
        if result.get("failed") or not result.get("running"):
            return result
        host = str(variables["inventory_hostname"])
        last = self.follow(arguments, variables, host)
        if last.get("failed"):
            return last
        result |= {name: last[name] for name in ("state", "running", "finished")}
        if not last["finished"]:
            killed = "its unit was killed (see `journalctl -u 'benchfleet-seed-*'`)"
            why = last["state"].get("failed") or killed
            message = f"the seed of {host} stopped: {why}. No data is lost; run again to go on"
            result |= {"failed": True, "msg": message}
        return result

    def call(
        self, arguments: dict[str, Any], step: str, task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        """One execution of the module."""
        asked = {**arguments, "step": step}
        return dict(
            self._execute_module(module_name="mariadb_seed", module_args=asked, task_vars=task_vars)
        )

    def follow(
        self, arguments: dict[str, Any], task_vars: dict[str, Any], host: str
    ) -> dict[str, Any]:
        """Poll until the unit has ended; a replica out of reach is waited for a while."""
        shown, shown_at, reached = "", 0.0, time.monotonic()
        while True:
            time.sleep(POLL_SECONDS)
            try:
                seen = self.call(arguments, "poll", task_vars)
                reached = time.monotonic()
            except AnsibleConnectionFailure as error:
                self.cleanup_connection()
                if time.monotonic() - reached > OUT_OF_REACH_SECONDS:
                    return {
                        "failed": True,
                        "msg": f"{host} cannot be reached ({error}); its seed goes on as long as"
                        " the host is up. Run again to follow it",
                    }
                continue
            if seen.get("failed") or not seen.get("running"):
                return seen
            line = progress(seen.get("state", {}), time.time())
            if line != shown and time.monotonic() - shown_at >= SHOW_SECONDS:
                display.display(f"{host}: seed: {line}")
                shown, shown_at = line, time.monotonic()

    def cleanup_connection(self) -> None:
        """Drop a dead connection so that the next poll makes a new one."""
        with suppress(AnsibleConnectionFailure):
            self._connection.reset()
