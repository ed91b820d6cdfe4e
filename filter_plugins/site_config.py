"""Keys of a site's site_config.json that make Frappe read from a replica: pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError


def replica_keys(
    frappe_major: int,
    db_name: str,
    ro_user: str,
    ro_password: str,
    replica_host: str,
    port: int = 3306,
) -> dict[str, Any]:
    """Keys that make Frappe's ``read_only`` calls of one site use the replica.

    Where the rule comes from (``connect_replica`` and the MariaDB class of each release):

    - 16 takes the user from ``replica_db_user``.
    - 15 takes the user from ``replica_db_name`` and the database from the site's own ``db_name``,
      so a user of another name works there too.
    - 14 and before use ``replica_db_name`` as user and as database at once. A read-only user would
      need the database's name, which the site's own user has: the site's own credentials are
      used, and the server's ``read_only`` alone keeps writes out.

    Inputs: Frappe's major version; the site's database; the read-only account and its password;
    address and TCP port of the replica. Raises AnsibleFilterError for a version before 13, which
    knows none of these keys, and for an empty value.
    """
    values = {
        "db_name": db_name,
        "ro_user": ro_user,
        "ro_password": ro_password,
        "replica_host": replica_host,
    }
    for name, value in values.items():
        if not value:
            raise AnsibleFilterError(
                f"replica_keys: {name} is empty for database {db_name!r}; site_accounts on the"
                " primary must run first"
            )
    major = int(frappe_major)
    if major < 13:
        raise AnsibleFilterError(
            f"replica_keys: Frappe {major} cannot read from a replica; use 14 or later"
        )
    keys: dict[str, Any] = {
        "read_from_replica": 1,
        "replica_host": replica_host,
        "replica_db_port": int(port),
    }
    if major < 15:
        return keys
    return keys | {
        "different_credentials_for_replica": 1,
        "replica_db_user" if major >= 16 else "replica_db_name": ro_user,
        "replica_db_password": ro_password,
    }


class FilterModule:
    """Filters of role site_sync."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name of each filter and its function."""
        return {"replica_keys": replica_keys}
