"""Run a module over a new ssh connection; a host that cannot be asked does not fail the task.

Over a connection that an earlier run left open (ControlPersist), a run would not notice that the
host's key has changed since, and would wait long for a host that is down.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

DOCUMENTATION = """
module: ask_host
short_description: The result of a module, or why there is none
options:
  module: {description: The module., type: str, required: true}
  arguments: {description: Its arguments., type: dict, default: {}}
"""

RETURN = """
trouble: {description: "Why there is no result: the message of ssh, sudo or the module; or empty."}
away: {description: Whether the host could not be reached at all.}
target: {description: "How ssh reaches a host in trouble, see fleet/preflight/connection.py."}
"""


def parse(answer: str) -> dict[str, Any]:
    """What `ssh -G` prints, as {host, port, user, keys, known_hosts, proxy}; keys that exist."""
    found: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(value)

    def first(name: str) -> str:
        return found.get(name, [""])[0]

    proxy = first("proxyjump") or first("proxycommand")
    return {
        "host": first("hostname"),
        "port": first("port"),
        "user": first("user"),
        "keys": [key for key in found.get("identityfile", []) if Path(key).expanduser().exists()],
        "known_hosts": first("userknownhostsfile").split(" ")[0],
        "proxy": "" if proxy == "none" else proxy,
    }


class ActionModule(ActionBase):
    """Returns the module's result where there is one, and never `failed`."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the module once."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result |= {"changed": False, "trouble": "", "away": False, "target": {}}
        if self._connection.transport == "ssh":
            self._connection.reset()
        try:
            found = self._execute_module(
                module_name=self._task.args["module"],
                module_args=self._task.args.get("arguments", {}),
                task_vars=task_vars,
            )
        except AnsibleConnectionFailure as error:
            return {**result, "trouble": str(error), "away": True, "target": self.target()}
        except AnsibleError as error:
            return {**result, "trouble": str(error), "target": self.target()}
        if found.get("failed"):
            parts = [str(found.get(key) or "") for key in ("msg", "module_stderr", "module_stdout")]
            return {**result, "trouble": "\n".join(filter(None, parts)), "target": self.target()}
        return {**result, **found}

    def target(self) -> dict[str, Any]:
        """How ssh reaches the host; {} where ssh is not used or `ssh -G` fails."""
        if self._connection.transport != "ssh":
            return {}
        option = self._connection.get_option
        argv = [option("ssh_executable"), "-G"]
        for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
            argv += shlex.split(option(name) or "")
        for name, keyword in (
            ("port", "Port"),
            ("remote_user", "User"),
            ("private_key_file", "IdentityFile"),
        ):
            if option(name):
                argv += ["-o", f"{keyword}={option(name)}"]
        done = subprocess.run(
            [*argv, option("host")], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        return parse(done.stdout) if done.returncode == 0 else {}
