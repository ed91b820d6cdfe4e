#!/usr/bin/python
"""Install Debian packages, also after a power cut interrupted dpkg."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Mapping

from ansible.module_utils.fleet.module import FleetModule, new_lines, telling
from ansible.module_utils.fleet.systems import MARIADB, SERVERS

DOCUMENTATION = r"""
module: packages
short_description: Debian packages are installed
description:
  - Unlike C(ansible.builtin.apt) it gives the right result in check mode on a host without
    python3-apt or package lists, such as a fresh image, and it completes an interrupted dpkg. A
    database that the package had only partly created is renamed and created again.
  - Never upgrades the named packages, and never removes a package. If a dependency would upgrade a
    server whose restart users would notice, the module fails and says so. Recommended packages are
    not installed.
options:
  names: {description: The packages., type: list, elements: str, required: true}
"""

EXAMPLES = r"""
- name: Packet filter is installed
  packages:
    names: [nftables]
"""

RETURN = r"""
missing:
  description: Packages that were installed, or would be in check mode.
  returned: always
  type: list
"""

LISTS = "/var/lib/apt/lists"
# Data folder that a package fills when it is configured for the first time, and the folders that it
# makes there. If that was interrupted, the package would take the incomplete data for a database,
# and the server would not start.
FILLED = {MARIADB: ("/var/lib/mysql", {"mysql", "performance_schema", "sys"})}
DAY_SECONDS = 86400
OPTIONS = [
    *("--yes", "--no-install-recommends", "--no-upgrade", "-o", "DPkg::Lock::Timeout=600"),
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
]


def installed(output: str) -> set[str]:
    """Names of the fully installed packages in the output of dpkg-query's format below."""
    lines = (line.partition(" ") for line in output.splitlines())
    return {name for name, _, status in lines if status == "install ok installed"}


def unfinished(states: Mapping[str, str]) -> list[str]:
    """Folders that packages had begun to fill when they were cut off.

    ``states``: package to its status and the version that was configured before, "" for none.
    """
    return [
        folder
        for name, (folder, own) in FILLED.items()
        if states.get(name) == "install ok half-configured "
        and os.path.isdir(folder)
        and {entry.name for entry in os.scandir(folder) if entry.is_dir()} <= own
    ]


def troubles(plan: str) -> list[str]:
    """What apt may not do, of what `apt-get --simulate install` printed, one phrase for each."""
    found = []
    for line in plan.splitlines():
        upgrade = re.match(r"Inst (\S+) \[(\S+)\] \((\S+)", line)
        if upgrade and upgrade[1].startswith(SERVERS):
            found.append(f"upgrade {upgrade[1]} from {upgrade[2]} to {upgrade[3]}")
        removal = re.match(r"Remv (\S+)", line)
        if removal:
            found.append(f"remove {removal[1]}")
    return found


def lists_are_fresh() -> bool:
    """Whether apt has package lists that are younger than a day."""
    files = glob.glob(f"{LISTS}/*_Packages*") + glob.glob(f"{LISTS}/*_InRelease")
    return bool(files) and time.time() - max(map(os.path.getmtime, files)) < DAY_SECONDS


def install(module: FleetModule, names: list[str]) -> tuple[int, str]:
    """Exit status and output of apt after an install. Fails if apt would do more than install."""
    _, plan, _ = module.run_command(["apt-get", "--simulate", "install", *OPTIONS, *names])
    if unwanted := troubles(plan):
        module.fail_json(
            msg=f"to install {', '.join(names)}, apt would {' and '.join(unwanted)}. Benchfleet"
            f" does not do that by itself: run `apt-get install {' '.join(names)}` on this host"
            " at a time that suits you, then run the same command again"
        )
    code, out, err = module.run_command(["apt-get", "install", *OPTIONS, *names])
    return code, err or out


def main() -> None:
    module = FleetModule(
        argument_spec={"names": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    names: list[str] = module.params["names"]
    bad = [name for name in names if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name)]
    if bad:
        module.fail_json(msg=f"{bad[0]!r} is not the name of a Debian package")
    _, out, _ = module.run_command(["dpkg-query", "-W", "-f", "${Package} ${Status}\\n", *names])
    missing = [name for name in names if name not in installed(out)]
    if missing and not module.check_mode:
        module.run_command_environ_update = {
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        ask = ["dpkg-query", "-W", "-f", "${Package} ${Status} ${Config-Version}\\n", *FILLED]
        _, states, _ = module.run_command(ask)
        with telling(module, OSError):
            for folder in unfinished(dict(line.split(" ", 1) for line in states.splitlines())):
                os.rename(folder, f"{folder}-unfinished-{time.time():.0f}")
        module.run_command(["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"])
        if not lists_are_fresh():
            code, out, err = module.run_command(["apt-get", "update"])
            if code != 0:
                module.fail_json(msg=f"apt-get update failed: {(err or out).strip()[-2000:]}")
        code, output = install(module, missing)
        if code != 0:
            # Lists younger than a day may still name a release that the mirror replaced.
            module.run_command(["apt-get", "update"])
            code, output = install(module, missing)
        if code != 0:
            module.fail_json(
                msg=f"{', '.join(missing)} could not be installed: {output.strip()[-2000:]}"
            )
    module.exit_json(changed=bool(missing), missing=missing, diff=new_lines(missing))


if __name__ == "__main__":
    main()
