#!/usr/bin/python
"""Web assets of a reporting bench: the primary's own build, copied."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.assets import Assets, asset_state, differing
from ansible.module_utils.fleet.module import FleetModule, new_lines, required, telling

DOCUMENTATION = r"""
module: bench_assets
short_description: The web assets of a reporting bench are the primary's build
description:
  - The benches share the cache with the names of the bundles, and each build has names of its own.
    So nothing is built here; the built folders and the lists are fetched together.
  - Nothing is fetched while the bundles that the lists name are the same on both benches.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  wanted:
    description: The primary's assets, as returned by bench_sites.
    type: dict
    required: true
  source:
    description: Account and address of the primary, C(USER@ADDRESS).
    type: str
    required: true
  port: {description: Port of its sshd., type: int, required: true}
  ssh_command: {description: "ssh with the key that code-gate accepts.", type: str, required: true}
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


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "path", "cli_dir"),
            **required("str", "user", "source", "ssh_command"),
            "wanted": {"type": "dict", "required": True},
            "port": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    with telling(module, BenchError, OSError):
        differences = differing(asset_state(params["path"]), params["wanted"])
        if differences and not module.check_mode:
            Assets(params).fetch()
    module.exit_json(
        changed=bool(differences),
        diff=new_lines(differences),
    )


if __name__ == "__main__":
    main()
