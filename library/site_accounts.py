#!/usr/bin/python
"""Accounts by which reporting benches reach the databases of the primary's sites."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mariadb import (
    MariaDBError,
    Server,
    ServerAbsentError,
    database_pattern,
    describe,
    local,
    pymysql,
    read_json,
)
from ansible.module_utils.mariadb_accounts import AccountKeeper

DOCUMENTATION = r"""
module: site_accounts
short_description: Reporting benches can sign in to the sites' databases
description:
  - Per site and reporting host the site's own account (it writes, on the primary) and a second
    one that can
    only read. Both are made on the primary and replicate.
  - Accounts this module made are remembered in benchfleet.account; those of hosts that have left
    the fleet are
    dropped, accounts it did not make never.
options:
  sites_dir: {description: The bench's sites folder., type: path, required: true}
  sites: {description: Names of the sites., type: list, elements: str, required: true}
  hosts:
    description: LAN addresses of the reporting hosts.
    type: list
    elements: str
    required: true
  read_only_passwords:
    description: Site to the password of its reading account.
    type: dict
    required: true
  max_statement_time:
    description: Seconds a statement of a reading account may take.
    type: float
    default: 600
  max_user_connections:
    description: Connections a reading account may hold.
    type: int
    default: 50
"""

RETURN = r"""
gtid:
  description: What a replica must have before its bench uses the accounts.
  returned: with a server
  type: str
read_only_users:
  description: Site to the name of its reading account.
  returned: always
  type: dict
"""

NAME_LIMIT = 80
REGISTRY = "`benchfleet`.`account`"


def read_only_user(database: str) -> str:
    """Name of a database's reading account, within MariaDB's 80 characters."""
    name = f"{database}_ro"
    if len(name) <= NAME_LIMIT:
        return name
    digest = hashlib.sha256(database.encode()).hexdigest()[:8]
    return f"{database[: NAME_LIMIT - 12]}_{digest}_ro"


def site_database(folder: str, site: str) -> dict[str, str] | None:
    """Database, user and password of a site; None while the site does not exist.

    Raises MariaDBError when its file lacks one of them.
    """
    path = os.path.join(folder, site, "site_config.json")
    config = read_json(path)
    if config is None:
        return None
    database, password = config.get("db_name"), config.get("db_password")
    if not database or not password:
        missing = "db_name" if not database else "db_password"
        raise MariaDBError(f"{path} has no {missing}: the site was not created completely")
    return {
        "database": str(database),
        "user": str(config.get("db_user") or database),
        "password": str(password),
    }


def wanted_accounts(
    found: dict[str, str], hosts: list[str], password: str, statement_time: float, connections: int
) -> list[dict[str, Any]]:
    """The accounts of one site."""
    place = database_pattern(found["database"])
    accounts: list[dict[str, Any]] = []
    for host in hosts:
        common = {"host": host, "require_ssl": False}
        accounts.append(
            {
                **common,
                "name": found["user"],
                "password": found["password"],
                "max_statement_time": 0.0,
                "max_user_connections": 0,
                "grants": {place: ["ALL PRIVILEGES"]},
            }
        )
        accounts.append(
            {
                **common,
                "name": read_only_user(found["database"]),
                "password": password,
                "max_statement_time": statement_time,
                "max_user_connections": connections,
                "grants": {place: ["SELECT", "SHOW VIEW", "CREATE TEMPORARY TABLES", "EXECUTE"]},
            }
        )
    return accounts


def left_hosts(registered: list[tuple[str, str]], hosts: list[str]) -> list[tuple[str, str]]:
    """Registered accounts whose host is no reporting host any more; local ones are never meant."""
    return [
        (user, host)
        for user, host in registered
        if host not in hosts and not ipaddress.ip_address(host).is_loopback
    ]


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


def settle(module: AnsibleModule, server: Server, wanted: list[dict[str, Any]]) -> AccountKeeper:
    """Make the wanted accounts, drop those of hosts that left."""
    keeper = AccountKeeper(server, module.check_mode)
    registry = Registry(server)
    registered = registry.read()
    for entry in wanted:
        who = (entry["name"], entry["host"])
        is_new = keeper.current(*who) is None
        if is_new and not module.check_mode and who not in registered:
            keeper.refuse_closed()
            registry.add(*who)
        keeper.bring([entry])
    for user, host in left_hosts(registered, module.params["hosts"]):
        keeper.drop(user, host)
        if not module.check_mode:
            registry.remove(user, host)
    return keeper


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={
            "sites_dir": {"type": "path", "required": True},
            "sites": {"type": "list", "elements": "str", "required": True},
            "hosts": {"type": "list", "elements": "str", "required": True},
            "read_only_passwords": {"type": "dict", "required": True, "no_log": True},
            "max_statement_time": {"type": "float", "default": 600.0},
            "max_user_connections": {"type": "int", "default": 50},
        },
        supports_check_mode=True,
    )
    params = module.params
    users: dict[str, str] = {}
    absent: list[str] = []
    wanted: list[dict[str, Any]] = []
    try:
        for site in params["sites"]:
            found = site_database(params["sites_dir"], site)
            if found is None:
                absent.append(site)
                continue
            password = params["read_only_passwords"].get(site)
            if not password:
                raise MariaDBError(
                    f"the fleet's secrets hold no read_only_password for {site}; run the whole"
                    " site.yml, its preflight makes what is missing"
                )
            users[site] = read_only_user(found["database"])
            wanted += wanted_accounts(
                found,
                params["hosts"],
                password,
                params["max_statement_time"],
                params["max_user_connections"],
            )
        if absent and not module.check_mode:
            path = os.path.join(params["sites_dir"], absent[0], "site_config.json")
            raise MariaDBError(f"site {absent[0]} does not exist: no {path}; create the site first")
        with local() as server:
            keeper = settle(module, server, wanted)
            gtid = server.value("SELECT @@GLOBAL.gtid_binlog_pos")
    except ServerAbsentError as nothing:
        if not module.check_mode:
            module.fail_json(msg=str(nothing))
        module.exit_json(
            changed=bool(params["hosts"]),
            read_only_users=users,
            msg="would make the sites' accounts",
            diff={"before": "no server\n", "after": "accounts of the sites\n"},
        )
    except MariaDBError as error:
        module.fail_json(msg=str(error))
    except pymysql.MySQLError as error:
        module.fail_json(msg=f"MariaDB refused a statement: {describe(error)}")
    if params["hosts"]:
        keeper.after += [f"accounts of {site}" for site in absent]
    module.exit_json(
        changed=keeper.before != keeper.after,
        gtid=gtid,
        read_only_users=users,
        diff={
            "before": "".join(f"{line}\n" for line in keeper.before),
            "after": "".join(f"{line}\n" for line in keeper.after),
        },
    )


if __name__ == "__main__":
    main()
