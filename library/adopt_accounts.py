#!/usr/bin/python
"""Let accounts of an adopted server sign in over TCP although it resolves no names any more."""

from __future__ import annotations

import re

from ansible.module_utils.fleet.adoption import look as adoption
from ansible.module_utils.fleet.module import FleetModule

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

ADDRESS = "127.0.0.1"
# Accounts that can sign in from this host by a password, and those that cannot at all.
BY_PASSWORD = (
    "SELECT User FROM mysql.global_priv WHERE Host = 'localhost'"
    " AND JSON_VALUE(Priv, '$.authentication_string') NOT IN ('', 'invalid')"
)
LOCKED = (
    "SELECT CONCAT(User, '@', Host) FROM mysql.global_priv"
    " WHERE JSON_VALUE(Priv, '$.account_locked') = 1"
)


def twin(lines: list[str], user: str) -> list[str]:
    """Statements for the account at 127.0.0.1, made from those of SHOW CREATE USER and SHOW
    GRANTS for the one at localhost; what root may hand on to others (PROXY) is left out.

    Raises ValueError when the server spells the account in a way that is not known here.
    """
    name = user.replace("`", "``")
    old, new = f"`{name}`@`localhost`", f"`{name}`@`{ADDRESS}`"
    lines = [line for line in lines if not line.startswith("GRANT PROXY ")]
    if not lines or any(old not in line for line in lines):
        raise ValueError(f"the server does not spell the account {user}@localhost as expected")
    made = [line.replace(old, new, 1) for line in lines]
    made[0] = re.sub(r"^CREATE USER ", "CREATE OR REPLACE USER ", made[0])
    return made


def main() -> None:
    """Module entry point."""
    module = FleetModule(argument_spec={}, supports_check_mode=True)
    asked = [adoption.sql(words) for words in (LOCKED, BY_PASSWORD)]
    database = adoption.look_at_database()
    said = [database["trouble"], *(done.stderr.strip() for done in asked if done.returncode != 0)]
    if any(said):
        module.fail_json(msg=f"MariaDB does not tell its accounts: {next(filter(None, said))}")
    locked, by_password = (done.stdout.splitlines() for done in asked)
    accounts = set(database["accounts"]) - set(locked)
    missing = sorted(
        user
        for user in by_password
        if f"{user}@localhost" in accounts and not accounts & {f"{user}@{ADDRESS}", f"{user}@%"}
    )
    for user in [] if module.check_mode else missing:
        name = user.replace("`", "``")
        shown = adoption.sql(
            f"SHOW CREATE USER `{name}`@localhost; SHOW GRANTS FOR `{name}`@localhost;"
        )
        try:
            statements = twin(shown.stdout.splitlines(), user)
        except ValueError as error:
            module.fail_json(msg=str(error))
        done = adoption.sql("".join(f"{statement};\n" for statement in statements))
        if done.returncode != 0:
            # Its words quote a statement, and that one holds a password's hash.
            words = re.sub(r"'\*[0-9A-F]{40}'", "'(secret)'", done.stderr.strip())
            module.fail_json(msg=f"the account {user}@{ADDRESS} could not be made: {words}")
    module.exit_json(
        changed=bool(missing),
        accounts=missing,
        diff={"before": "", "after": "".join(f"account {user}@{ADDRESS}\n" for user in missing)},
    )


if __name__ == "__main__":
    main()
