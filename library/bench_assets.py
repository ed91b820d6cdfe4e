#!/usr/bin/python
"""Web assets of a reporting bench: the primary's own build, copied."""

from __future__ import annotations

import os
import shlex
from typing import Any

from ansible.module_utils.fleet.bench.account import (
    ASSET_LISTS,
    BenchError,
    asset_state,
    checked,
    installed_apps,
    run_as,
    user_environment,
)
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: bench_assets
short_description: The web assets of a reporting bench are the primary's build
description:
  - The benches share the cache in which the names of the bundles are kept, and two builds have two
    sets of names. So nothing is built here; the built folders and the lists are fetched together.
  - Nothing is fetched while the bundles that the lists name are the same on both benches.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  wanted:
    description: The primary's assets, as bench_sites tells them.
    type: dict
    required: true
  source:
    description: Account and address of the primary, C(USER@ADDRESS).
    type: str
    required: true
  port: {description: Port of its sshd., type: int, required: true}
  ssh_command: {description: "ssh with the key that code-gate lets in.", type: str, required: true}
"""

EXAMPLES = r"""
- name: Web assets are the primary's build
  bench_assets:
    path: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    wanted: "{{ hostvars[fleet_primary].fleet_assets }}"
    source: frappe@192.0.2.11
    port: 22
    ssh_command: ssh -i /root/code-key
"""


def differing(here: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Bundles that are not as wanted, as ``LIST BUNDLE URL``."""
    return sorted(name for name in {*here, *wanted} if here.get(name) != wanted.get(name))


class Assets:
    """The assets of one bench, and how they come here."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.path: str = params["path"]
        self.staging = f"{self.path}/.assets"

    def run(self, argv: list[str], what: str) -> None:
        """Run as the bench's account, whose the places are: a link would lead root elsewhere."""
        environment = user_environment(self.params["user"], self.params["cli_dir"])
        checked(run_as(self.params["user"], argv, self.path, environment), what)

    def fetch(self) -> None:
        """Bring the primary's built folders and lists into the staging folder, and in place."""
        self.run(["rm", "-rf", self.staging], f"removing {self.staging}")
        ssh = [*shlex.split(self.params["ssh_command"]), "-p", str(self.params["port"])]
        call = shlex.join([*ssh, self.params["source"], "assets"])
        unpack = f"tar --extract --no-same-owner --no-same-permissions --directory {self.staging}"
        script = f"mkdir {self.staging} && {call} | {unpack}"
        self.run(["bash", "-o", "pipefail", "-c", script], "fetching the primary's web assets")
        # A bench that was just initialised has none yet.
        self.run(["mkdir", "-p", f"{self.path}/sites/assets"], "making the folder of the assets")
        for app in installed_apps(self.path):
            self.place(app)
        # Last: they name what is there by now.
        for name in ASSET_LISTS:
            if os.path.isfile(f"{self.staging}/{name}"):
                move = ["mv", "-fT", f"{self.staging}/{name}", f"{self.path}/sites/assets/{name}"]
                self.run(move, f"placing {name}")
        self.run(["rm", "-rf", self.staging], f"removing {self.staging}")

    def place(self, app: str) -> None:
        """Put an app's built folder in place, and the link by which the framework finds it."""
        public = f"{self.path}/apps/{app}/{app}/public"
        built = f"{self.staging}/{app}"
        if os.path.isdir(built) and os.path.isdir(public):
            self.run(["rm", "-rf", f"{public}/dist"], f"removing the old assets of {app}")
            self.run(["mv", "-T", built, f"{public}/dist"], f"placing the assets of {app}")
        link = f"{self.path}/sites/assets/{app}"
        if os.path.isdir(public) and not os.path.lexists(link):
            self.run(["ln", "-s", public, link], f"linking the assets of {app}")


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "wanted": {"type": "dict", "required": True},
            "source": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "ssh_command": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    wanted: dict[str, str] = module.params["wanted"]
    try:
        differences = differing(asset_state(module.params["path"]), wanted)
        if differences and not module.check_mode:
            Assets(module.params).fetch()
            left = differing(asset_state(module.params["path"]), wanted)
            if left:
                raise BenchError(
                    f"the web assets of this bench are not the primary's after the copy:"
                    f" {', '.join(left[:5])}. If somebody builds on the primary now, wait for the"
                    " end and run the same command again"
                )
    except (BenchError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(differences),
        diff={"before": "", "after": "".join(f"{line}\n" for line in differences)},
    )


if __name__ == "__main__":
    main()
