#!/usr/bin/python
"""Read the state of a bench in one execution."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shlex
from typing import Any

from ansible.module_utils.fleet.bench.account import (
    BenchError,
    asset_state,
    installed_apps,
    installed_packages,
    read_foreign,
    read_json,
    read_text,
)
from ansible.module_utils.fleet.bench.jobs_tool import UNKNOWN, misfits
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.sites.folders import read_state, served
from ansible.module_utils.fleet.supervisor.control import missing_programs
from ansible.module_utils.fleet.supervisor.programs import control_words

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
  user:
    description:
      - The bench's account. With it, the bench is asked whether its code fits our packages; the
        answer is kept in C(state_dir) for as long as the code and the packages are the same.
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
apps: {description: As module_utils.bench.installed_apps tells them., type: dict}
packages: {description: As module_utils.bench.installed_packages tells them., type: dict}
frappe_major: {description: Major version of the framework, None without one., type: int}
common_site_config: {description: Content of that file., type: dict}
assets: {description: "As module_utils.bench.asset_state tells them, {} unasked.", type: dict}
sites: {description: Sites that are served, by the fleet's state., type: list}
waiting: {description: Reporting nodes that get no calls for want of apps., type: list}
misfits: {description: "What of the code does not fit our packages, in sentences.", type: list}
supervisorctl: {description: How supervisorctl is called on this host., type: str}
generated: {description: "What the bench CLI wrote: name of the file → its text.", type: dict}
"""

# By the name of the file, where it lies.
GENERATED = {
    "supervisor.conf": "supervisor.conf.bench",
    "redis_cache.conf": "redis_cache.conf",
    "redis_queue.conf": "redis_queue.conf",
}


def generated(path: str) -> dict[str, str | None]:
    """What the bench CLI wrote, by the names of its files; None for what it did not.

    Where the bench has what runs instead, it lies beside that (role bench_processes).
    """
    return {name: read_foreign(f"{path}/config/{file}") for name, file in GENERATED.items()}


def fitting_key(path: str, package_dir: str, *others: Any) -> str:
    """Hash of what decides whether a bench fits: its environment, our packages, and the others."""
    places = [*glob.glob(f"{glob.escape(path)}/env/lib/python*/site-packages"), f"{path}/env"]
    about = [(place, os.stat(place).st_mtime_ns) for place in places]
    texts = [read_text(source) for source in sorted(glob.glob(f"{package_dir}/*/contract.py"))]
    return hashlib.sha256(json.dumps([about, texts, others]).encode()).hexdigest()


def kept_misfits(params: dict[str, Any], apps: dict[str, Any], write: bool) -> list[str]:
    """What does not fit, asked when anything has changed; [] for a bench that is not there yet."""
    path, file = params["path"], f"{params['state_dir']}/contract.json"
    # A dry run finds an older release's packages, or none.
    needed = (f"{path}/env/bin/python", f"{params['package_dir']}/benchfleet_jobs/contract.py")
    if not params["user"] or not apps or not all(map(os.path.exists, needed)):
        return []
    text = generated(path)["supervisor.conf"]
    missing = missing_programs(text) if text else []
    asked = params["package_dir"], params["guard"]
    key = fitting_key(path, *asked, apps, missing)
    known = read_json(file)
    if known.get("key") == key:
        return list(known["misfits"])
    found = misfits(path, params["user"], *asked) + missing
    if any(words.startswith(UNKNOWN) for words in found):
        # The next run asks again: there may have been too little memory, say.
        key = ""
    if write and os.path.isdir(params["state_dir"]):
        with open(f"{file}.new", "w", encoding="utf-8") as out:
            json.dump({"key": key, "misfits": found}, out, indent=1)
        os.replace(f"{file}.new", file)
    return found


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
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
    try:
        apps = installed_apps(path)
        version = (apps.get("frappe") or {}).get("version")
        module.exit_json(
            changed=False,
            apps=apps,
            packages=installed_packages(path),
            frappe_major=int(version.split(".")[0]) if version else None,
            common_site_config=read_json(f"{path}/sites/common_site_config.json"),
            assets=asset_state(path) if module.params["assets"] else {},
            sites=served(read_state(state_dir)) if state_dir else [],
            waiting=os.listdir(waiting) if os.path.isdir(waiting) else [],
            misfits=kept_misfits(module.params, apps, write=not module.check_mode),
            generated=generated(path),
            supervisorctl=shlex.join(["/usr/bin/supervisorctl", *control_words()[1:]]),
        )
    except (BenchError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
