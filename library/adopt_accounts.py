#!/usr/bin/python
"""Let accounts of an adopted server sign in over TCP although it resolves no names any more."""

from __future__ import annotations

from ansible.module_utils.fleet.adoption.accounts import (
    ADDRESS,
    AccountError,
    make_twin,
    without_twin,
)
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling

DOCUMENTATION = r"""
module: adopt_accounts
short_description: Accounts of an adopted server for localhost also hold for 127.0.0.1
description:
  - A fleet's MariaDB resolves no names, so that C(user@localhost) no longer holds for a
    connection by TCP. Each such account that has a password, whatever app it is for, gets a twin
    for 127.0.0.1 with the same password and rights.
  - An account that is there is left as it is, unless it is locked, as an earlier release may have
    left a twin.
options: {}
"""

EXAMPLES = r"""
- name: Apps can sign in on a server that resolves no names
  adopt_accounts:
"""


def main() -> None:
    module = FleetModule(argument_spec={}, supports_check_mode=True)
    with telling(module, AccountError):
        missing = without_twin()
        for user in [] if module.check_mode else missing:
            make_twin(user)
    module.exit_json(
        changed=bool(missing),
        accounts=missing,
        diff=new_lines(f"account {user}@{ADDRESS}" for user in missing),
    )


if __name__ == "__main__":
    main()
