#!/usr/bin/python
"""Call a reporting bench directly, not through the router, and read which code it runs."""

from __future__ import annotations

import http.client

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.answers import ask_all, wrong_commits
from ansible.module_utils.fleet.bench.look import installed_apps
from ansible.module_utils.fleet.module import FleetModule, required, telling

DOCUMENTATION = r"""
module: bench_answers
short_description: A bench answers calls of its own, at the wanted commits
description:
  - Signs in at the bench, not through the router, and runs a report that every Frappe has. Where
    the account cannot sign in, for example after its password was changed, an answer of the bench
    is enough.
  - A site in maintenance mode by its own configuration is not asked.
  - Arguments carry passwords; use C(no_log).
options:
  path: {description: Directory of the bench., type: path, required: true}
  address: {description: Address of its gunicorn., type: str, required: true}
  port: {description: Port of its gunicorn., type: int, required: true}
  web_workers: {description: Its number of processes., type: int, required: true}
  commits: {description: Wanted commit of each app., type: dict, required: true}
  sites: {description: Names of the sites., type: list, elements: str, required: true}
  user: {description: Account that signs in., type: str, required: true}
  passwords: {description: Its password at each site., type: dict, required: true}
"""

EXAMPLES = r"""
- name: Bench answers with the new code
  bench_answers:
    path: "{{ fleet_bench_dir }}"
    address: 192.0.2.21
    port: "{{ fleet_web_port }}"
    web_workers: 4
    commits: {frappe: 5f1b5c9}
    sites: [erp.example.com]
    user: Administrator
    passwords: {erp.example.com: "{{ password }}"}
  no_log: true
"""

RETURN = r"""
answered: {description: What was asked and answered., type: str}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("str", "address", "user"),
            **required("int", "port", "web_workers"),
            "path": {"type": "path", "required": True},
            "commits": {"type": "dict", "required": True},
            "sites": {"type": "list", "elements": "str", "required": True},
            "passwords": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    wrong = wrong_commits(installed_apps(params["path"]), params["commits"])
    if wrong:
        found = ", ".join(f"{app} is at {here}, not at {there}" for app, here, there in wrong)
        module.fail_json(msg=f"the bench is not at the primary's commits: {found}")
    with telling(module, AssertionError, BenchError, OSError, http.client.HTTPException):
        said = ask_all(params) if params["web_workers"] else []
    module.exit_json(changed=False, answered="; ".join(said) or "the bench has no web workers")


if __name__ == "__main__":
    main()
