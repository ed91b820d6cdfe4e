#!/usr/bin/python
"""Bring accounts, grants and our own small database to their wanted state in one execution."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.accounts import ACCOUNT_SPEC, DATABASE_SPEC, bring
from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_accounts
short_description: Accounts, grants, databases, tables and events of a MariaDB primary
description:
  - Compares with SHOW CREATE USER and SHOW GRANTS, passwords by their hash; changes only what
    differs.
  - Writes through the binary log, so the replicas follow. Refuses on a server that is read-only.
options:
  accounts:
    description: The wanted accounts.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: User name., type: str, required: true}
      host: {description: Address it signs in from., type: str, required: true}
      password: {description: Its password; without one the account is locked., type: str}
      besides: {description: Another one that is accepted meanwhile., type: str}
      require_ssl: {description: Only over TLS., type: bool, default: false}
      max_statement_time: {description: Seconds; 0 is unlimited., type: float, default: 0}
      max_user_connections:
        description: Connections at once; 0 is unlimited.
        type: int
        default: 0
      grants:
        description: Object (as SHOW GRANTS writes it) to list of privileges.
        type: dict
        default: {}
  owned_names:
    description: User names that are ours altogether; other hosts' accounts of that name are
      dropped.
    type: list
    elements: str
    default: []
  databases:
    description: Databases with their tables and events.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      tables: {description: Table name to its column list., type: dict, default: {}}
      events:
        description: Events, kept enabled.
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Name., type: str, required: true}
          every_seconds: {description: Interval., type: int, required: true}
          definer:
            description: User name of the account at localhost it runs as.
            type: str
            required: true
          body: {description: Its statement., type: str, required: true}
"""

EXAMPLES = r"""
- name: Replication account exists
  mariadb_accounts:
    accounts:
      - name: repl
        host: 192.0.2.21
        password: "{{ password }}"
        grants: {"*.*": [REPLICATION SLAVE]}
    owned_names: [repl]
  no_log: true
"""

RETURN = r"""
gtid:
  description: Where the primary's history ends after this; what a replica has to reach.
  returned: when there is a server
  type: str
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "accounts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": ACCOUNT_SPEC,
                "no_log": False,
            },
            "owned_names": {"type": "list", "elements": "str", "default": []},
            "databases": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": DATABASE_SPEC,
            },
        },
        supports_check_mode=True,
    )
    wanted = [f"{one['name']}@{one['host']}\n" for one in module.params["accounts"]]
    answer(
        module,
        lambda: bring(**module.params, check_mode=module.check_mode),
        would={
            "msg": "would make databases and accounts",
            "diff": {"before": "", "after": "".join(wanted)},
        },
    )


if __name__ == "__main__":
    main()
