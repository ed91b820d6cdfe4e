#!/usr/bin/python
"""Remove an app from the sites and the bench of the primary while users work."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.leaving import Leaving
from ansible.module_utils.fleet.module import FleetModule, required, telling

DOCUMENTATION = r"""
module: bench_app_gone
short_description: Removes an app from the sites of a fleet, with its data, and from the primary
description:
  - The app is removed from a site's list first, while calls wait at the router. From then on
    nothing of it runs for users, so they do not notice that its DocTypes and tables are removed.
  - Its code leaves the bench when no site has the app, and no cache names it, any more. The bench
    CLI keeps the code in C(archived/apps).
  - After a run that was killed, the next run removes what is left.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  state_dir: {description: Folder of notes about what has begun., type: path, required: true}
  app: {description: Name of the app., type: str, required: true}
  sites: {description: The sites that are served., type: list, elements: str, required: true}
  keep:
    description: How many former copies of the app's code are kept, C({number, days}).
    type: dict
    required: true
  hold:
    description: How calls wait at the router, C({path, host, port}) as in fleet/calls.py.
    type: dict
"""

EXAMPLES = r"""
- name: App shop is off the sites, then off the bench
  bench_app_gone:
    path: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    app: shop
    sites: [erp.example.com]
    keep: {number: 3, days: 30}
"""

RETURN = r"""
report: {description: "What was done, in lines.", returned: success, type: list, elements: str}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "path", "cli_dir", "state_dir"),
            **required("str", "user", "app"),
            "sites": {"type": "list", "elements": "str", "required": True},
            "hold": {"type": "dict"},
            "keep": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    with telling(module, BenchError):
        steps = Leaving(params).leave(params["sites"], module.check_mode)
    report = steps or [f"{params['app']} is not on the bench"]
    module.exit_json(changed=bool(steps), report=report)


if __name__ == "__main__":
    main()
