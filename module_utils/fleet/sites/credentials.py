"""Reading accounts of the sites' databases, and the keys by which Frappe uses them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from .folders import Site, SiteError

USER_LIMIT = 80


def read_only_user(database: str) -> str:
    """Name of a database's reading account, within MariaDB's 80 characters."""
    name = f"{database}_ro"
    if len(name) <= USER_LIMIT:
        return name
    digest = hashlib.sha256(database.encode()).hexdigest()[:8]
    return f"{database[: USER_LIMIT - 12]}_{digest}_ro"


def read_only_password(key: str, database: str) -> str:
    """Password of a database's reading account, derived from the fleet's site key.

    So the primary and its reporting hosts use the same one, also for a site that was made without
    the controller.
    """
    return hmac.new(key.encode(), database.encode(), hashlib.sha256).hexdigest()[:48]


def replica_keys(
    frappe_major: int, database: str, user: str, password: str, host: str, port: int
) -> dict[str, Any]:
    """Keys of a site_config.json that make Frappe's ``read_only`` calls of one site use a replica.

    Where the rule comes from (``connect_replica`` and the MariaDB class of each release):

    - 16 takes the user from ``replica_db_user``.
    - 15 takes the user from ``replica_db_name`` and the database from the site's own ``db_name``,
      so a user of another name works there too.
    - 14 and before use ``replica_db_name`` as user and as database at once. A read-only user would
      need the database's name, which the site's own user has: the site's own credentials are
      used, and only the server's ``read_only`` prevents writes.

    user, password: of the database's reading account. host, port: of the replica. Raises SiteError
    for a version before 13, which has none of these keys.
    """
    if frappe_major < 13:
        raise SiteError(f"Frappe {frappe_major} cannot read from a replica; use 14 or later")
    keys: dict[str, Any] = {"read_from_replica": 1, "replica_host": host, "replica_db_port": port}
    if frappe_major < 15:
        return keys
    return keys | {
        "different_credentials_for_replica": 1,
        "replica_db_user" if frappe_major >= 16 else "replica_db_name": user,
        "replica_db_password": password,
    }


def passwords_by_database(sites: dict[str, Site], own: dict[str, str], key: str) -> dict[str, str]:
    """Database to its reading account's password.

    ``own`` are the passwords that the fleet's secrets hold, by site; the others are derived.
    """
    found: dict[str, str] = {}
    for name, site in sorted(sites.items()):
        if name in own:
            found.setdefault(site.database, own[name])
    for site in sites.values():
        found.setdefault(site.database, read_only_password(key, site.database))
    return found
