"""Close the ssh connection to a host that an earlier run left open, and say how ssh reaches it.

ssh compares a host's key when it connects. Over a connection that is still open (ControlPersist)
a run would go on although the key has changed since, and would wait long for a host that is dead.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

DOCUMENTATION = "Without arguments; returns C(target), see filter_plugins/reach.py."


def parse(answer: str) -> dict[str, Any]:
    """What `ssh -G` answers, as {host, port, user, keys, known_hosts, proxy}; keys that exist."""
    said: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, _, value = line.partition(" ")
        said.setdefault(name, []).append(value)

    def first(name: str) -> str:
        return said.get(name, [""])[0]

    proxy = first("proxyjump") or first("proxycommand")
    return {
        "host": first("hostname"),
        "port": first("port"),
        "user": first("user"),
        "keys": [key for key in said.get("identityfile", []) if Path(key).expanduser().exists()],
        "known_hosts": first("userknownhostsfile").split(" ")[0],
        "proxy": "" if proxy == "none" else proxy,
    }


class ActionModule(ActionBase):
    """Runs on the controller alone, and never fails: what cannot be asked is left out."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Close the connection; returns {target}, {} for a host that ssh is not used for."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result["target"] = {}
        if self._connection.transport != "ssh":
            return result
        self._connection.reset()
        done = subprocess.run(self.question(), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            result["target"] = parse(done.stdout)
        return result

    def question(self) -> list[str]:
        """The command by which ssh says what it makes of the host's settings."""
        option = self._connection.get_option
        words = [option("ssh_executable"), "-G"]
        for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
            words += shlex.split(option(name) or "")
        for name, key in (("port", "Port"), ("remote_user", "User"), ("private_key_file", "IdentityFile")):
            if option(name):
                words += ["-o", f"{key}={option(name)}"]
        return [*words, option("host")]
