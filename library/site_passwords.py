#!/usr/bin/python
"""New passwords of the sites' own database accounts, while both are accepted."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.mariadb.server import local
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.sites.folders import SiteError
from ansible.module_utils.fleet.sites.passwords import Passwords
from ansible.module_utils.fleet.sites.reconcile import SETTINGS, Line

DOCUMENTATION = r"""
module: site_passwords
short_description: Sites get new passwords for their databases
description:
  - A site's account, on every host that it signs in from, first accepts a new password besides its
    own; then the new one is written to C(db_password) in site_config.json. So no process of the
    bench is refused, whichever of the two it has read. C(end) removes the former one.
  - No other record is needed. Where an account accepts two passwords, the second one is the new
    one, so an interrupted run can go on.
options:
  step:
    description: C(begin) gives every site a new password, C(resume) those that were interrupted.
    choices: [begin, resume, end]
    required: true
extends_documentation_fragment: site_settings
"""

EXAMPLES = r"""
- name: Sites have new passwords, and accounts that accept both
  site_passwords:
    settings: "{{ settings }}"
    step: begin
"""

RETURN = r"""
sites: {description: Sites whose password was changed., returned: always, type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
            "step": {"type": "str", "required": True, "choices": ["begin", "resume", "end"]},
        },
        supports_check_mode=True,
    )
    line = Line(module.params["settings"], module.check_mode)

    def work() -> dict[str, Any]:
        with line.lock(), local() as server:
            passwords = Passwords(server, line)
            passwords.run(module.params["step"])
        return {"changed": bool(passwords.changed), "sites": sorted(passwords.changed)}

    answer(module, work, BenchError, SiteError)


if __name__ == "__main__":
    main()
