#!/usr/bin/python
"""Ask a reporting bench directly, past the router, and look at the code that it runs."""

from __future__ import annotations

import http.client
import time
from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError, installed_apps, read_json
from ansible.module_utils.fleet.http import Visitor
from ansible.module_utils.fleet.module import FleetModule

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
  seconds: {description: How long an answer is waited for., type: int, default: 60}
"""

RETURN = r"""
answered: {description: What was asked and answered., type: str}
"""

PING = "/api/method/ping"
REPORT = "/api/method/frappe.desk.query_report.run?report_name=ToDo"


def wrong_commits(apps: dict[str, dict[str, Any]], wanted: dict[str, str]) -> list[str]:
    """Apps that are not where they should be, in words."""
    return [
        f"{app} is at {apps.get(app, {}).get('commit', 'none')[:10]}, not at {commit[:10]}"
        for app, commit in sorted(wanted.items())
        if apps.get(app, {}).get("commit") != commit
    ]


def in_maintenance(bench: str, site: str) -> bool:
    """Whether a site's own configuration says so."""
    return bool(read_json(f"{bench}/sites/{site}/site_config.json").get("maintenance_mode"))


def ask(visitor: Visitor, user: str, password: str, seconds: float) -> str:
    """Wait for an answer, then run a report; what was answered. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = visitor.call("GET", PING)
            said = answer.said()
        except (OSError, http.client.HTTPException) as error:
            answer, said = None, str(error)
        if answer and answer.status == 200:
            break
        if time.monotonic() > deadline:
            raise AssertionError(f"{visitor.site}: no answer within {seconds:.0f} s, but {said}")
        time.sleep(0.5)
    try:
        visitor.sign_in(user, password)
    except AssertionError:
        return f"{visitor.site} answers; no report was run, as {user} is not let in"
    answer = visitor.call("GET", REPORT)
    if answer.status != 200:
        raise AssertionError(f"{visitor.site}: the report ToDo ends with {answer.said()}")
    return f"{visitor.site} answers with a report"


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "web_workers": {"type": "int", "required": True},
            "commits": {"type": "dict", "required": True},
            "sites": {"type": "list", "elements": "str", "required": True},
            "user": {"type": "str", "required": True},
            "passwords": {"type": "dict", "required": True, "no_log": True},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    wrong = wrong_commits(installed_apps(params["path"]), params["commits"])
    if wrong:
        module.fail_json(msg=f"the bench is not at the primary's commits: {', '.join(wrong)}")
    said = []
    try:
        for site in params["sites"] if params["web_workers"] else []:
            if in_maintenance(params["path"], site):
                said.append(f"{site} is in maintenance and was not asked")
                continue
            with Visitor(params["address"], params["port"], site) as visitor:
                password = params["passwords"].get(site, "")
                said.append(ask(visitor, params["user"], password, params["seconds"]))
    except (AssertionError, BenchError, OSError, http.client.HTTPException) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, answered="; ".join(said) or "it has no web workers")


if __name__ == "__main__":
    main()
