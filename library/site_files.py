#!/usr/bin/python
"""Files of the sites that only this host has."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule, telling
from ansible.module_utils.fleet.switching.files import work

DOCUMENTATION = r"""
module: site_files
short_description: Find the sites' files that only a former primary has, and keep them
description:
  - A primary that was lost may have files that were never copied. Before it gets a copy of the
    sites folder, which would remove them, they are put aside for a person.
options:
  step:
    description: C(recent) lists the files that came after a time, C(lacking) those of a list that
      this host does not have, and C(keep) copies those of a list aside.
    type: str
    choices: [recent, lacking, keep]
    required: true
  sites: {description: The bench's sites folder., type: path, required: true}
  since: {description: Seconds since 1970 (C(recent))., type: float, default: 0}
  files: {description: "Files and their bytes (C(lacking), C(keep)).", type: dict, default: {}}
  folder: {description: Where they are kept (C(keep))., type: path}
"""

EXAMPLES = r"""
- name: Files of the last hours are listed
  site_files:
    step: recent
    sites: /home/frappe/frappe-bench/sites
    since: 1796000000
"""

RETURN = r"""
files: {description: "Files and their bytes.", returned: C(recent), type: dict}
lacking: {description: Files that are not here., returned: C(lacking), type: list}
kept: {description: Files that are in the folder now., returned: C(keep), type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "step": {"type": "str", "choices": ["recent", "lacking", "keep"], "required": True},
            "sites": {"type": "path", "required": True},
            "since": {"type": "float", "default": 0},
            "files": {"type": "dict", "default": {}},
            "folder": {"type": "path"},
        },
        required_if=[("step", "keep", ["folder"])],
        supports_check_mode=True,
    )
    with telling(module, OSError):
        module.exit_json(**work(module.params["step"], module.params, module.check_mode))


if __name__ == "__main__":
    main()
