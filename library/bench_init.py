#!/usr/bin/python
"""Make a bench with the bench CLI and keep its apps at the wanted commits."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError, exclusive
from ansible.module_utils.fleet.bench.making import BenchMaker
from ansible.module_utils.fleet.bench.pdf import available, printing
from ansible.module_utils.fleet.module import FleetModule, new_lines, required, telling

DOCUMENTATION = r"""
module: bench_init
short_description: A bench with its apps, at given commits
description:
  - Runs C(bench init) and C(bench get-app) as the bench's account. What is begun is noted in
    C(state_dir) first, and only what is noted there is removed and made again.
  - With C(moves), the C(commit) of an app is checked out and its requirements are installed, and an
    app that is not in C(apps) is removed. Without it, an app of a finished bench at another commit
    is an error, as its sites may need a migration, and other apps stay. An app that came from
    another bench of the fleet, when this one followed it, gets C(repo) as its remote.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  python: {description: Python for the bench's environment., type: path, required: true}
  apps:
    description: frappe first, then the others.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the app's package., type: str, required: true}
      repo: {description: Its repository., type: str, required: true}
      branch: {description: Branch or tag., type: str}
      commit: {description: Commit., type: str}
      login:
        description: Account of the repository's URL as C(//USER:PASSWORD@); it is never shown. The
          filter repo_logins takes it out of C(repo).
        type: str
      upstream:
        description:
          - With C(moves), where the other bench has the app from. It becomes this one's remote;
            nothing is fetched from it as long as this bench follows.
        type: str
  ssh_command: {description: GIT_SSH_COMMAND for the repositories., type: str}
  moves:
    description: Whether a finished bench follows another one.
    type: bool
    default: false
  keep:
    description: How much of the code of apps that leave is kept, C({number, days}). With C(moves).
    type: dict
    default: {}
  packages:
    description:
      - Packages that the environment is to have at these versions, name to version, those of the
        bench that this one follows. One that cannot be installed is a warning, not an error.
    type: dict
    default: {}
  startup:
    description: A line that every process of the bench's Python runs at its start, from
      benchfleet.pth in its environment.
    type: str
    required: true
  state_dir: {description: Folder of notes about what is being made., type: path, required: true}
  adopted:
    description:
      - Whether the bench was made by hand and is taken over in this run. It is marked as complete
        before this module is called, but not in a dry run, which takes it for marked.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Bench is initialised with its apps
  bench_init:
    path: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    python: /usr/bin/python3
    apps:
      - {name: frappe, repo: "https://github.com/frappe/frappe", branch: version-15}
    startup: "{{ bench_startup }}"
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
printing:
  description:
    - The programs with which the bench prints PDFs, and those that are missing, as returned by
      fleet/bench/pdf.py; of the packages those that apt can install here.
  returned: success
  type: dict
"""

APP_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "repo": {"type": "str", "required": True},
    "login": {"type": "str", "no_log": True},
    "branch": {"type": "str"},
    "commit": {"type": "str"},
    "upstream": {"type": "str"},
}


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "path", "cli_dir", "python", "state_dir"),
            **required("str", "user", "startup"),
            "apps": {"type": "list", "elements": "dict", "required": True, "options": APP_SPEC},
            "ssh_command": {"type": "str"},
            "moves": {"type": "bool", "default": False},
            "keep": {"type": "dict", "default": {}},
            "packages": {"type": "dict", "default": {}},
            "adopted": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    with telling(module, BenchError):
        if not os.path.exists(module.params["path"]) and module.check_mode:
            module.exit_json(
                changed=True,
                differences=[f"bench {module.params['path']}"],
                printing=available(printing(module.params["path"])),
            )
        maker = BenchMaker(module.params, dry=module.check_mode)
        differences = maker.differences()
        if differences and not module.check_mode:
            with exclusive(f"{module.params['state_dir']}/bench.lock", 1800):
                maker.make()
            if left := list(maker.other_packages().values()):
                module.warn(
                    "Packages of the primary's bench could not be installed in the same versions,"
                    f" so reports may differ: {'; '.join(left)}"
                )
                differences = [line for line in differences if line not in left]
        elif not module.check_mode:
            # With an old note, a bench that is made here by hand later would seem to be ours.
            maker.forget("bench")
        module.exit_json(
            changed=bool(differences),
            differences=differences,
            printing=available(printing(module.params["path"])),
            diff=new_lines(differences),
        )


if __name__ == "__main__":
    main()
