#!/usr/bin/python
"""Create accounts of an adopted server for 127.0.0.1, as it no longer resolves localhost."""

from __future__ import annotations

from ansible.module_utils.fleet.adoption.accounts import (
    ADDRESS,
    AccountError,
    create_by_address,
    only_by_name,
)
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling

DOCUMENTATION = r"""
module: adopt_accounts
short_description: Accounts of an adopted server for localhost also hold for 127.0.0.1
description:
  - MariaDB of a fleet resolves no names, so C(user@localhost) cannot sign in over TCP. Each account
    for localhost that has a password is also created for 127.0.0.1, with the same password and
    rights.
  - An account for 127.0.0.1 that exists is not changed, unless it is locked, as after an earlier
    release.
options: {}
"""

EXAMPLES = r"""
- name: Apps can sign in on a server that resolves no names
  adopt_accounts:
"""


def main() -> None:
    module = FleetModule(argument_spec={}, supports_check_mode=True)
    with telling(module, AccountError):
        missing = only_by_name()
        for user in [] if module.check_mode else missing:
            create_by_address(user)
    module.exit_json(
        changed=bool(missing),
        accounts=missing,
        diff=new_lines(f"account {user}@{ADDRESS}" for user in missing),
    )


if __name__ == "__main__":
    main()
