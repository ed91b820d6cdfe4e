"""Accounts of an adopted server sign in over TCP although it resolves no names any more."""

from __future__ import annotations

import re

from .database import look_at_database, sql

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


class AccountError(Exception):
    """The server does not do what it must; the message says what."""


def twin(lines: list[str], user: str) -> list[str]:
    """Statements for the account at 127.0.0.1, made from those of SHOW CREATE USER and SHOW
    GRANTS for the one at localhost; what root may hand on to others (PROXY) is left out.

    Raises AccountError when the server spells the account in a way that is not known here.
    """
    name = user.replace("`", "``")
    old, new = f"`{name}`@`localhost`", f"`{name}`@`{ADDRESS}`"
    lines = [line for line in lines if not line.startswith("GRANT PROXY ")]
    if not lines or any(old not in line for line in lines):
        raise AccountError(f"the server does not spell the account {user}@localhost as expected")
    made = [line.replace(old, new, 1) for line in lines]
    made[0] = re.sub(r"^CREATE USER ", "CREATE OR REPLACE USER ", made[0])
    return made


def without_twin() -> list[str]:
    """Users with an account at localhost, and a password, that have none by address."""
    asked = [sql(words) for words in (LOCKED, BY_PASSWORD)]
    database = look_at_database()
    said = [database["trouble"], *(done.stderr.strip() for done in asked if done.returncode != 0)]
    if any(said):
        raise AccountError(f"MariaDB does not tell its accounts: {next(filter(None, said))}")
    locked, by_password = (done.stdout.splitlines() for done in asked)
    accounts = set(database["accounts"]) - set(locked)
    return sorted(
        user
        for user in by_password
        if f"{user}@localhost" in accounts and not accounts & {f"{user}@{ADDRESS}", f"{user}@%"}
    )


def make_twin(user: str) -> None:
    """Make the account at 127.0.0.1 with the password and rights of the one at localhost."""
    name = user.replace("`", "``")
    shown = sql(f"SHOW CREATE USER `{name}`@localhost; SHOW GRANTS FOR `{name}`@localhost;")
    statements = twin(shown.stdout.splitlines(), user)
    done = sql("".join(f"{statement};\n" for statement in statements))
    if done.returncode != 0:
        # Its words quote a statement, and that one holds a password's hash.
        words = re.sub(r"'\*[0-9A-F]{40}'", "'(secret)'", done.stderr.strip())
        raise AccountError(f"the account {user}@{ADDRESS} could not be made: {words}")
