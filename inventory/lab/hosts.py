#!/usr/bin/env python3
"""The lab's hosts, for Ansible: read from the state of the lab that BENCHFLEET_LAB names.

Without it, the only lab of this machine is used and printed; where there are several, this fails.

Derived groups are in groups.yml, other settings in group_vars.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchfleet.lab import state  # noqa: E402 -- found through the path above
from benchfleet.shell import FleetError  # noqa: E402 -- likewise


def inventory(lab: state.Lab) -> dict[str, Any]:
    """Return the inventory in the form that Ansible expects of `--list`."""
    connection = [
        f"-o UserKnownHostsFile={lab.path}/known_hosts",
        "-o GlobalKnownHostsFile=/dev/null",
        "-o StrictHostKeyChecking=yes",
        "-o IdentitiesOnly=yes",
        "-o ConnectTimeout=10",
    ]
    variables: dict[str, Any] = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": f"{lab.path}/ssh/id_ed25519",
        "ansible_ssh_common_args": " ".join(connection),
        # Beside the lab's state, so that a killed host's connections can be found and dropped.
        "ansible_control_path": f"{lab.run_path}/{os.getuid()}-%%h",
        "fleet_secrets_dir": f"{lab.path}/secrets",
        "bench_apps": [
            {key: app[key] for key in ("name", "repo", "branch") if app[key]} for app in lab.apps
        ],
        # The addresses too: nothing on this machine resolves the site's name. The standby's router
        # passes calls on.
        "fleet_sites": [
            {
                "name": state.SITE,
                "names": [host.ip for host in lab.hosts[:2]],
                "apps": [app["name"] for app in lab.apps],
            }
        ],
    }
    if not lab.build_assets:
        variables["bench_build_assets"] = False
    if lab.python:
        variables["bench_python"] = lab.python
    if lab.frappe_repo:
        variables["bench_frappe_repo"] = lab.frappe_repo
        variables["bench_frappe_branch"] = lab.frappe_branch
    groups: dict[str, Any] = {"primary": {"hosts": []}, "reporting": {"hosts": []}}
    for host in lab.hosts:
        groups[host.role]["hosts"].append(host.name)
    return {
        "_meta": {"hostvars": {host.name: {"ansible_host": host.ip} for host in lab.hosts}},
        "all": {"vars": variables},
        **groups,
    }


def main() -> int:
    """Print the inventory; returns 1, with the remedy on standard error, where no lab is found."""
    try:
        lab = state.inventory_lab()
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1
    if not os.environ.get("BENCHFLEET_LAB"):
        print(
            f"inventory/lab: using lab {lab.name!r}, the only one on this machine", file=sys.stderr
        )
    print(json.dumps(inventory(lab), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
