#!/usr/bin/python
"""Update the apps of a running primary bench to other commits, phase by phase."""

from __future__ import annotations

import subprocess
from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError, exclusive
from ansible.module_utils.fleet.module import FleetModule, required, telling
from ansible.module_utils.fleet.redis.client import RedisError
from ansible.module_utils.fleet.update.phases import Update
from ansible.module_utils.fleet.update.problems import UpdateRefusedError

DOCUMENTATION = r"""
module: bench_update
short_description: Update the apps of a running bench, phase by phase
description:
  - Every phase may be run again; what is done is kept in C(state_dir)/update.json, so the same
    command continues a run that was killed. While that file exists, its commits are the wanted
    ones, unless C(commits) names others.
  - C(judge) reports all problems, or what would be done. It fetches commits into the apps'
    repositories, and changes nothing else.
  - C(begin) makes code, environment and web assets of the new commits in a folder beside the
    running bench, and notes the update. C(quiet) holds new jobs, and waits for those that run.
    C(migrate) stops the workers, shows users the maintenance page, backs up the sites' databases,
    puts in place what was made, migrates each site, restarts the web workers, starts the others and
    lets users in. C(finish) checks that each site answers, and lets jobs run.
  - If the new commits need no migration, users do not see that page. C(migrate) then restarts the
    web workers with the new code, while calls wait at the router.
  - C(back) undoes what was done before users were let in; a database is restored only if its
    migration had begun. C(open) lets users and jobs in again. C(status) reports the state of a
    failed update. C(forget) ends an update, and removes what is no longer kept, which are backups
    of former updates and outputs of former sites.
options:
  phase:
    description: What is to be done.
    choices: [judge, begin, quiet, migrate, finish, back, open, status, forget]
    required: true
  about:
    description: The bench, and what it is to become.
    type: dict
    required: true
    suboptions:
      path: {description: Directory of the bench., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
      cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
      state_dir: {description: Directory of Benchfleet's state., type: path, required: true}
      backup_dir: {description: Where backups are put., type: path, required: true}
      keep:
        description: How many backups of former updates are kept, C({number, days}).
        type: dict
        required: true
      sites:
        description: Names of the sites. Others that are on the bench are updated after them.
        type: list
        elements: str
        required: true
      commits:
        description: Wanted commit, tag or branch of an app, by its name; the others get the newest
          commit of their branch.
        type: dict
        required: true
      apps:
        description: The apps as the inventory has them, keys name, branch, commit.
        type: list
        elements: dict
        required: true
      build: {description: Whether web assets are built., type: bool, required: true}
      web_port: {description: Port of the bench's gunicorn., type: int, required: true}
      web_workers: {description: Its number of processes., type: int, required: true}
      report_port: {description: Port of the pool for reports., type: int, required: true}
      job_seconds: {description: How long to wait for jobs that run., type: int, required: true}
      back: {description: Whether the update is to be taken back., type: bool, required: true}
      redis: {description: Folder of Redis' settings., type: path, required: true}
      pythons: {description: "Python of each bench, {host: version}.", type: dict, default: {}}
  nodes:
    description: "With judge and begin: apps of the reporting benches, {host: {app: {commit,
      changes}}}."
    type: dict
    default: {}
  drained:
    description: "With begin: reporting nodes that this update takes out of service, and puts back."
    type: list
    elements: str
    default: []
  reason: {description: "With status: what failed.", type: str}
"""

EXAMPLES = r"""
- name: Update is judged
  bench_update:
    phase: judge
    about: "{{ bench }}"
    nodes: {rep1: {frappe: {commit: 5f1b5c9, changes: false}}}
"""

RETURN = r"""
going: {description: Whether there is something to do., type: bool}
code: {description: Whether the primary's part is still to be done., type: bool}
touched: {description: Whether the migration of a site had begun., type: bool}
message: {description: "With status: where the update is, and how it can go on.", type: str}
status: {description: "With status: the same as facts; see fleet/update/report.py.", type: dict}
outcome: {description: "With finish: what the update took; see fleet/update/report.py.", type: dict}
problems:
  description: "Why the update was refused: {id, facts} each; the message has their texts."
  returned: failure
  type: list
restored: {description: "With back: backups that were restored, {site: file}.", type: dict}
not_restored: {description: "The same, of sites that are gone from the bench.", type: dict}
drained: {description: Nodes that this update took out of service., type: list, elements: str}
report: {description: "What would be done, or was, in lines.", type: list, elements: str}
"""

PHASES = ["judge", "begin", "quiet", "migrate", "finish", "back", "open", "status", "forget"]
ABOUT: dict[str, Any] = {
    **required("path", "path", "cli_dir", "state_dir", "backup_dir", "redis"),
    **required("dict", "keep", "commits"),
    **required("bool", "build", "back"),
    **required("int", "web_port", "web_workers", "report_port", "job_seconds"),
    "user": {"type": "str", "required": True},
    "sites": {"type": "list", "elements": "str", "required": True},
    "apps": {"type": "list", "elements": "dict", "required": True},
    "pythons": {"type": "dict", "default": {}},
}


def main() -> None:
    module = FleetModule(
        argument_spec={
            "phase": {"type": "str", "choices": PHASES, "required": True},
            "about": {"type": "dict", "required": True, "options": ABOUT},
            "nodes": {"type": "dict", "default": {}},
            "drained": {"type": "list", "elements": "str", "default": []},
            "reason": {"type": "str"},
        },
        supports_check_mode=True,
    )
    phase = module.params["phase"]
    reads = phase in ("judge", "status")
    if module.check_mode and not reads:
        module.exit_json(changed=True)
    with (
        telling(module, BenchError, OSError, RedisError, subprocess.TimeoutExpired),
        exclusive(f"{module.params['about']['state_dir']}/bench.lock", 1800),
    ):
        update = Update(module.params)
        try:
            outcome = getattr(update, phase)() or {}
        except UpdateRefusedError as error:
            # Their texts are in the message.
            found = [{"id": one["id"], "facts": one["facts"]} for one in error.problems]
            module.fail_json(msg=str(error), problems=found)
        known = {
            "drained": update.state.get("drained", []),
            "touched": bool(update.state.get("touched")),
        }
    changed = module.check_mode and outcome["going"] if reads and outcome else not reads
    module.exit_json(changed=changed, report=update.report, **known, **outcome)


if __name__ == "__main__":
    main()
