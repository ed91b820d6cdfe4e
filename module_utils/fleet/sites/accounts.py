"""Accounts of the sites: whom MariaDB knows, and which the reporting hosts are to have."""

from __future__ import annotations

from typing import Any

from ..mariadb.accounts import AccountKeeper
from ..mariadb.server import SYSTEM_SCHEMAS, Server, has_database, pymysql
from ..mariadb.statements import database_pattern, quote_name
from .credentials import read_only_user
from .folders import Site

REGISTRY = "`benchfleet`.`account`"


def wanted_accounts(
    site: Site,
    hosts: list[str],
    password: str,
    statement_time: float,
    connections: int,
    besides: str | None = None,
    require_ssl: bool = False,
) -> list[dict[str, Any]]:
    """The accounts of one site.

    password is the reading account's. besides: another one that it accepts in a rotation; the
    site's own account keeps a second one then, see the module site_passwords.
    """
    place = database_pattern(site.database)
    own = {
        "name": site.user,
        "password": site.password,
        "keep_second": bool(besides),
        "max_statement_time": 0.0,
        "max_user_connections": 0,
        "grants": {place: list(site.rights)},
    }
    reader = {
        "name": read_only_user(site.database),
        "password": password,
        "besides": besides,
        "max_statement_time": statement_time,
        "max_user_connections": connections,
        "grants": {place: ["SELECT", "SHOW VIEW", "CREATE TEMPORARY TABLES", "EXECUTE"]},
    }
    return [
        {**one, "host": host, "require_ssl": require_ssl} for host in hosts for one in (own, reader)
    ]


def is_foreign(server: Server, site: Site) -> str:
    """Why a site gets no accounts; "" when it may have them.

    The timer is root and the folder is the bench account's: what stands there must not give away
    another database, or change an account that is not a site's. So the site's account must have
    been given this very database by who made the site.
    """
    if site.database in SYSTEM_SCHEMAS | {"benchfleet"}:
        return f"its database is {site.database}, which is no site's"
    escaped = site.database.replace("_", "\\_").replace("%", "\\%")
    owns = server.value(
        "SELECT 1 FROM mysql.db WHERE User = %s AND Db IN (%s, %s)"
        " AND Insert_priv = 'Y' AND Drop_priv = 'Y' LIMIT 1",
        (site.user, site.database, escaped),
    )
    return "" if owns else f"its account {site.user} has no rights on its database {site.database}"


def rights_of(server: Server, site: Site) -> tuple[str, ...]:
    """Rights on a site's database of the account that its configuration signs in to; () for none.

    Whoever can write the file may name any account: nothing is given to one whose password is not
    known there, and no more than it has.
    """
    who = server.lets_in(site.user, site.password, site.database)
    found = AccountKeeper(server, check_mode=True).current(*who) if who else None
    places = (database_pattern(site.database), f"{quote_name(site.database)}.*")
    rights = set().union(*(found[1].get(place, set()) for place in places)) if found else set()
    return tuple(sorted(rights - {"GRANT OPTION"}))


def not_let_in(site: Site) -> str:
    """Why a site without rights_of gets no accounts."""
    return (
        f"MariaDB lets nobody in to the database {site.database} as {site.user} with the password"
        " of its site_config.json"
    )


def has_data(server: Server, grants: dict[str, set[str]]) -> bool:
    """Whether an account with these grants reaches a database that is there."""
    places = (place.removesuffix(".*").strip("`").replace("\\", "") for place in grants)
    return any(has_database(server, place) for place in places)


class Registry:
    """Which accounts were made here, in the database so that it survives a promotion."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def read(self) -> list[tuple[str, str]]:
        """All of them; none where the table is still missing."""
        try:
            rows = self.server.rows(f"SELECT user, host FROM {REGISTRY} ORDER BY user, host")
        except pymysql.MySQLError:
            return []
        return [(row["user"], row["host"]) for row in rows]

    def add(self, user: str, host: str) -> None:
        """Remember an account before it is made, so that a kill in between leaves no orphan."""
        self.server.run(f"INSERT IGNORE INTO {REGISTRY} (user, host) VALUES (%s, %s)", (user, host))

    def remove(self, user: str, host: str) -> None:
        """Forget an account."""
        self.server.run(f"DELETE FROM {REGISTRY} WHERE user = %s AND host = %s", (user, host))
