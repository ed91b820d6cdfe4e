#!/usr/bin/python
"""Read the state of a bench in one execution."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bench import BenchError, installed_apps, read_json, read_text

DOCUMENTATION = r"""
module: bench_info
short_description: Apps, configuration and generated files of a bench
description:
  - Only reads. A bench that does not exist is reported as such.
  - The result carries passwords (of Redis, in C(common_site_config)); use C(no_log).
options:
  path: {description: Directory of the bench., type: path, required: true}
  sites: {description: Names of the sites to read., type: list, elements: str, default: []}
"""

GENERATED = ("supervisor.conf", "redis_cache.conf", "redis_queue.conf")


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "sites": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path = module.params["path"]
    try:
        apps = installed_apps(path)
        version = (apps.get("frappe") or {}).get("version")
        sites = {}
        for name in module.params["sites"]:
            config = read_json(f"{path}/sites/{name}/site_config.json")
            sites[name] = {
                "exists": bool(config),
                "db_name": config.get("db_name"),
                "has_encryption_key": bool(config.get("encryption_key")),
            }
        module.exit_json(
            changed=False,
            exists=os.path.exists(f"{path}/env/bin/python") and "frappe" in apps,
            apps=apps,
            frappe_version=version,
            frappe_major=int(version.split(".")[0]) if version else None,
            common_site_config=read_json(f"{path}/sites/common_site_config.json"),
            sites=sites,
            generated={name: read_text(f"{path}/config/{name}") for name in GENERATED},
            assets_built=os.path.exists(f"{path}/sites/assets/assets.json"),
        )
    except (BenchError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
