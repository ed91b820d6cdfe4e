#!/usr/bin/python
"""Which methods of the bench's apps the router sends to the reporting benches."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule, telling
from ansible.module_utils.fleet.routes.judge import (
    REPORTING,
    RoutesError,
    check_lists,
    common_apps,
    routes,
)
from ansible.module_utils.fleet.routes.source import Apps, reader

DOCUMENTATION = r"""
module: report_routes
short_description: Routes of the methods that are read_only, read from the apps' source
description:
  - Only reads, and imports nothing of the apps. Files that cannot be parsed are named in a warning;
    their methods stay on the primary.
options:
  bench: {description: Directory of the primary bench., type: path, required: true}
  user: {description: Account that owns the bench., type: str, required: true}
  sites:
    description: Sites of the bench as in C(fleet_sites).
    type: list
    elements: dict
    required: true
  report_methods: {description: Methods to add., type: list, elements: str, required: true}
  primary_methods:
    description: Methods to keep on the primary.
    type: list
    elements: str
    required: true
  guard:
    description: Whether the reporting benches have the guard of the read path.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Methods that a reporting bench may answer are known
  report_routes:
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    sites: "{{ fleet_sites }}"
    report_methods: [shop.reports.stock]
    primary_methods: []
    guard: true
"""

RETURN = r"""
routes:
  description: "{method, bench, reason, why, where, light} of each method, sorted."
  type: list
methods: {description: Names of those that the reporting benches answer, sorted., type: list}
light: {description: Those that the primary's own bench answers while they are busy., type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "bench": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "sites": {"type": "list", "elements": "dict", "required": True},
            "report_methods": {"type": "list", "elements": "str", "required": True},
            "primary_methods": {"type": "list", "elements": "str", "required": True},
            "guard": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
    )
    bench, user = module.params["bench"], module.params["user"]
    added, taken = module.params["report_methods"], module.params["primary_methods"]
    apps = Apps(bench, reader(bench, user))
    with telling(module, RoutesError):
        check_lists(added, taken)
        if not apps.names:
            if not module.check_mode:
                module.fail_json(msg=f"{bench} holds no apps; run site.yml, which makes the bench")
            module.exit_json(changed=False, routes=[], methods=[], light=[])
        found, notes = routes(
            apps,
            added,
            taken,
            guard=module.params["guard"],
            everywhere=common_apps(module.params["sites"]),
        )
    for note in notes:
        module.warn(note)
    methods = [route["method"] for route in found if route["bench"] == REPORTING]
    light = [route["method"] for route in found if route["light"]]
    module.exit_json(changed=False, routes=found, methods=methods, light=light)


if __name__ == "__main__":
    main()
