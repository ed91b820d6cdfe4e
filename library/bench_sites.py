#!/usr/bin/python
"""Make the sites of the primary bench."""

from __future__ import annotations

import os
import subprocess

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.assets import asset_state
from ansible.module_utils.fleet.module import FleetModule, new_lines, required, telling
from ansible.module_utils.fleet.sites.wanted import Sites, unmade

DOCUMENTATION = r"""
module: bench_sites
short_description: Sites with their apps, scheduler, encryption key and assets
description:
  - Runs Frappe's own C(new-site). Its arguments, passwords among them, are passed on standard
    input, so that they are on no process's command line.
  - Root makes the database and the site's account, which has rights on that database only. The
    C(new-site) of a Frappe that always makes them itself (14) is run with that part taken out.
  - A site that existed once and is gone is not made again, empty, until the operator says so.
  - A site whose making was interrupted is recognised by a note, removed, and made again. What
    existed before the note, or after C(new-site) succeeded, is never removed.
  - An app counts as installed when its DocTypes and their tables are in the site's database. One
    that is listed as installed, and of which no DocType is there, is installed again.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  sites:
    description: Wanted sites.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the site., type: str, required: true}
      apps: {description: Its apps other than frappe., type: list, elements: str, default: []}
      admin_password: {description: Its administrator's., type: str, required: true}
  apps_only:
    description:
      - Whether the sites exist already, and get their apps. An app is installed once all benches
        that serve the sites have it; until then, the apps that they lack are only listed.
    type: bool
    default: false
  build:
    description: Whether web assets are built after an app was installed.
    type: bool
    default: true
  state_dir: {description: Folder of notes about what is being made., type: path, required: true}
"""

EXAMPLES = r"""
- name: Sites exist
  bench_sites:
    path: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    sites:
      - {name: erp.example.com, admin_password: "{{ password }}"}
"""

RETURN = r"""
differences: {description: "What was missing, and is not any more.", returned: success, type: list}
lacking: {description: Apps that the sites still lack., returned: success, type: list}
assets: {description: "As returned by asset_state, see bench_info.", returned: success, type: dict}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "path", "cli_dir", "state_dir"),
            "user": {"type": "str", "required": True},
            "sites": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "apps": {"type": "list", "elements": "str", "default": []},
                    "admin_password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "apps_only": {"type": "bool", "default": False},
            "build": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    path, apps_only = params["path"], params["apps_only"]
    with_apps = [] if apps_only else params["sites"]
    wanted = params["sites"] if apps_only else [{**site, "apps": []} for site in with_apps]
    if not os.path.exists(f"{path}/env/bin/python") and module.check_mode:
        differences = [line for site in wanted for line in unmade(site, apps_only)]
        lacking = [line for site in with_apps for line in unmade(site, apps_only=True)]
        module.exit_json(
            changed=bool(differences), differences=differences, lacking=lacking, assets={}
        )
    with telling(module, BenchError, subprocess.TimeoutExpired):
        sites = Sites(params)
        differences = sites.ensure(wanted, apps_only, module.check_mode)
        module.exit_json(
            changed=bool(differences),
            differences=differences,
            lacking=[line for site in with_apps for line in sites.lacking_apps(site)],
            assets=asset_state(path),
            diff=new_lines(differences),
        )


if __name__ == "__main__":
    main()
