#!/usr/bin/python
"""Which methods of the bench's apps the router sends to the reporting benches."""

from __future__ import annotations

import inspect
import json
import os
from typing import Any

from ansible.module_utils.fleet import routes
from ansible.module_utils.fleet.bench.account import run_as
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: report_routes
short_description: Routes of the methods that are read_only, by reading the apps' source
description:
  - Only reads, and imports nothing of the apps. Files that cannot be parsed are named in a
    warning; what they define stays on the primary.
options:
  bench: {description: Directory of the primary bench., type: path, required: true}
  user: {description: Account that owns the bench., type: str, required: true}
  sites:
    description: Sites of the bench as in C(fleet_sites).
    type: list
    elements: dict
    required: true
  report_methods: {description: Methods to add., type: list, elements: str, required: true}
  primary_methods: {description: Methods to take out., type: list, elements: str, required: true}
  guard:
    description: Whether the reporting benches guard their connections to the replicas.
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
routes: {description: "{method, bench, why, where, light} of each method, sorted.", type: list}
methods: {description: Names of those that the reporting benches answer, sorted., type: list}
light: {description: Those that the primary's own bench answers when they are busy., type: list}
"""


def newer_python(bench: str, user: str, path: str, of_frappe: bool) -> dict[str, Any]:
    """Facts of a file as the bench's own Python reads it, as the bench's account.

    Isolated and without site, so that nothing of the bench is run but its interpreter.
    Raises SyntaxError when it cannot either.
    """
    script = inspect.getsource(routes) + "\nforeign_main()\n"
    python = f"{bench}/env/bin/python"
    words = [python, "-I", "-S", "-", path, "frappe" if of_frappe else ""]
    done = run_as(user, words, "/", {"PATH": "/usr/bin:/bin"}, stdin=script, timeout=60)
    if done.returncode != 0:
        raise SyntaxError((done.stdout.strip().splitlines() or ["cannot be parsed"])[-1])
    return json.loads(done.stdout)


def reader(bench: str, user: str) -> routes.Reader:
    """Reads a file by this Python, and by the bench's where that fails."""

    def read(path: str, of_frappe: bool) -> dict[str, Any]:
        try:
            return routes.read_facts(path, of_frappe)
        except SyntaxError:
            if not os.path.exists(f"{bench}/env/bin/python"):
                raise
            return newer_python(bench, user, path, of_frappe)

    return read


def common_apps(sites: list[dict[str, Any]]) -> set[str]:
    """The apps that every site has."""
    own = [set(site.get("apps") or []) for site in sites]
    return {"frappe"} | (set.intersection(*own) if own else set())


def main() -> None:
    """Module entry point."""
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
    apps = routes.Apps(bench, reader(bench, user))
    try:
        routes.check_lists(added, taken)
        if not apps.names:
            if not module.check_mode:
                module.fail_json(msg=f"{bench} holds no apps; run site.yml, which makes the bench")
            module.exit_json(changed=False, routes=[], methods=[], light=[])
        found, notes = routes.routes(
            apps,
            added,
            taken,
            guard=module.params["guard"],
            everywhere=common_apps(module.params["sites"]),
        )
    except routes.RoutesError as error:
        module.fail_json(msg=str(error))
    for note in notes:
        module.warn(note)
    methods = [route["method"] for route in found if route["bench"] == routes.REPORTING]
    light = [route["method"] for route in found if route["light"]]
    module.exit_json(changed=False, routes=found, methods=methods, light=light)


if __name__ == "__main__":
    main()
