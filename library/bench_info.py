#!/usr/bin/python
"""Read the state of a bench in one execution."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bench import (
    BenchError,
    asset_state,
    installed_apps,
    read_json,
    read_text,
)
from ansible.module_utils.sites import read_state, served

DOCUMENTATION = r"""
module: bench_info
short_description: Apps, configuration and generated files of a bench
description:
  - Only reads. A bench that does not exist has no apps and no generated files.
  - The result carries passwords (of Redis, in C(common_site_config)); use C(no_log).
options:
  path: {description: Directory of the bench., type: path, required: true}
  state_dir: {description: The fleet's state on this host., type: path}
  assets: {description: "Whether the web assets are read, all of them.", type: bool, default: false}
"""

RETURN = r"""
apps: {description: As module_utils.bench.installed_apps tells them., type: dict}
frappe_major: {description: Major version of the framework, None without one., type: int}
common_site_config: {description: Content of that file., type: dict}
assets: {description: "As module_utils.bench.asset_state tells them, {} unasked.", type: dict}
sites: {description: Sites that are served, by the fleet's state., type: list}
generated: {description: "What the bench CLI wrote: name of the file → its text.", type: dict}
"""

GENERATED = ("supervisor.conf", "redis_cache.conf", "redis_queue.conf")


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state_dir": {"type": "path"},
            "assets": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    path, state_dir = module.params["path"], module.params["state_dir"]
    try:
        apps = installed_apps(path)
        version = (apps.get("frappe") or {}).get("version")
        module.exit_json(
            changed=False,
            apps=apps,
            frappe_major=int(version.split(".")[0]) if version else None,
            common_site_config=read_json(f"{path}/sites/common_site_config.json"),
            assets=asset_state(path) if module.params["assets"] else {},
            sites=served(read_state(state_dir)) if state_dir else [],
            generated={name: read_text(f"{path}/config/{name}") for name in GENERATED},
        )
    except (BenchError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
