#!/usr/bin/python
"""Read the state of a bench."""

from __future__ import annotations

import os
import shlex

from ansible.module_utils.fleet.bench.account import BenchError, read_json
from ansible.module_utils.fleet.bench.assets import asset_state
from ansible.module_utils.fleet.bench.fitting import generated, kept_misfits
from ansible.module_utils.fleet.bench.look import installed_apps, installed_packages, upstreams
from ansible.module_utils.fleet.module import FleetModule, telling
from ansible.module_utils.fleet.sites.folders import read_state, served
from ansible.module_utils.fleet.supervisor.call import control_words

DOCUMENTATION = r"""
module: bench_info
short_description: Apps, configuration and generated files of a bench
description:
  - Changes nothing but what C(setup) writes. A bench that does not exist has no apps and no
    generated files.
  - The result carries passwords (of Redis, in C(common_site_config)); use C(no_log).
options:
  path: {description: Directory of the bench., type: path, required: true}
  setup:
    description: Command by which the bench CLI writes its files, run first; not in check mode.
    type: list
    elements: str
  state_dir: {description: The fleet's state on this host., type: path}
  assets: {description: "Whether the web assets are read, all of them.", type: bool, default: false}
  user:
    description:
      - The bench's account. If it is given, the bench's code is checked against our packages; the
        result is kept in C(state_dir) for as long as the code and the packages are the same.
    type: str
  package_dir: {description: Where the package of the jobs is., type: path}
  guard: {description: Whether the fleet has the guard of the read path., type: bool, default: true}
"""

EXAMPLES = r"""
- name: State of the bench is read
  bench_info:
    path: "{{ fleet_bench_dir }}"
    state_dir: "{{ fleet_state_dir }}"
  no_log: true
  register: bench
"""

RETURN = r"""
apps: {description: As returned by installed_apps of fleet/bench/look.py., type: dict}
upstreams: {description: As returned by upstreams there., type: dict}
packages: {description: As returned by installed_packages there., type: dict}
frappe_major: {description: Major version of the framework, None without one., type: int}
common_site_config: {description: Content of that file., type: dict}
assets: {description: "As returned by asset_state, {} without the option.", type: dict}
sites: {description: Sites that are served, by the fleet's state., type: list}
waiting: {description: Reporting nodes that get no calls until they have all apps., type: list}
misfits: {description: "What of the code does not fit our packages, in sentences.", type: list}
supervisorctl: {description: How supervisorctl is called on this host., type: str}
unwritten: {description: "Why C(setup) failed, or empty.", type: str}
generated: {description: "What the bench CLI wrote: name of the file → its text.", type: dict}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "setup": {"type": "list", "elements": "str"},
            "state_dir": {"type": "path"},
            "assets": {"type": "bool", "default": False},
            "user": {"type": "str"},
            "package_dir": {"type": "path"},
            "guard": {"type": "bool", "default": True},
        },
        required_by={"user": ("package_dir", "state_dir")},
        supports_check_mode=True,
    )
    path, state_dir = module.params["path"], module.params["state_dir"]
    waiting = f"{state_dir}/waiting"
    unwritten = ""
    if module.params["setup"] and not module.check_mode:
        code, out, err = module.run_command(module.params["setup"])
        if code:
            unwritten = (err or out).strip()[-2000:] or f"the bench CLI ended with status {code}"
    with telling(module, BenchError, ValueError):
        apps = installed_apps(path)
        version = (apps.get("frappe") or {}).get("version")
        module.exit_json(
            changed=False,
            apps=apps,
            upstreams=upstreams(path, apps),
            packages=installed_packages(path),
            frappe_major=int(version.split(".")[0]) if version else None,
            common_site_config=read_json(f"{path}/sites/common_site_config.json"),
            assets=asset_state(path) if module.params["assets"] else {},
            sites=served(read_state(state_dir)) if state_dir else [],
            waiting=os.listdir(waiting) if os.path.isdir(waiting) else [],
            misfits=kept_misfits(module.params, apps, write=not module.check_mode),
            generated=generated(path),
            unwritten=unwritten,
            supervisorctl=shlex.join(["/usr/bin/supervisorctl", *control_words()[1:]]),
        )


if __name__ == "__main__":
    main()
