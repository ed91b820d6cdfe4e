#!/usr/bin/python
"""Which Python and Node.js the code of the apps requires."""

from __future__ import annotations

from ansible.module_utils.fleet.bench import code
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: code_needs
short_description: Which Python and Node.js the code of the apps requires
description:
  - Only reads. For a host on which the module survey could not read it yet.
options:
  bench_dir: {description: Directory of the bench., type: path, required: true}
  bench_user: {description: The bench's account., type: str, required: true}
  apps:
    description: The apps that the bench is to have.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the app's package., type: str, required: true}
      repo: {description: Its repository., type: str, required: true}
      branch: {description: Branch or tag., type: str}
      commit: {description: Commit., type: str}
"""

EXAMPLES = r"""
- name: Requirements of the apps' code are read
  code_needs:
    bench_dir: "{{ fleet_bench_dir }}"
    bench_user: frappe
    apps:
      - {name: frappe, repo: "https://github.com/frappe/frappe", branch: version-15}
"""

RETURN = r"""
code:
  description: "{app: {python, node}}, or {trouble} where that is not known."
  returned: success
  type: dict
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "bench_dir": {"type": "path", "required": True},
            "bench_user": {"type": "str", "required": True},
            "apps": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": code.APP_SPEC,
            },
        },
        supports_check_mode=True,
    )
    asked = module.params
    found = code.look(asked["bench_dir"], asked["apps"], asked["bench_user"])
    module.exit_json(changed=False, code=found)


if __name__ == "__main__":
    main()
