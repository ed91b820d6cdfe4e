"""Accounts for localhost of an adopted server, created for 127.0.0.1 as well.

The server no longer resolves names, so an account for localhost cannot sign in over TCP.
"""

from __future__ import annotations

import re

from .database import sql

ADDRESS = "127.0.0.1"
# Users with an account for localhost that has a password, but no unlocked one by address.
ONLY_BY_NAME = """
SELECT User FROM mysql.global_priv AS here WHERE Host = 'localhost'
  AND JSON_VALUE(Priv, '$.authentication_string') NOT IN ('', 'invalid')
  AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) <> 1
  AND NOT EXISTS (
    SELECT * FROM mysql.global_priv AS other WHERE other.User = here.User
      AND other.Host IN ('127.0.0.1', '%')
      AND COALESCE(JSON_VALUE(other.Priv, '$.account_locked'), 0) <> 1)
"""


class AccountError(Exception):
    """An account could not be created for 127.0.0.1; the message says why."""


def twin(lines: list[str], user: str) -> list[str]:
    """Statements for the account at 127.0.0.1, made from those of SHOW CREATE USER and SHOW
    GRANTS for the one at localhost, without grants of PROXY.

    Raises AccountError when the server writes the account in another way than `user`@`localhost`.
    """
    name = user.replace("`", "``")
    old, new = f"`{name}`@`localhost`", f"`{name}`@`{ADDRESS}`"
    lines = [line for line in lines if not line.startswith("GRANT PROXY ")]
    if not lines or any(old not in line for line in lines):
        raise AccountError(
            f"MariaDB shows the account {user}@localhost in an unexpected form: see `SHOW CREATE"
            f" USER '{user}'@localhost`"
        )
    made = [line.replace(old, new, 1) for line in lines]
    made[0] = re.sub(r"^CREATE USER ", "CREATE OR REPLACE USER ", made[0])
    return made


def only_by_name() -> list[str]:
    """Users with an account for localhost and a password, but with none for 127.0.0.1."""
    done = sql(ONLY_BY_NAME)
    if done.returncode != 0:
        why = done.stderr.strip() or "no answer"
        raise AccountError(f"the accounts of MariaDB could not be read: {why}")
    return sorted(done.stdout.splitlines())


def create_by_address(user: str) -> None:
    """Create the account for 127.0.0.1 with the password and rights of the one for localhost."""
    name = user.replace("`", "``")
    shown = sql(f"SHOW CREATE USER `{name}`@localhost; SHOW GRANTS FOR `{name}`@localhost;")
    statements = twin(shown.stdout.splitlines(), user)
    done = sql("".join(f"{statement};\n" for statement in statements))
    if done.returncode != 0:
        # The message quotes the statement, which holds the hash of a password.
        message = re.sub(r"'\*[0-9A-F]{40}'", "'(secret)'", done.stderr.strip())
        raise AccountError(f"the account {user}@{ADDRESS} could not be created: {message}")
