"""Accounts of the sites in MariaDB, and those that the reporting hosts shall have."""

from __future__ import annotations

from typing import Any

from ..foreign import read_bytes
from ..mariadb.accounts import AccountKeeper
from ..mariadb.server import SYSTEM_SCHEMAS, Server, has_database, pymysql
from ..mariadb.statements import database_pattern, quote_name
from .credentials import read_only_user
from .folders import Folders, Site, SiteError, parse_site

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
    """The accounts of one site for the reporting hosts.

    password: the reading account's. besides: another one that it accepts during a rotation, in
    which the site's own account keeps a second password, too (see the module site_passwords).
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

    The timer runs as root, but the bench's account can write the site's folder: its content must
    not give access to another database, or change an account that is not a site's. So the site's
    account must already have rights on this database.
    """
    if site.database in SYSTEM_SCHEMAS | {"benchfleet"}:
        return f"its database is {site.database}, which is not a site's"
    escaped = site.database.replace("_", "\\_").replace("%", "\\%")
    owns = server.value(
        "SELECT 1 FROM mysql.db WHERE User = %s AND Db IN (%s, %s)"
        " AND Insert_priv = 'Y' AND Drop_priv = 'Y' LIMIT 1",
        (site.user, site.database, escaped),
    )
    return "" if owns else f"its account {site.user} has no rights on its database {site.database}"


def rights_of(server: Server, site: Site) -> tuple[str, ...]:
    """The rights of a site's account on its database; () where it cannot sign in.

    A client that can write the site's configuration could put any account there. So an account
    needs the right password, and gets no more rights than it has.
    """
    who = server.lets_in(site.user, site.password, site.database)
    found = AccountKeeper(server, check_mode=True).current(*who) if who else None
    places = (database_pattern(site.database), f"{quote_name(site.database)}.*")
    rights = set().union(*(found[1].get(place, set()) for place in places)) if found else set()
    return tuple(sorted(rights - {"GRANT OPTION"}))


def not_let_in(site: Site) -> str:
    """Why a site without rights_of gets no accounts."""
    return (
        f"MariaDB does not let {site.user} in to the database {site.database} with the password in"
        " its site_config.json"
    )


def has_data(server: Server, grants: dict[str, set[str]]) -> bool:
    """Whether an account with these grants can use an existing database."""
    places = (place.removesuffix(".*").strip("`").replace("\\", "") for place in grants)
    return any(has_database(server, place) for place in places)


class Registry:
    """The accounts that were made here, kept in the database so that a promotion keeps them."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def read(self) -> list[tuple[str, str]]:
        """All accounts; none where the table does not exist yet."""
        try:
            rows = self.server.rows(f"SELECT user, host FROM {REGISTRY} ORDER BY user, host")
        except pymysql.MySQLError:
            return []
        return [(row["user"], row["host"]) for row in rows]

    def add(self, user: str, host: str) -> None:
        """Add an account before it is made, so that none is unknown after a kill in between."""
        self.server.run(f"INSERT IGNORE INTO {REGISTRY} (user, host) VALUES (%s, %s)", (user, host))

    def remove(self, user: str, host: str) -> None:
        """Remove an account."""
        self.server.run(f"DELETE FROM {REGISTRY} WHERE user = %s AND host = %s", (user, host))


def names_of_accounts(sites: str, state_dir: str) -> set[str]:
    """Names of the accounts of all sites in a bench's sites folder, and of their reading accounts.

    They are what the bench's account wrote there.
    """
    folders, found = Folders(sites, state_dir), set()
    for name in folders.names():
        try:
            site = parse_site(name, read_bytes(folders.config(name)).decode(), name)
        except (OSError, UnicodeError, SiteError):
            continue
        found |= {site.user, read_only_user(site.database)}
    return found
