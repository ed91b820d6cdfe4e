#!/usr/bin/python
"""Bring a host of an earlier release to the format of this one."""

from __future__ import annotations

from ansible.module_utils.fleet.migrations import Places, migrate
from ansible.module_utils.fleet.module import FleetModule, new_lines, required

DOCUMENTATION = r"""
module: host_migrate
short_description: Apply the migrations that a host of an earlier release lacks
description:
  - Runs when this release's programs are installed. Earlier ones may need what a migration removes.
  - Each migration is recorded in the fleet's mark, so that it is applied once.
options:
  config_dir: {description: Where the fleet's mark lies., type: path, required: true}
  lib_dir: {description: Programs of Benchfleet., type: path, required: true}
  state_dir: {description: Its state on the host., type: path, required: true}
"""

EXAMPLES = r"""
- name: Host has this release's format
  host_migrate:
    config_dir: "{{ fleet_config_dir }}"
    lib_dir: "{{ fleet_lib_dir }}"
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
migrations:
  description: Names of the migrations that were applied, or would be in check mode.
  returned: success
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec=required("path", "config_dir", "lib_dir", "state_dir"),
        supports_check_mode=True,
    )
    places = Places(*(module.params[name] for name in ("config_dir", "lib_dir", "state_dir")))
    try:
        names = migrate(places, module.check_mode)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"this host could not be migrated: {error}")
    module.exit_json(changed=bool(names), migrations=names, diff=new_lines(names))


if __name__ == "__main__":
    main()
