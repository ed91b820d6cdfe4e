#!/usr/bin/python
"""Ask a reporting bench directly, past the router, and look at the code that it runs."""

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
  - Signs in at the bench, past the router, and runs a report that every Frappe has. Where the
    account is not let in, as when its password was changed, the bench's own answer is enough.
  - A site that somebody has put into maintenance by itself answers nobody, and is not asked.
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
        module.fail_json(msg=f"the bench is not at the primary's commits: {', '.join(wrong)}")
    with telling(module, AssertionError, BenchError, OSError, http.client.HTTPException):
        said = ask_all(params) if params["web_workers"] else []
    module.exit_json(changed=False, answered="; ".join(said) or "it has no web workers")


if __name__ == "__main__":
    main()
